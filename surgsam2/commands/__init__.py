"""The `surgsam2` command, one file per sub-command."""
