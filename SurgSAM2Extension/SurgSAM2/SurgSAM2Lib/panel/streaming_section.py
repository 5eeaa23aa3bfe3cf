"""Videos that stay in their files: opening them, and finding them again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from surgsam2.mrml.video_nodes import STREAM_ATTRIBUTE
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.panel import dialogs
from SurgSAM2Lib.panel.section import Section
from SurgSAM2Lib.session.file_types import VIDEO_FILTER
from SurgSAM2Lib.session.views import show_video

if TYPE_CHECKING:
    from surgsam2.mrml.streaming import FilesMovedError


class StreamingSection(Section):
    """Two buttons of the section *Video*."""

    def connect(self) -> None:
        self.on_click(self.ui.streamButton, self.stream)
        self.on_click(self.ui.locateButton, self.locate)

    def stream(self) -> None:
        """Work on the video that is being looked at, without loading it."""
        video = self.panel.video.pending
        if video is None:
            return
        browser = self.logic.streamVideo(video)
        self.panel.video.pending = None  # the scene has it now
        self.panel.video.forget_pending()
        self.panel.choose_video(browser)
        show_video(browser)

    def locate(self) -> None:
        """Ask for the new place of what the scene does not find."""
        from surgsam2.mrml.streaming import FilesMovedError

        browser = self.panel.parameters.video
        try:
            self.logic.setVideo(browser)
        except FilesMovedError as error:
            path = self._ask(error)
            if not path:
                return
            where = {"video": path} if error.video else {"masksFolder": path}
            self.logic.relocateVideo(browser, **where)
        self.panel.choose_video(browser)

    def refresh(self) -> None:
        chosen = self.panel.parameters.video
        lost = self.session is None and chosen is not None
        self.ui.locateButton.setVisible(lost and chosen.GetAttribute(STREAM_ATTRIBUTE) is not None)

    def _ask(self, error: FilesMovedError) -> str:
        if error.video and Path(error.path).suffix:
            return dialogs.ask_file(_("Where is the video now?"), VIDEO_FILTER)
        title = _("Where is the video now?") if error.video else _("Where are the masks now?")
        return dialogs.ask_folder(title)
