"""The results of a run: one per frame, reviewed, and read back from a folder."""
