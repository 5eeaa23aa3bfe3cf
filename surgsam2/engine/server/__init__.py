"""The engine's process: it loads models and carries out requests."""
