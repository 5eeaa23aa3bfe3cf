"""The messages between an application and the engine, and how they become bytes."""
