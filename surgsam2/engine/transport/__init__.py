"""Connections between an application and an engine: what carries messages, and how."""
