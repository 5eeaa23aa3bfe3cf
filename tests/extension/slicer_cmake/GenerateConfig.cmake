# Slicer writes SurgSAM2Config.cmake here, for extensions that depend on this one.
