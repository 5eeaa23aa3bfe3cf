# Slicer describes and packs the extension here; the test reads what it would be told.
foreach(file EXTENSION_README_FILE EXTENSION_LICENSE_FILE)
  if(NOT EXISTS ${${file}})
    message(FATAL_ERROR "${file} does not exist: ${${file}}")
  endif()
endforeach()
foreach(name
    HOMEPAGE CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
  file(APPEND "${CMAKE_BINARY_DIR}/extension.txt" "${name}=${EXTENSION_${name}}\n")
endforeach()
