"""The streaming tracker and its per-object memory."""
