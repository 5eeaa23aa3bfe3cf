"""The engine in a process of its own, for applications with an event loop.

The application holds a `EngineClient`, sends requests, which return at once, and calls
`EngineClient.poll` from a timer to get events. It needs neither torch nor threads. A
crash or a lack of memory of the engine arrives as an event.

    worker = EngineClient()
    worker.start()
    worker.load_model("demo")
    worker.open_video("clip.mp4")
    worker.track(prompts)
    while ...:
        for event in worker.poll(timeout=0.01):
            ...
"""

from __future__ import annotations

from surgsam2.engine.client.client import EngineClient
from surgsam2.engine.client.launch import default_python
from surgsam2.engine.protocol.events import (
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
