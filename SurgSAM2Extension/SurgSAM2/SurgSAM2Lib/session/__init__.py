"""A video of the scene with its objects, prompts, masks and undo history."""
