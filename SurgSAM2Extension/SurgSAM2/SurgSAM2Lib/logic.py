"""Everything the module does, without widgets: for the panel and for the Python console.

Names are in Slicer's style, since users type them in Slicer's console.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.engine import EngineClient
from surgsam2.mrml import VideoNodes, load_video, save_scene
from surgsam2.video import Video
from SurgSAM2Lib.live.calls import LiveCalls
from SurgSAM2Lib.review.mask_export import EXPORT_FORMATS, export_results
from SurgSAM2Lib.review.mask_import import import_masks
from SurgSAM2Lib.session.opening import Elsewhere, nowhere_else, open_for_scene
from SurgSAM2Lib.session.session import Session
from SurgSAM2Lib.session.stream_calls import StreamCalls
from SurgSAM2Lib.tracking.calls import TrackCalls
from SurgSAM2Lib.tracking.engine import Engine


class LogicCore(TrackCalls, LiveCalls, StreamCalls):
    """Video, objects, prompts, engine and results of one scene.

    A frame is an index into the video as it was loaded, from 0; None is the one that is
    shown. Coordinates are pixels (x right, y down, the centre of the top-left pixel is 0, 0).
    Every refusal is a `surgsam2.SurgSAM2Error` in plain words and leaves the scene as it was.

    Args:
        scene: the ``vtkMRMLScene`` to work in.
        makeClient: makes the `EngineClient`; by default one in this same Python.
        elsewhere: opens the videos that this Python cannot decode.
    """

    def __init__(
        self,
        scene: Any,
        makeClient: Callable[[], EngineClient] = EngineClient,
        elsewhere: Elsewhere = nowhere_else,
    ) -> None:
        LiveCalls.__init__(self, scene, makeClient)
        TrackCalls.__init__(self, Engine(makeClient))
        self.scene = scene
        self._elsewhere = elsewhere
        self.onChange: Callable[[], None] = lambda: None
        """Called when a job was added, made progress or ended."""
        self.engine.on_change = self.live.on_change = self._on_engine_change

    # video

    def openVideo(self, path: Any) -> Video:
        """Open a video to look at it before it is loaded; in another Python where needed.

        Raises:
            VideoError: it cannot be read.
            MissingDependencyError: a package is missing.
        """
        return open_for_scene(path, self._elsewhere)

    def loadVideo(
        self,
        path: Any,
        start: int = 0,
        stop: int | None = None,
        stride: int = 1,
        scale: float = 1.0,
        progress: Callable[[int, int], None] = lambda done, total: None,
        shouldStop: Callable[[], bool] = lambda: False,
    ) -> Any:
        """Load a video file, an image folder or a DICOM file, and work on it.

        Args:
            path: or whatever else `surgsam2.open_video` takes, such as an array.
            start, stop, stride: every `stride`-th frame from `start` up to before `stop`.
            scale: 0 to 1, makes the picture smaller.
            progress: called with the frames done and the frames in all.
            shouldStop: asked after each frame; True ends the loading.

        Returns:
            The ``vtkMRMLSequenceBrowserNode``; None when loading was stopped.

        Raises:
            VideoError: it cannot be read.
            InputError: an impossible range or scale, or not enough memory.
        """
        with self.openVideo(path) as video:
            nodes = load_video(
                self.scene, video, start=start, stop=stop, stride=stride, scale=scale,
                progress=progress, should_stop=shouldStop,
            )  # fmt: skip
        if nodes is None:
            return None
        self.setVideo(nodes.browser)
        return nodes.browser

    def setVideo(self, browserNode: Any) -> None:
        """Work on a video that is in the scene; None for no video.

        Raises:
            InputError: not a sequence browser, or it has no video.
        """
        session = None if browserNode is None else Session(VideoNodes.of(browserNode))
        if self.session is not None:
            self.session.close()
        self.session = session
        self.engine.use_video(None if session is None else session.video)
        if session is not None:  # a live recording's are hidden until it is looked at
            session.masks.proxy.SetDisplayVisibility(True)
        self._follow_stream(self._on_engine_change)
        self.onVideo(browserNode)

    # objects

    def addObject(
        self, name: str | None = None, color: str | None = None, terminology: str | None = None
    ) -> int:
        """A new object; returns its id.

        Args:
            name: one line; "Object <id>" when None.
            color: "#rrggbb"; one that differs from the others' when None.
            terminology: Slicer's terminology entry as text.
        """
        return self.currentSession.objects.add(name, color, terminology)

    def removeObject(self, objectId: int) -> None:
        """Remove an object with its prompts and masks. This cannot be undone."""
        self._refuse_while_tracking()
        self.currentSession.remove_object(objectId)

    def processEvents(self, timeout: float = 0.0) -> None:
        """Take what has come from the engine; a timer calls it."""
        self.engine.poll(timeout)
        self.live.tick(timeout)
        self._poll_stream(timeout)

    # results

    def getMask(self, objectId: int, frame: int | None = None) -> np.ndarray:
        """(H, W) bool, also when it was painted by hand."""
        return self.currentSession.masks.mask(self._frame(frame), objectId)

    def markGood(self, frames: int | Iterable[int], good: bool = True) -> None:
        """Protect frames from being written over by tracking, or no longer.

        They are not doubtful any more, and no longer marked as bad.
        """
        session, chosen = self.currentSession, _listed(frames)
        (session.good.add if good else session.good.discard)(chosen)
        if good:
            session.bad.discard(chosen)

    def markBad(self, frames: int | Iterable[int], bad: bool = True) -> None:
        """List frames as doubtful whatever was measured, or no longer; good ones are not good."""
        session, chosen = self.currentSession, _listed(frames)
        (session.bad.add if bad else session.bad.discard)(chosen)
        if bad:
            session.good.discard(chosen)

    def exportResults(
        self,
        folder: str | Path,
        formats: Iterable[str] = EXPORT_FORMATS,
        progress: Callable[[int, int], None] = lambda done, total: None,
        shouldStop: Callable[[], bool] = lambda: False,
    ) -> None:
        """Write the masks of the scene as files; see `SurgSAM2Lib.review.mask_export`."""
        export_results(self.currentSession, folder, formats, progress, shouldStop)

    def importMasks(self, path: str | Path, asPrompts: bool = False) -> list[int]:
        """Take masks from label PNGs or a COCO file; see `SurgSAM2Lib.review.mask_import`."""
        self._refuse_while_tracking()
        return import_masks(self.currentSession, path, asPrompts)

    def saveScene(self, path: str | Path) -> None:
        """Write the whole scene as .mrb."""
        if self.session is not None:
            self.session.review.publish()
        save_scene(self.scene, path)

    def close(self) -> None:
        """End the engine's process and leave the scene alone from now on."""
        self.live.forget()
        self.engine.close()
        if self.session is not None:
            self.session.close()
            self.session = None

    def _on_engine_change(self) -> None:
        self.onChange()


def _listed(frames: int | Iterable[int]) -> list[int]:
    return [frames] if isinstance(frames, int) else list(frames)
