"""One video of the scene with its objects, masks and history."""
