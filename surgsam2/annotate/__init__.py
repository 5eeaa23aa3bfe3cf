"""A page in the browser to mark, track and correct objects; served to this machine only."""
