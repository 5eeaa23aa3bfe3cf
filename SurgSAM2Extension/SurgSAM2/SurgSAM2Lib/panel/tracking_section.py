"""The panel's sections *Track* and *Advanced*: the model, the engine, and progress of tracks."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import qt
import slicer

from surgsam2.tracking.options import Direction, TrackingOptions
from SurgSAM2Lib import dialogs
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.install.chosen_python import engine_python, startup_environment
from SurgSAM2Lib.install.remote_engine import saved_remote_engine
from SurgSAM2Lib.logic.option_names import options_of
from SurgSAM2Lib.panel.context import PanelContext
from SurgSAM2Lib.panel.model_chooser import (
    BUILT_IN,
    ModelChooser,
    known_models,
    model_problem,
)
from SurgSAM2Lib.panel.section import Section, enable
from SurgSAM2Lib.tracking.jobs import TrackJob
from SurgSAM2Lib.tracking.model_download import download_model

RECOMMENDED = "sam2.1-hiera-small"
"""The model for real operations that the banner offers."""
BANNER_SETTING = "SurgSAM2/modelBanner"
"""Application setting: "hidden" once the user has hidden the banner."""
_StartTrack = Callable[[TrackingOptions, Collection[int] | None, bool], TrackJob]


class TrackingSection(Section):
    """Starts tracks, and shows what the engine does.

    Args:
        context: what all sections share.
    """

    def __init__(self, context: PanelContext) -> None:
        super().__init__(context)
        self._chooser = ModelChooser(
            self.ui.modelComboBox, self.ui.modelPathLineEdit, self._model_chosen
        )
        self._last: TrackJob | None = None
        self.ui.bannerLabel.connect("linkActivated(QString)", self._banner_clicked)
        self.on_click(self.ui.trackButton, lambda: self.start(self.logic.tracking.track))
        self.on_click(self.ui.cancelButton, self.logic.tracking.cancel)
        self.on_click(self.ui.downloadButton, self.download)
        self.on_click(self.ui.restartEngineButton, self.logic.engine.close)

    def start(self, track: _StartTrack, direction: Direction | None = None) -> None:
        """Start a track with the settings of the panel.

        Args:
            track: takes the options, the objects to track (None for all) and whether to write
                over good frames.
            direction: the direction, if it is not the one of the panel.
        """
        parameters = self.context.parameters
        options = options_of(parameters, TrackingOptions)
        if parameters.onlyRange:
            limits = {"start": parameters.firstFrame, "stop": parameters.lastFrame + 1}
            options = replace(options, **limits)
        if direction is not None:
            options = replace(options, direction=direction)
        objects = [self.context.required_object()] if parameters.onlySelected else None
        self._last = track(options, objects, parameters.overwriteGood)

    def start_from(self, direction: Direction) -> None:
        """Track again from the shown frame, forward or backward."""
        actions = self.logic.tracking
        self.start(lambda *what: actions.track_from(None, *what), direction)

    def download(self, name: str = "") -> None:
        """Download a model's weights, after asking.

        Args:
            name: name of a known model; empty for the chosen one.
        """
        name = name or self.context.parameters.model
        source = known_models()[name].source
        question = _("Download {name} from {source}?").format(name=name, source=source)
        if not slicer.util.confirmOkCancelDisplay(question, _("SurgSAM2")):
            return
        text = _("Downloading {name}").format(name=name)
        with dialogs.ProgressDialog(text, known_length=False) as progress:
            download_model(name, engine_python(), startup_environment(), progress.stopped)
        self.context.refresh()

    def _banner_clicked(self, link: str) -> None:
        """Use the recommended model, or hide the banner from now on."""
        if link == "hide":
            qt.QSettings().setValue(BANNER_SETTING, "hidden")
            self.refresh()
        else:
            self.context.run(self._use_recommended)

    def _use_recommended(self) -> None:
        entry = known_models()[RECOMMENDED]
        if not entry.path.is_file():
            self.download(RECOMMENDED)
        if entry.path.is_file():
            self.context.parameters.model = RECOMMENDED

    def _show_banner(self) -> None:
        entry = known_models().get(RECOMMENDED)
        hidden = qt.QSettings().value(BANNER_SETTING, "") == "hidden"
        built_in = self.context.parameters.model == BUILT_IN and saved_remote_engine() is None
        wanted = built_in and not hidden and entry is not None
        self.ui.bannerLabel.setVisible(wanted)
        if entry is not None:
            text = _(
                "The built-in model is a small one for trying out. "
                "<a href='use'>Use {name}</a> (a download of {size} MB) for real operations. "
                "<a href='hide'>Hide</a>"
            )
            self.ui.bannerLabel.text = text.format(
                name=RECOMMENDED, size=round(4 * entry.parameters / 1e6)
            )

    def _model_chosen(self, model: str) -> None:
        self.context.parameters.model = model

    def refresh(self) -> None:
        """Show the model, the engine and the progress."""
        parameters = self.context.parameters
        self._chooser.show(parameters.model)
        self._show_banner()
        entry = known_models().get(parameters.model)
        here = saved_remote_engine() is None  # else the other machine has the models
        missing = here and entry is not None and bool(entry.url) and not entry.path.is_file()
        self.ui.downloadButton.setVisible(missing)
        for widget in (self.ui.firstFrameSpinBox, self.ui.lastFrameSpinBox):
            widget.enabled = parameters.onlyRange
        enable(self.ui.trackButton, self.problem())
        enable(self.ui.cancelButton, "" if self.logic.engine.busy else _("Nothing is running"))
        self._show_engine()
        self._show_progress()

    def problem(self) -> str:
        """Return why tracking cannot start; empty when it can."""
        session = self.session
        if session is None:
            return _("Open or choose a video first")
        if self.logic.engine.tracking is not None:
            return _("Tracking is in progress")
        if not len(session.prompts) and not len(session.edited):
            return _("Mark an object first, with a point, a box or a painted mask")
        if saved_remote_engine() is not None:
            return ""
        return model_problem(self.context.parameters.model)

    def _show_engine(self) -> None:
        ready, model = self.logic.engine.ready, self.logic.engine.model
        if ready is None:
            self.ui.engineLabel.text = _("not running")
            enable(self.ui.restartEngineButton, _("The engine is not running"))
            return
        enable(self.ui.restartEngineButton)
        text = _("Python {python}, torch {torch}").format(python=ready.python, torch=ready.torch)
        if model is not None:
            text += "<br>" + _("{name} on {device}, {dtype}, {size} pixels").format(
                name=model.name, device=model.device, dtype=model.dtype, size=model.image_size
            )
        self.ui.engineLabel.text = text

    def _show_progress(self) -> None:
        job = self.logic.engine.tracking or self._last
        bar = self.ui.progressBar
        if job is None:
            bar.value = 0
            self.ui.statusLabel.text = self._waiting_text()
            return
        bar.maximum = max(1, job.total)
        bar.value = job.done
        news = self.logic.engine.connection
        self.ui.statusLabel.text = " ".join(filter(None, [_job_text(job), news]))

    def _waiting_text(self) -> str:
        engine = self.logic.engine
        if engine.connection:
            return engine.connection
        if engine.busy and engine.loading:
            return _("Starting the engine and loading the model...")
        return _("Working...") if engine.busy else ""


def _job_text(job: TrackJob) -> str:
    if job.status == "running":
        left = job.seconds_left
        return _("Frame {done} of {total}, {fps} frames/s, {left} left").format(
            done=job.done,
            total=job.total,
            fps=f"{job.fps:.1f}",
            left=_("?") if left is None else _duration(left),
        )
    if job.status == "waiting":
        return _("Starting the engine and loading the model...")
    return {
        "complete": _("Finished: {done} frames").format(done=job.done),
        "cancelled": _("Cancelled; {done} frames are kept").format(done=job.done),
        "failed": _("Stopped after {done} frames: {error}").format(done=job.done, error=job.error),
    }[job.status]


def _duration(seconds: float) -> str:
    """Return a duration such as ``1:05`` or ``2:10:00``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
