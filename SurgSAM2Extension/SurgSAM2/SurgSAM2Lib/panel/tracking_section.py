"""Section *Track*: model, direction, progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer

from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.install.chosen_python import engine_python, startup_environment
from SurgSAM2Lib.panel import dialogs
from SurgSAM2Lib.panel.model_chooser import ModelChooser, known_models, model_problem
from SurgSAM2Lib.panel.section import Section, enable
from SurgSAM2Lib.tracking.jobs import TrackJob
from SurgSAM2Lib.tracking.model_download import download_model


class TrackingSection(Section):
    """Starts tracks and shows what the engine does."""

    def connect(self) -> None:
        self.chooser = ModelChooser(
            self.ui.modelComboBox, self.ui.modelPathLineEdit, self._model_chosen
        )
        self.on_click(self.ui.trackButton, self.track)
        self.on_click(self.ui.cancelButton, self.logic.cancel)
        self.on_click(self.ui.downloadButton, self.download)
        self._last: TrackJob | None = None

    def track(self) -> None:
        """Track as the panel says."""
        parameters = self.panel.parameters
        limits = {}
        if parameters.onlyRange:
            limits = {"start": parameters.firstFrame, "stop": parameters.lastFrame + 1}
        self.start(self.logic.track, direction=parameters.direction.value, **limits)

    def start(self, track: Callable[..., TrackJob], **what: Any) -> None:
        """Call one of the logic's ways to track, with the options of the panel."""
        parameters = self.panel.parameters
        if parameters.onlySelected:
            what["objects"] = [self.panel.required_object()]
        self._last = track(
            **what,
            overwriteGood=parameters.overwriteGood,
            allowOverlap=parameters.allowOverlap,
            fillHoles=parameters.fillHoles,
        )

    def download(self) -> None:
        """Fetch the chosen model's weights, after asking."""
        name = self.panel.parameters.model
        source = known_models()[name].source
        question = _("Download {name} from {source}?").format(name=name, source=source)
        if not slicer.util.confirmOkCancelDisplay(question, _("SurgSAM2")):
            return
        text = _("Downloading {name}").format(name=name)
        with dialogs.Progress(text, known_length=False) as progress:
            download_model(name, engine_python(), startup_environment(), progress.stopped)
        self.panel.refresh()

    def _model_chosen(self, model: str) -> None:
        self.panel.parameters.model = model

    # showing

    def refresh(self) -> None:
        parameters = self.panel.parameters
        if parameters is None:
            return
        self.chooser.show(parameters.model)
        entry = known_models().get(parameters.model)
        missing = entry is not None and bool(entry.url) and not entry.path.is_file()
        self.ui.downloadButton.setVisible(missing)
        for widget in (self.ui.firstFrameSpinBox, self.ui.lastFrameSpinBox):
            widget.enabled = parameters.onlyRange
        enable(self.ui.trackButton, self.problem())
        enable(self.ui.cancelButton, "" if self.logic.engine.busy else _("Nothing is running"))
        self.show_progress()

    def problem(self) -> str:
        """Why tracking cannot start; empty when it can."""
        session = self.session
        if session is None:
            return _("Open or choose a video first")
        if self.logic.engine.tracking is not None:
            return _("Tracking is in progress")
        if not len(session.prompts) and not len(session.edited):
            return _("Mark an object first, with a point, a box or a painted mask")
        return model_problem(self.panel.parameters.model)

    def show_progress(self) -> None:
        job = self.logic.engine.tracking or self._last
        bar = self.ui.progressBar
        if job is None:
            bar.value = 0
            self.ui.statusLabel.text = self._waiting_text()
            return
        bar.maximum = max(1, job.total)
        bar.value = job.done
        self.ui.statusLabel.text = self._job_text(job)

    def _waiting_text(self) -> str:
        engine = self.logic.engine
        if engine.busy and engine.loading:
            return _("Starting the engine and loading the model...")
        return _("Working...") if engine.busy else ""

    def _job_text(self, job: TrackJob) -> str:
        if job.status == "running":
            left = job.seconds_left
            return _("Frame {done} of {total}, {fps} frames/s, {left} left").format(
                done=job.done,
                total=job.total,
                fps=f"{job.fps:.1f}",
                left=_("?") if left is None else duration(left),
            )
        if job.status == "waiting":
            return _("Starting the engine and loading the model...")
        return {
            "complete": _("Finished: {done} frames").format(done=job.done),
            "cancelled": _("Cancelled; {done} frames are kept").format(done=job.done),
            "failed": _("Stopped after {done} frames: {error}").format(
                done=job.done, error=job.error
            ),
        }[job.status]


def duration(seconds: float) -> str:
    """Such as ``1:05`` or ``2:10:00``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
