"""The parts of the SurgSAM2 module. Only `panel` and the files that import it need Qt widgets."""
