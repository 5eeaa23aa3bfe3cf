"""The panel: one file for each of its sections, and what they share."""
