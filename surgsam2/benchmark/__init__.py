"""Speed and memory of the engine, compared with `sam2` and with the limit of arithmetic."""
