"""The panel's section *Video*: opening a video, and choosing among the videos of the scene."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import slicer

from surgsam2.mrml.video_nodes import STREAM_ATTRIBUTE
from surgsam2.video import Video
from SurgSAM2Lib import dialogs
from SurgSAM2Lib.files.loading_options import LoadingOptions, describe_video, memory_text
from SurgSAM2Lib.files.opening import VIDEO_FILTER
from SurgSAM2Lib.files.sample import sample_video
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.panel.context import PanelContext
from SurgSAM2Lib.panel.section import Section, enable
from SurgSAM2Lib.panel.shortcuts import disable_shortcuts_of
from SurgSAM2Lib.panel.views import PictureLayout, show_video

if TYPE_CHECKING:
    from surgsam2.mrml.streaming import FilesMovedError


class VideoSection(Section):
    """Opens a video, shows the memory that loading takes, and then loads or streams it.

    Args:
        context: what all sections share.

    Attributes:
        pending: the video that was opened but not loaded yet; None without one.
        layout: the layout that shows the video.
    """

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        self.pending: Video | None = None
        self.layout = PictureLayout()
        self.on_click(self.ui.openVideoButton, self.ask_for_file)
        self.on_click(self.ui.openFolderButton, self.ask_for_folder)
        self.on_click(self.ui.sampleButton, self.load_sample)
        self.on_click(self.ui.loadButton, self.load)
        self.on_click(self.ui.streamButton, self.stream)
        self.on_click(self.ui.cancelLoadButton, self.forget_pending)
        self.on_click(self.ui.locateButton, self.locate)
        self.ui.rangeWidget.connect("valuesChanged(double,double)", self.show_memory)
        self.ui.strideSpinBox.connect("valueChanged(int)", self.show_memory)
        self.ui.scaleSlider.connect("valueChanged(double)", self.show_memory)
        self.ui.frameSpinBox.connect("valueChanged(int)", self.go_to)
        self.ui.loadFrame.hide()
        # the toolbar has the same keys, and an ambiguous key does nothing
        disable_shortcuts_of(self.ui.playWidget)

    def ask_for_file(self) -> None:
        """Ask for a video file and open it."""
        path = dialogs.ask_file(_("Open video"), VIDEO_FILTER)
        if path:
            self.look_at(path)

    def ask_for_folder(self) -> None:
        """Ask for a folder of images and open it."""
        path = dialogs.ask_folder(_("Open folder of images"))
        if path:
            self.look_at(path)

    def look_at(self, path: str | Path) -> None:
        """Open a video and offer which frames of it to load. Raises `VideoError`."""
        video = self.logic.videos.open(path)
        self.forget_pending()
        self.pending = video
        self.ui.rangeWidget.setRange(0, video.frame_count - 1)
        self.ui.rangeWidget.setValues(0, video.frame_count - 1)
        self.ui.strideSpinBox.value = 1
        self.ui.scaleSlider.value = 100
        self.ui.pendingLabel.text = f"<b>{Path(video.source).name}</b><br>{describe_video(video)}"
        self.ui.loadFrame.show()
        self.show_memory()

    @property
    def options(self) -> LoadingOptions:
        """The frames and the size that the widgets show."""
        return LoadingOptions(
            int(self.ui.rangeWidget.minimumValue),
            int(self.ui.rangeWidget.maximumValue),
            int(self.ui.strideSpinBox.value),
            self.ui.scaleSlider.value / 100,
        )

    def show_memory(self, *_values: float) -> None:
        """Show how much memory loading takes."""
        if self.pending is None:
            return
        text, fits = memory_text(self.pending, self.options)
        self.ui.memoryLabel.text = text
        enable(self.ui.loadButton, "" if fits else text)

    def load(self) -> None:
        """Load the chosen frames, with a progress dialog that can cancel it."""
        video = self.pending
        if video is None:
            return
        text = _("Loading {name}").format(name=Path(video.source).name)
        with dialogs.ProgressDialog(text) as progress:
            browser = self.logic.videos.load(
                video,
                **self.options.arguments(),
                progress=progress.step,
                should_stop=progress.stopped,
            )
        if browser is not None:
            self.forget_pending()
            self._show(browser)

    def load_or_stream(self) -> None:
        """Load the opened video, or work from its file when it does not fit in memory."""
        if self.pending is not None:
            fits = memory_text(self.pending, self.options)[1]
            (self.load if fits else self.stream)()

    def load_sample(self) -> None:
        """Make a short video and load it."""
        with dialogs.ProgressDialog(_("Making a short video"), known_length=False) as progress:
            slicer.app.processEvents()
            browser = self.logic.videos.load(sample_video(), should_stop=progress.stopped)
        if browser is not None:
            self._show(browser)

    def stream(self) -> None:
        """Use the opened video without loading it."""
        if self.pending is None:
            return
        browser = self.logic.videos.stream(self.pending)
        self.pending = None  # the scene keeps the video open now
        self.forget_pending()
        self._show(browser)

    def step(self, frames: int) -> None:
        """Show a later frame, or with a negative number an earlier one."""
        if self.session is not None:
            self.go_to(self.session.video.current_frame + frames)

    def go_to(self, frame: int) -> None:
        """Show a frame; a number outside the video is the first or the last one."""
        if self.session is not None:
            video = self.session.video
            video.current_frame = min(max(frame, 0), video.frame_count - 1)

    def forget_pending(self) -> None:
        """Close the video that was opened but not loaded."""
        if self.pending is not None:
            self.pending.close()
            self.pending = None
        self.ui.loadFrame.hide()

    def locate(self) -> None:
        """Ask for the new place of files that the scene does not find."""
        from surgsam2.mrml.streaming import FilesMovedError

        browser = self.context.parameters.video
        try:
            self.logic.videos.use(browser)
        except FilesMovedError as error:
            path = self._ask_for_place(error)
            if not path:
                return
            if error.video:
                self.logic.videos.relocate(browser, video=path)
            else:
                self.logic.videos.relocate(browser, masks_folder=path)
        self.context.choose_video(browser)

    def refresh(self) -> None:
        """Show the video in use."""
        session, chosen = self.session, self.context.parameters.video
        browser = session.video.browser if session is not None else None
        self.ui.seekWidget.setMRMLSequenceBrowserNode(browser)
        self.ui.playWidget.setMRMLSequenceBrowserNode(browser)
        lost = session is None and chosen is not None
        self.ui.locateButton.setVisible(lost and chosen.GetAttribute(STREAM_ATTRIBUTE) is not None)
        self.show_frame()

    def show_frame(self) -> None:
        """Show the number and time of the frame; playback calls this many times a second."""
        session = self.session
        self.ui.frameSpinBox.enabled = session is not None
        if session is None:
            self.ui.frameLabel.text = _("no video is chosen")
            return
        video = session.video
        frame = video.current_frame
        self.ui.frameSpinBox.blockSignals(True)
        self.ui.frameSpinBox.setRange(0, video.frame_count - 1)
        self.ui.frameSpinBox.value = frame
        self.ui.frameSpinBox.blockSignals(False)
        number = video.frame_number(frame)
        text = _("{frame} of {count} ({seconds} s)").format(
            frame=frame, count=video.frame_count, seconds=f"{video.time_of(frame):.2f}"
        )
        if number != frame:
            text = _("{text}, number {number} of the file").format(text=text, number=number)
        self.ui.frameLabel.text = text

    def _show(self, browser: object) -> None:
        self.context.choose_video(browser)
        self.layout.use()
        show_video(browser)

    @staticmethod
    def _ask_for_place(error: FilesMovedError) -> str:
        if error.video and Path(error.path).suffix:
            return dialogs.ask_file(_("Where is the video now?"), VIDEO_FILTER)
        title = _("Where is the video now?") if error.video else _("Where are the masks now?")
        return dialogs.ask_folder(title)
