"""The network on top of the `sam2` package: configurations, checkpoints, EFP."""
