"""The engine in a process of its own, for applications with an event loop.

The application holds a `WorkerClient`, sends requests, which return at once, and calls
`WorkerClient.poll` from a timer to get events. It needs neither torch nor threads. A
crash or a lack of memory of the engine arrives as an event.

    worker = WorkerClient()
    worker.start()
    worker.load_model("demo")
    worker.open_video("clip.mp4")
    worker.track(prompts)
    while ...:
        for event in worker.poll(timeout=0.01):
            ...
"""

from __future__ import annotations

from surgsam2.worker.client import WorkerClient
from surgsam2.worker.events import (
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
from surgsam2.worker.launch import default_python

__all__ = [
    "Died",
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
    "WorkerClient",
    "default_python",
]
