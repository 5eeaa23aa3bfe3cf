"""Prompts as markups, and how they are stored and undone."""
