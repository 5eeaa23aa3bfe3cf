"""The classes that the configurations of a MONAI bundle instantiate."""
