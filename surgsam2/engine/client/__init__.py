"""The application's side of the engine; it does not import torch."""
