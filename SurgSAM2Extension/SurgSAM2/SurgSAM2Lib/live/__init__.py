"""Live segmentation of a volume that another module keeps filling."""
