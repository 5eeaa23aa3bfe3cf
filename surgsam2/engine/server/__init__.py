"""The engine process: it loads models and carries out requests."""
