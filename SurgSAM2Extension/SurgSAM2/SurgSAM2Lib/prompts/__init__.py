"""Prompts: how they are stored, saved with the scene, and shown as markups."""
