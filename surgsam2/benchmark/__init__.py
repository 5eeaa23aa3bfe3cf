"""How fast the engine is, against `sam2` and against what the machine's arithmetic allows."""
