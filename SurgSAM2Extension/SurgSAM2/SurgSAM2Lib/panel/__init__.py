"""The panel of the module: one file for each of its sections, and the helpers that they share."""
