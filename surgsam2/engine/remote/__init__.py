"""Engines on other machines: addresses, a connection that survives interruptions, the server."""
