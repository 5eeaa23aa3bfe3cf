"""The sub-commands of `surgsam2`, one file for each."""
