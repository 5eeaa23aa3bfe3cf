"""Live segmentation of a volume that something else keeps filling."""
