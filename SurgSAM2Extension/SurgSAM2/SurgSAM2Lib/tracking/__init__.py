"""The model, the engine and the requests for it."""
