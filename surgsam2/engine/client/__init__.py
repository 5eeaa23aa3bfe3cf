"""The application's side of the engine. It needs no torch."""
