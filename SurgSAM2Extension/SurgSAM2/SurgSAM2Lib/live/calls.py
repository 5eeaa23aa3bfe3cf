"""The logic's functions for live segmentation, for the panel and the Python console."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from surgsam2.engine import EngineClient
from surgsam2.errors import InputError
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.live.live_session import LiveSegmenter
from SurgSAM2Lib.live.statistics import LiveStatistics

if TYPE_CHECKING:
    from SurgSAM2Lib.tracking.engine import Engine


class LiveCalls:
    """Part of `LogicCore`. Every refusal is a `surgsam2.SurgSAM2Error` in plain words."""

    engine: Engine

    def __init__(self, scene: Any, makeClient: Callable[[], EngineClient]) -> None:
        self.live = LiveSegmenter(scene, makeClient)
        """The live session, with its state, message and objects."""

    def startLive(self, volumeNode: Any) -> Any:
        """Segment each new picture of a volume that something else fills.

        The model is that of `setModel`. The worker of tracking ends meanwhile, so that its
        memory is free; it starts again when it is needed.

        Returns:
            The ``vtkMRMLSegmentationNode`` that shows the masks.
        """
        if self.engine.tracking is not None:
            raise InputError(_("tracking is in progress; wait for its end, or cancel it first"))
        self.live.start(volumeNode, self.engine.choice)
        self.engine.close()
        return self.live.masks.proxy

    def stopLive(self) -> None:
        """End the live session; segments and recording stay."""
        self.live.stop()

    def addLiveObject(
        self, name: str | None = None, color: str | None = None, terminology: str | None = None
    ) -> int:
        """A new object of the live segmentation; its id. See `addObject`."""
        return self.live.objects.add(name, color, terminology)

    def removeLiveObject(self, objectId: int) -> None:
        """Follow an object no more, and remove its segment."""
        self.live.remove_object(objectId)

    def addLivePrompt(
        self,
        objectId: int,
        points: Sequence[Sequence[float]] | np.ndarray | None = None,
        box: Sequence[float] | None = None,
        mask: np.ndarray | None = None,
    ) -> None:
        """Mark an object in the picture that is shown now, while segmenting goes on.

        Args:
            points: rows of x, y, label (1 belongs to the object, 0 does not), in pixels.
            box: [x0, y0, x1, y1].
            mask: (H, W) bool.
        """
        self.live.marking.prompt(self.live.objects[objectId], points, box, mask)

    def recordLive(self, gigabytes: float = 2.0) -> None:
        """Record pictures and masks from now on, in at most this much memory."""
        self.live.record(gigabytes)

    def stopRecordingLive(self) -> Any:
        """End the recording; its ``vtkMRMLSequenceBrowserNode``, None when there is none."""
        return self.live.stop_recording()

    def liveStatistics(self) -> LiveStatistics:
        """Pictures received, segmented and dropped, rate and latency."""
        return self.live.statistics
