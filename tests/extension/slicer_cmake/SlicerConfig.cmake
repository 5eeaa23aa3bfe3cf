# Stands in for an installed Slicer in the test of the extension's build (test_cmake.py).
# It has what our CMake files use, under Slicer's names, and installs as Slicer would.
set(Slicer_USE_FILE "${CMAKE_CURRENT_LIST_DIR}/UseSlicer.cmake")
set(Slicer_EXTENSION_GENERATE_CONFIG "${CMAKE_CURRENT_LIST_DIR}/GenerateConfig.cmake")
set(Slicer_EXTENSION_CPACK "${CMAKE_CURRENT_LIST_DIR}/CPack.cmake")
set(Slicer_LAUNCHER_EXECUTABLE "Slicer")
set(Slicer_USE_PYTHONQT ON)
