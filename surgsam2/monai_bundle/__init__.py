"""What the configurations of a MONAI bundle instantiate; of use in anyone's own, too."""
