"""The parts of the SurgSAM2 module. Only `panel` and what it imports needs Slicer's widgets."""
