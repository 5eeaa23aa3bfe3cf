"""Files on disk: complete or absent, locked, hashed, bounded."""
