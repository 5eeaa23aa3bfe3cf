"""Section *Video*: opening, and choosing among the videos of the scene."""

from __future__ import annotations

from pathlib import Path

from surgsam2.video import Video
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.panel import dialogs
from SurgSAM2Lib.panel.section import Section, enable
from SurgSAM2Lib.session.file_types import VIDEO_FILTER
from SurgSAM2Lib.session.loading_options import LoadingOptions, describe_video, memory_text
from SurgSAM2Lib.session.views import show_video


class VideoSection(Section):
    """A video is looked at first; its frames are loaded when the user has seen the memory."""

    pending: Video | None = None
    """The video that is being looked at."""

    def connect(self) -> None:
        self.on_click(self.ui.openVideoButton, self.ask_for_file)
        self.on_click(self.ui.openFolderButton, self.ask_for_folder)
        self.on_click(self.ui.loadButton, self.load)
        self.on_click(self.ui.cancelLoadButton, self.forget_pending)
        self.ui.rangeWidget.connect("valuesChanged(double,double)", self.show_memory)
        self.ui.strideSpinBox.connect("valueChanged(int)", self.show_memory)
        self.ui.scaleSlider.connect("valueChanged(double)", self.show_memory)
        self.ui.loadFrame.hide()

    def ask_for_file(self) -> None:
        path = dialogs.ask_file(_("Open video"), VIDEO_FILTER)
        if path:
            self.look_at(path)

    def ask_for_folder(self) -> None:
        path = dialogs.ask_folder(_("Open folder of images"))
        if path:
            self.look_at(path)

    def look_at(self, path: str | Path) -> None:
        """Open a video and offer what to load of it. Raises `VideoError`."""
        video = self.logic.openVideo(path)
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
        """As the widgets say."""
        return LoadingOptions(
            int(self.ui.rangeWidget.minimumValue),
            int(self.ui.rangeWidget.maximumValue),
            int(self.ui.strideSpinBox.value),
            self.ui.scaleSlider.value / 100,
        )

    def show_memory(self, *_values: float) -> None:
        if self.pending is None:
            return
        text, fits = memory_text(self.pending, self.options)
        self.ui.memoryLabel.text = text
        enable(self.ui.loadButton, "" if fits else text)

    def load(self) -> None:
        """Load what was chosen; with a progress dialog, which can cancel it."""
        video = self.pending
        if video is None:
            return
        with dialogs.Progress(_("Loading {name}").format(name=Path(video.source).name)) as progress:
            browser = self.logic.loadVideo(
                video, **self.options.arguments(), progress=progress.step,
                shouldStop=progress.stopped,
            )  # fmt: skip
        if browser is not None:
            self.forget_pending()
            self.panel.choose_video(browser)
            show_video(browser)

    def forget_pending(self) -> None:
        if self.pending is not None:
            self.pending.close()
            self.pending = None
        self.ui.loadFrame.hide()

    def refresh(self) -> None:
        session = self.session
        browser = session.video.browser if session is not None else None
        self.ui.seekWidget.setMRMLSequenceBrowserNode(browser)
        self.ui.playWidget.setMRMLSequenceBrowserNode(browser)
        self.show_frame()

    def show_frame(self) -> None:
        """The frame's number and time; cheap, since playback changes it many times a second."""
        session = self.session
        if session is None:
            self.ui.frameLabel.text = _("no video is chosen")
            return
        video = session.video
        frame = video.current_frame
        number = video.frame_number(frame)
        text = _("{frame} of {count} ({seconds} s)").format(
            frame=frame, count=video.frame_count, seconds=f"{video.time_of(frame):.2f}"
        )
        if number != frame:
            text = _("{text}, number {number} of the file").format(text=text, number=number)
        self.ui.frameLabel.text = text
