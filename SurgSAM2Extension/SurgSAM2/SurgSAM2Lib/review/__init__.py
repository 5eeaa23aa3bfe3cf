"""Review, export and import of masks."""
