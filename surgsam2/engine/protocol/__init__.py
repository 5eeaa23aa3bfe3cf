"""The messages between an application and the engine process, and how they become bytes."""
