"""Files on disk: they are written atomically, locked, hashed, and limited in size."""
