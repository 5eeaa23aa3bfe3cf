"""Installation of the Python packages that are missing."""
