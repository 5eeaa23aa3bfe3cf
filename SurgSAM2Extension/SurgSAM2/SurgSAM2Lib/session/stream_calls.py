"""Videos that stay in their files: the calls of the logic about them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surgsam2.engine.client.engine_video import EngineVideo
from surgsam2.errors import InputError, SurgSAM2Error
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.session.opening import open_for_scene

if TYPE_CHECKING:
    from surgsam2.mrml.streaming import StreamedVideo
    from SurgSAM2Lib.session.session import Session


class StreamCalls:
    """Part of the logic: see `SurgSAM2Lib.logic.LogicCore`.

    What it imports in functions needs packages that Slicer may not have yet.
    """

    scene: Any
    session: Session | None
    onError: Callable[[str], None]

    if TYPE_CHECKING:

        def setVideo(self, browserNode: Any) -> None: ...

    def streamVideo(
        self, path: Any, masksFolder: str | Path | None = None, memory: int | None = None
    ) -> Any:
        """Work on a video that stays in its file, such as one that does not fit in memory.

        All of it can be shown and tracked. Masks are written into a folder while they come;
        the scene stores where both are.

        Args:
            path: a video file or a folder of images, or what `surgsam2.open_video` opened.
            masksFolder: folder for the masks; None: a new one beside the video.
            memory: bytes for decoded frames; None: 512 MiB.

        Returns:
            The ``vtkMRMLSequenceBrowserNode``.

        Raises:
            VideoError: it cannot be read.
            OutputError: the folder cannot be written.
            InputError: another Python decodes it, which cannot follow every click.
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
            nodes = stream_video(self.scene, video, masksFolder, limit=memory or WINDOW_BYTES)
        except SurgSAM2Error:
            if video is not path:
                video.close()
            raise
        self.setVideo(nodes.browser)
        return nodes.browser

    def relocateVideo(
        self,
        browserNode: Any,
        video: str | Path | None = None,
        masksFolder: str | Path | None = None,
    ) -> None:
        """Say where the files of a video are now, when a scene does not find them; then use it.

        Raises:
            InputError: it is another video, or the other one is not there either.
        """
        from surgsam2.mrml.streaming import relocate

        self.setVideo(relocate(browserNode, video=video, masks=masksFolder).browser)

    # for the logic

    def _follow_stream(self, on_waiting: Callable[[], None]) -> None:
        """After another video was chosen: hear of frames that take long, and of problems."""
        video = self._streamed
        if video is not None:
            video.stream.on_waiting = on_waiting
            video.stream.on_problem = self._report_problem

    def _report_problem(self, text: str) -> None:
        self.onError(text)

    def _poll_stream(self, timeout: float) -> None:
        """Show a frame that has been decoded meanwhile."""
        video = self._streamed
        if video is not None:
            video.stream.poll(timeout if video.stream.waiting else 0.0)

    @property
    def _stream_waits(self) -> bool:
        video = self._streamed
        return video is not None and video.stream.waiting

    @property
    def _streamed(self) -> StreamedVideo | None:
        if self.session is None or self.session.video.file is None:
            return None
        video: Any = self.session.video
        return video
