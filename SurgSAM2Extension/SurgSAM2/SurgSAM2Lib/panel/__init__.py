"""The panel, one file per section of it."""
