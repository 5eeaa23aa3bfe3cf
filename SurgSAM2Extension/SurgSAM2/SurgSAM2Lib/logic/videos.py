"""Opening videos and choosing the one to work on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surgsam2.engine.client.engine_video import EngineVideo
from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.mrml import load_video, open_video_nodes
from surgsam2.video import Video
from SurgSAM2Lib.files.opening import OpenElsewhere, open_for_scene
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.logic.workspace import Workspace
from SurgSAM2Lib.session.session import Session

if TYPE_CHECKING:
    from surgsam2.mrml.streaming import StreamedVideo


class VideoActions:
    """Opens videos, brings them into the scene and chooses the one in use.

    Modules that need packages which Slicer may not have yet are imported inside functions.

    Args:
        workspace: the scene, session and engine to work with.
        open_elsewhere: opens videos that this Python cannot decode.
    """

    def __init__(self, workspace: Workspace, open_elsewhere: OpenElsewhere) -> None:
        self._workspace = workspace
        self._open_elsewhere = open_elsewhere
        self.on_waiting: Callable[[], None] = lambda: None
        """Called when a frame of a streamed video takes long to decode."""

    def open(self, path: Any) -> Video:
        """Open a video to look at it before it is loaded, in another Python where needed.

        Raises:
            VideoError: the video cannot be read.
            MissingDependencyError: a package is missing.
        """
        return open_for_scene(path, self._open_elsewhere)

    def load(
        self,
        path: Any,
        start: int = 0,
        stop: int | None = None,
        stride: int = 1,
        scale: float = 1.0,
        progress: Callable[[int, int], None] = lambda done, total: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Any:
        """Load a video into the scene as a sequence and use it.

        Args:
            path: a video file, image folder or DICOM file, or whatever else
                `surgsam2.open_video` takes, such as an array.
            start: index of the first frame to load.
            stop: index of the frame to stop before; None for the end.
            stride: distance between frames to load, from 1.
            scale: factor of width and height, above 0 and up to 1.
            progress: called with the number of frames done and the number in all.
            should_stop: asked after each frame; True ends the loading.

        Returns:
            The ``vtkMRMLSequenceBrowserNode``; None when loading was stopped.

        Raises:
            VideoError: the video cannot be read.
            InputError: the range or the scale is impossible, or memory does not suffice.
        """
        with self.open(path) as video:
            nodes = load_video(
                self._workspace.scene,
                video,
                start=start,
                stop=stop,
                stride=stride,
                scale=scale,
                progress=progress,
                should_stop=should_stop,
            )
        if nodes is None:
            return None
        self.use(nodes.browser)
        return nodes.browser

    def stream(
        self, path: Any, masks_folder: str | Path | None = None, memory: int | None = None
    ) -> Any:
        """Use a video that stays in its file, such as one that does not fit in memory.

        The whole video can be shown and tracked. Masks are written into a folder as they
        come; the scene stores where video and masks are.

        Args:
            path: a video file or a folder of images, or what `surgsam2.open_video` opened.
            masks_folder: folder for the masks; None for a new one beside the video.
            memory: bytes for decoded frames; None for 512 MiB.

        Returns:
            The ``vtkMRMLSequenceBrowserNode``.

        Raises:
            VideoError: the video cannot be read.
            OutputError: the folder cannot be written.
            InputError: another Python decodes the video, which cannot follow every click.
        """
        if isinstance(path, EngineVideo):
            raise InputError(
                _(
                    "{file} is decoded by another Python, so its frames have to be loaded; to "
                    "work from the file, install what is missing in Slicer."
                ).format(file=Path(path.source).name)
            )
        from surgsam2.mrml.streaming import WINDOW_BYTES, stream_video

        video = open_for_scene(path)
        try:
            nodes = stream_video(
                self._workspace.scene, video, masks_folder, limit=memory or WINDOW_BYTES
            )
        except SurgSAM2Error:
            if video is not path:
                video.close()
            raise
        self.use(nodes.browser)
        return nodes.browser

    def relocate(
        self,
        browser: Any,
        video: str | Path | None = None,
        masks_folder: str | Path | None = None,
    ) -> None:
        """Say where the files of a video are when a scene does not find them, and use it.

        Raises:
            InputError: the file is another video, or the other file is not there either.
        """
        from surgsam2.mrml.streaming import relocate

        self.use(relocate(browser, video=video, masks=masks_folder).browser)

    def use(self, browser: Any) -> None:
        """Use a video that is in the scene; None for no video.

        Raises:
            InputError: the node is no sequence browser, or it has no video.
        """
        session = None if browser is None else Session(open_video_nodes(browser))
        workspace = self._workspace
        self.close()
        workspace.session = session
        workspace.engine.use_video(None if session is None else session.video)
        if session is not None and not session.classes.chosen and workspace.class_list is not None:
            session.classes.choices = workspace.class_list
        if session is not None:
            session.on_painted = workspace.on_painted
            # the masks of a live recording are hidden until it is used
            session.masks.proxy.SetDisplayVisibility(True)
        streamed = self._streamed
        if streamed is not None:
            streamed.stream.on_waiting = self.on_waiting
            streamed.stream.on_problem = workspace.on_error
        workspace.on_video(browser)

    def close(self) -> None:
        """Leave the nodes of the video in use alone from now on."""
        if self._workspace.session is not None:
            self._workspace.session.close()
            self._workspace.session = None

    def poll(self, timeout: float) -> None:
        """Show a frame that has been decoded meanwhile; wait at most `timeout` seconds."""
        video = self._streamed
        if video is not None:
            video.stream.poll(timeout if video.stream.waiting else 0.0)

    @property
    def waiting(self) -> bool:
        """Whether the frame to show is still being decoded."""
        video = self._streamed
        return video is not None and video.stream.waiting

    @property
    def _streamed(self) -> StreamedVideo | None:
        session = self._workspace.session
        if session is None or session.video.file is None:
            return None
        video: Any = session.video
        return video
