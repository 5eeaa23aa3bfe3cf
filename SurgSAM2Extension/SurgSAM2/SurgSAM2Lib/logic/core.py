"""`LogicCore`: everything that the module does, without widgets.

The methods are for Slicer's Python console, so their names are in Slicer's style. Each
hands over to one of the parts, which the panel calls directly.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from surgsam2.engine import EngineClient
from surgsam2.model.options import ModelOptions
from surgsam2.mrml import save_scene
from surgsam2.prompts import Prompt
from surgsam2.prompts.checks import Points
from surgsam2.tracking.options import TrackingOptions
from surgsam2.video import Video
from SurgSAM2Lib.files.mask_export import EXPORT_FORMATS
from SurgSAM2Lib.files.opening import OpenElsewhere, open_nowhere_else
from SurgSAM2Lib.live.live_session import LiveSegmenter
from SurgSAM2Lib.live.statistics import LiveStatistics
from SurgSAM2Lib.logic.objects import ObjectActions
from SurgSAM2Lib.logic.option_names import options_from_arguments
from SurgSAM2Lib.logic.prompts import PromptActions
from SurgSAM2Lib.logic.review import ReviewActions
from SurgSAM2Lib.logic.tracking import TrackingActions
from SurgSAM2Lib.logic.videos import VideoActions
from SurgSAM2Lib.logic.workspace import Workspace
from SurgSAM2Lib.session.session import Session
from SurgSAM2Lib.tracking.engine import Engine
from SurgSAM2Lib.tracking.jobs import TrackJob

_Progress = Callable[[int, int], None]
_ShouldStop = Callable[[], bool]


class LogicCore:
    """Videos, objects, prompts, tracking, live segmentation and results of one scene.

    A frame is an index into the video as it was loaded, from 0; None is the frame that is
    shown. Coordinates are pixels (x to the right, y down, the centre of the top-left pixel
    is (0, 0)). Every refusal is a `surgsam2.SurgSAM2Error` and leaves the scene as it was.

    Args:
        scene: the ``vtkMRMLScene`` to work in.
        makeClient: makes the `EngineClient`; by default one in this same Python.
        elsewhere: opens the videos that this Python cannot decode.

    Attributes:
        engine: carries out jobs in the engine process.
        videos: opens videos and chooses the one in use.
        objects: adds, removes, locks and classifies objects.
        prompts: adds, changes, previews and undoes prompts.
        tracking: the model, and tracks.
        review: marks, exports and imports masks.
        live: segments a volume that another module keeps filling.
        onChange: called when a job was added, made progress or ended.
        onVideo: called with the sequence browser, or None, when another video is used.
        onPainted: called when a mask was painted by hand or another module changed a name or a
            colour, during an event of its nodes.
        onError: called with a text when something failed that no caller waits for.
    """

    def __init__(
        self,
        scene: Any,
        makeClient: Callable[[], EngineClient] = EngineClient,
        elsewhere: OpenElsewhere = open_nowhere_else,
    ) -> None:
        self.scene = scene
        self.engine = Engine(makeClient)
        self.live = LiveSegmenter(scene, makeClient)
        self._workspace = Workspace(scene, self.engine)
        self.videos = VideoActions(self._workspace, elsewhere)
        self.objects = ObjectActions(self._workspace)
        self.prompts = PromptActions(self._workspace)
        self.tracking = TrackingActions(self._workspace)
        self.review = ReviewActions(self._workspace)
        self.onChange: Callable[[], None] = lambda: None
        self.onVideo: Callable[[Any], None] = lambda browserNode: None
        self.onError: Callable[[str], None] = lambda text: None
        self._workspace.on_video = self._video_changed
        self.onPainted: Callable[[], None] = lambda: None
        self._workspace.on_painted = self._painted
        self._workspace.on_error = self._failed
        self._workspace.meanwhile = self._meanwhile
        self.engine.on_change = self.live.on_change = self._engine_changed
        self.videos.on_waiting = self._engine_changed

    @property
    def session(self) -> Session | None:
        """The objects, prompts and masks of the video in use; None without a video."""
        return self._workspace.session

    @property
    def currentSession(self) -> Session:
        """The same as `session`. Raises `InputError` without a video."""
        return self._workspace.current_session

    @property
    def livePreview(self) -> bool:
        """Whether the masks of a frame are previewed whenever its prompts change."""
        return self._workspace.live_preview

    @livePreview.setter
    def livePreview(self, wanted: bool) -> None:
        self._workspace.live_preview = wanted

    @property
    def busy(self) -> bool:
        """Whether `processEvents` has to be called again."""
        return self.engine.busy or self.live.running or self.videos.waiting

    # videos

    def openVideo(self, path: Any) -> Video:
        """Open a video to look at it before it is loaded; see `VideoActions.open`."""
        return self.videos.open(path)

    def loadVideo(
        self,
        path: Any,
        start: int = 0,
        stop: int | None = None,
        stride: int = 1,
        scale: float = 1.0,
        progress: _Progress = lambda done, total: None,
        shouldStop: _ShouldStop = lambda: False,
    ) -> Any:
        """Load a video into the scene and use it; see `VideoActions.load`."""
        return self.videos.load(path, start, stop, stride, scale, progress, shouldStop)

    def streamVideo(
        self, path: Any, masksFolder: str | Path | None = None, memory: int | None = None
    ) -> Any:
        """Use a video that stays in its file; see `VideoActions.stream`."""
        return self.videos.stream(path, masksFolder, memory)

    def relocateVideo(
        self,
        browserNode: Any,
        video: str | Path | None = None,
        masksFolder: str | Path | None = None,
    ) -> None:
        """Say where the files of a video are now; see `VideoActions.relocate`."""
        self.videos.relocate(browserNode, video, masksFolder)

    def setVideo(self, browserNode: Any) -> None:
        """Use a video that is in the scene, or none; see `VideoActions.use`."""
        self.videos.use(browserNode)

    # objects

    def addObject(
        self,
        name: str | None = None,
        color: str | None = None,
        terminology: str | None = None,
        className: str | None = None,
    ) -> int:
        """Add an object and return its id; see `ObjectActions.add`."""
        return self.objects.add(name, color, terminology, className)

    def removeObject(self, objectId: int) -> None:
        """Remove an object with its prompts and masks."""
        self.objects.remove(objectId)

    def lockObject(self, objectId: int, locked: bool = True) -> None:
        """Protect an object from changes of its masks and prompts, or unlock it."""
        self.objects.lock(objectId, locked)

    def setClass(self, objectId: int, className: str) -> None:
        """Give an object a class of the list in use; an empty name takes its class away."""
        self.objects.set_class(objectId, className)

    def chooseClasses(self, nameOrPath: str | Path) -> None:
        """Use another list of classes; see `ObjectActions.choose_classes`."""
        self.objects.choose_classes(nameOrPath)

    # prompts

    def addPoint(
        self, objectId: int, x: float, y: float, positive: bool = True, frame: int | None = None
    ) -> None:
        """Add a point on the object or outside it; see `PromptActions.add_point`."""
        self.prompts.add_point(objectId, x, y, positive, frame)

    def setBox(self, objectId: int, box: Sequence[float], frame: int | None = None) -> None:
        """Set the box ``[x0, y0, x1, y1]`` around the object."""
        self.prompts.set_box(objectId, box, frame)

    def addScribble(
        self, objectId: int, line: Points, positive: bool = True, frame: int | None = None
    ) -> None:
        """Add points along a line on the object or outside it; see `PromptActions.add_scribble`."""
        self.prompts.add_scribble(objectId, line, positive, frame)

    def setLasso(self, objectId: int, outline: Points, frame: int | None = None) -> None:
        """Make what an outline encloses the object's mask; see `PromptActions.set_lasso`."""
        self.prompts.set_lasso(objectId, outline, frame)

    def setMask(
        self, objectId: int, mask: np.ndarray | None = None, frame: int | None = None
    ) -> None:
        """Make a mask, or with None the painted one, a prompt; see `PromptActions.set_mask`."""
        self.prompts.set_mask(objectId, mask, frame)

    def setPrompt(self, objectId: int, prompt: Prompt) -> None:
        """Set points and box at once, in place of those on the prompt's frame."""
        self.prompts.set_prompt(objectId, prompt)

    def setClicks(
        self,
        objectId: int,
        points: Sequence[Sequence[float]] | np.ndarray,
        frame: int | None = None,
    ) -> None:
        """Set all points of an object on a frame; see `PromptActions.set_clicks`."""
        self.prompts.set_clicks(objectId, points, frame)

    def clearPrompts(self, objectId: int, frame: int | None = None) -> None:
        """Remove the object's prompts on a frame, or with None on all frames."""
        self.prompts.clear(objectId, frame)

    def undo(self) -> bool:
        """Undo the last change of prompts, masks or marks; return False when there is none."""
        return self.prompts.undo()

    def redo(self) -> bool:
        """Redo the change that was undone last; return False when there is none."""
        return self.prompts.undo(redo=True)

    def loadPrompts(self, path: str | Path) -> None:
        """Read a prompt file, in place of the present prompts."""
        self.prompts.load(path)

    def savePrompts(self, path: str | Path) -> None:
        """Write a prompt file, which ``surgsam2 segment`` and the bundle read too."""
        self.prompts.save(path)

    def preview(self, frame: int | None = None, wait: bool = False) -> None:
        """Show the masks that the points and boxes of a frame give."""
        self.prompts.preview(frame, wait)

    def correct(
        self,
        objectId: int,
        points: Sequence[Sequence[float]] | np.ndarray,
        frame: int | None = None,
        wait: bool = False,
    ) -> None:
        """Correct a mask by clicks; see `PromptActions.correct`."""
        self.prompts.correct(objectId, points, frame, wait)

    # tracking

    def setModel(self, nameOrPath: str | Path = "demo", **options: Any) -> None:
        """Choose the model to use from now on. It is loaded when it is needed.

        Args:
            nameOrPath: a known name, a checkpoint file or the folder of a bundle.
            options: the other fields of `ModelOptions`: config, device, dtype, pruning, ...

        Raises:
            InputError: there is no such option, or a value cannot be used.
        """
        named = {"model": str(nameOrPath), **options}
        self.tracking.model = options_from_arguments(ModelOptions, named)

    def track(
        self,
        direction: str = "forward",
        start: int | None = None,
        stop: int | None = None,
        objects: Collection[int] | None = None,
        overwriteGood: bool = False,
        wait: bool = False,
        **options: Any,
    ) -> TrackJob:
        """Follow the objects through the video; see `TrackingActions.track`.

        Args:
            direction: "forward", "backward" or "both".
            start: first frame; None for all that the direction reaches.
            stop: frame to stop before.
            objects: ids of the objects to track; None for all that have prompts.
            overwriteGood: whether to write over frames that are marked as good too.
            wait: whether to return only when the track has ended.
            options: the other fields of `TrackingOptions`, such as ``allowOverlap=True``.

        Returns:
            The job, whose `done`, `total`, `fps`, `status` and `error` follow its progress.
        """
        limits = {"direction": direction, "start": start, "stop": stop}
        chosen = options_from_arguments(TrackingOptions, limits | options)
        return self.tracking.track(chosen, objects, overwriteGood, wait)

    def trackFrom(
        self,
        frame: int | None = None,
        direction: str = "forward",
        objects: Collection[int] | None = None,
        overwriteGood: bool = False,
        wait: bool = False,
        **options: Any,
    ) -> TrackJob:
        """Track again from a corrected frame on, or back; see `TrackingActions.track_from`."""
        chosen = options_from_arguments(TrackingOptions, {"direction": direction, **options})
        return self.tracking.track_from(frame, chosen, objects, overwriteGood, wait)

    def trackBetween(
        self,
        frame: int | None = None,
        objects: Collection[int] | None = None,
        overwriteGood: bool = False,
        wait: bool = False,
        **options: Any,
    ) -> TrackJob:
        """Track again between two corrections; see `TrackingActions.track_between`."""
        chosen = options_from_arguments(TrackingOptions, options)
        return self.tracking.track_between(frame, chosen, objects, overwriteGood, wait)

    def cancel(self) -> None:
        """Stop what is running; masks written so far stay."""
        self.tracking.cancel()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is running, at most `timeout` seconds; return whether that is so."""
        return self._workspace.wait(timeout)

    def processEvents(self, timeout: float = 0.0) -> None:
        """Take what has come from the engine; a timer calls this.

        Args:
            timeout: seconds to wait at most for something to come.
        """
        self.engine.poll(timeout)
        self.live.tick(timeout)
        self.videos.poll(timeout)

    # live segmentation

    def startLive(self, volumeNode: Any, **options: Any) -> Any:
        """Segment each new picture of a volume that another module fills.

        The model is that of `setModel`. The engine process of tracking ends meanwhile, so
        that its memory is free; it starts again when it is needed.

        Args:
            volumeNode: the ``vtkMRMLVolumeNode`` that another module fills.
            options: fields of `TrackingOptions` that say how masks are made and which memories
                are kept, such as ``memory="reliable"``.

        Returns:
            The ``vtkMRMLSegmentationNode`` that shows the masks.

        Raises:
            InputError: a track is in progress, the node shows no pictures, or an option cannot
                be used.
        """
        self._workspace.refuse_while_tracking()
        chosen = options_from_arguments(TrackingOptions, options)
        self.live.start(volumeNode, self.tracking.model, chosen)
        self.engine.close()
        return self.live.masks.proxy

    def stopLive(self) -> None:
        """End the live session; segments and recording stay."""
        self.live.stop()

    def addLiveObject(
        self, name: str | None = None, color: str | None = None, terminology: str | None = None
    ) -> int:
        """Add an object to the live segmentation and return its id; see `addObject`."""
        return self.live.objects.add(name, color, terminology)

    def removeLiveObject(self, objectId: int) -> None:
        """Stop following an object, and remove its segment."""
        self.live.remove_object(objectId)

    def addLivePrompt(
        self,
        objectId: int,
        points: Sequence[Sequence[float]] | np.ndarray | None = None,
        box: Sequence[float] | None = None,
        mask: np.ndarray | None = None,
    ) -> None:
        """Mark an object in the picture that is shown, while segmenting goes on.

        The arguments are those of `Marking.prompt`.
        """
        self.live.marking.prompt(self.live.objects[objectId], points, box, mask)

    def recordLive(self, gigabytes: float = 2.0) -> None:
        """Record pictures and masks from now on, in at most this much memory (10^9 bytes)."""
        self.live.record(gigabytes)

    def stopRecordingLive(self) -> Any:
        """End the recording; return its ``vtkMRMLSequenceBrowserNode``, None without one."""
        return self.live.stop_recording()

    def liveStatistics(self) -> LiveStatistics:
        """Return how many pictures came, were segmented and dropped, rate and latency."""
        return self.live.statistics

    # results

    def getMask(self, objectId: int, frame: int | None = None) -> np.ndarray:
        """Return the object's mask on a frame, (H, W) bool, also when it was painted."""
        return self.currentSession.masks.mask(self._workspace.frame_index(frame), objectId)

    def markGood(self, frames: int | Iterable[int], good: bool = True) -> None:
        """Protect frames from being changed by tracking; see `ReviewActions.mark_good`."""
        self.review.mark_good(frames, good)

    def markBad(self, frames: int | Iterable[int], bad: bool = True) -> None:
        """List frames as doubtful whatever was measured; see `ReviewActions.mark_bad`."""
        self.review.mark_bad(frames, bad)

    def markAbsent(self, first: int, last: int, objects: Collection[int] | None = None) -> None:
        """Say that objects (None for all) are not visible from frame `first` to `last`."""
        self.review.mark_absent(first, last, objects)

    def eraseMasks(self, first: int, last: int, objects: Collection[int] | None = None) -> None:
        """Remove masks and prompts of objects (None for all) from frame `first` to `last`."""
        self.review.erase(first, last, objects)

    def copyMasks(
        self, source: int, first: int, last: int, objects: Collection[int] | None = None
    ) -> None:
        """Give objects (None for all) their masks of the frame `source` from `first` to `last`."""
        self.review.copy_masks(source, first, last, objects)

    def interpolate(self, first: int, last: int, objects: Collection[int] | None = None) -> None:
        """Write masks of objects (None for all) between those of the frames `first` and `last`."""
        self.review.interpolate(first, last, objects)

    def exportResults(
        self,
        folder: str | Path,
        formats: Iterable[str] = EXPORT_FORMATS,
        progress: _Progress = lambda done, total: None,
        shouldStop: _ShouldStop = lambda: False,
    ) -> None:
        """Write the masks of the scene as files; see `ReviewActions.export`."""
        self.review.export(folder, formats, progress, shouldStop)

    def importMasks(self, path: str | Path, asPrompts: bool = False) -> list[int]:
        """Read masks from label PNGs or a COCO file; see `ReviewActions.import_masks`."""
        return self.review.import_masks(path, asPrompts)

    def saveScene(self, path: str | Path) -> None:
        """Write the whole scene as .mrb."""
        if self.session is not None:
            self.session.review.publish()
        save_scene(self.scene, path)

    def close(self) -> None:
        """End the engine process and leave the scene alone from now on."""
        self.live.forget()
        self.engine.close()
        self.videos.close()

    def _engine_changed(self) -> None:
        self.onChange()

    def _video_changed(self, browser: Any) -> None:
        self.onVideo(browser)

    def _painted(self) -> None:
        self.onPainted()

    def _failed(self, text: str) -> None:
        self.onError(text)

    def _meanwhile(self) -> None:
        """Do something between two looks at the engine while a caller waits."""
