"""Videos and masks in files: opening, exporting and importing."""
