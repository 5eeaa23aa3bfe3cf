"""The engine in a process of its own, for applications with an event loop.

The application holds an `EngineClient`, makes requests, which return at once, and calls
`EngineClient.poll` from a timer to get events. It needs neither torch nor threads. A
crash of the engine process, or its lack of memory, arrives as an event.

    client = EngineClient()
    client.start()
    client.load_model("demo")
    client.open_video("clip.mp4")
    client.track(prompts)
    while ...:
        for event in client.poll(timeout=0.01):
            ...
"""

from __future__ import annotations

from surgsam2.engine.client.client import EngineClient
from surgsam2.engine.client.launch import default_python
from surgsam2.engine.protocol.events import (
    ConnectionChanged,
    Died,
    Event,
    Failed,
    Finished,
    FrameRead,
    LiveTracked,
    ModelLoaded,
    Previewed,
    Progress,
    Ready,
    Refined,
    Tracked,
    VideoOpened,
)

__all__ = [
    "ConnectionChanged",
    "Died",
    "EngineClient",
    "Event",
    "Failed",
    "Finished",
    "FrameRead",
    "LiveTracked",
    "ModelLoaded",
    "Previewed",
    "Progress",
    "Ready",
    "Refined",
    "Tracked",
    "VideoOpened",
    "default_python",
]
