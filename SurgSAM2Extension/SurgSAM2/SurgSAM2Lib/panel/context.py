"""`PanelContext`: what the sections of the panel share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import qt
import slicer

from surgsam2.errors import InputError, SurgSAM2Error
from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.logic.slicer_logic import SurgSAM2Logic


class PanelContext:
    """The widgets, the logic, the settings, the video in use and the selected object.

    Args:
        ui: the widgets of the main ``.ui`` file by name.
        logic: the logic of the module.
        on_refresh: shows the state of the whole panel.

    Attributes:
        parameters: the `SurgSAM2ParameterNode` in use; None while a scene is closed.
    """

    def __init__(self, ui: Any, logic: SurgSAM2Logic, on_refresh: Callable[[], None]) -> None:
        self.ui = ui
        self.logic = logic
        self.parameters: Any = None
        self._on_refresh = on_refresh
        self._refresh_is_due = False

    @property
    def selected(self) -> int:
        """Id of the object that prompts are given for; 0 for none."""
        return self.parameters.selectedObject if self.parameters is not None else 0

    def required_object(self) -> int:
        """Return the id of the selected object. Raises `InputError` when none is selected."""
        if not self.selected:
            raise InputError(_("no object is selected; add or select an object first"))
        return self.selected

    def select_object(self, object_id: int) -> None:
        """Select an object; 0 for none."""
        if self.parameters is not None and object_id != self.selected:
            self.parameters.selectedObject = object_id
        self.refresh_later()

    @property
    def browser(self) -> Any:
        """The browser node of the video in use; None without one or when its nodes changed."""
        session = self.logic.session
        return session.video.browser if session is not None and not session.problem else None

    def choose_video(self, browser: Any) -> None:
        """Make a video of the scene the chosen one and use it."""
        self.use_video(browser)
        if self.parameters.video is not browser:
            self.parameters.video = browser

    def use_video(self, browser: Any) -> None:
        """Use a video; when this fails, use none and show why."""
        try:
            self.logic.setVideo(browser)
            self.show_message("")
        except SurgSAM2Error as error:
            self.logic.setVideo(None)
            self.show_message(str(error))

    def run(self, action: Callable[[], Any]) -> bool:
        """Do what the user asked for, and show an error in a message box.

        Returns:
            Whether there was no error.
        """
        try:
            with _wait_cursor():
                action()
        except SurgSAM2Error as error:
            self.refresh()
            self.show_error(str(error))
            return False
        self.show_message("")
        self.refresh()
        return True

    def show_error(self, text: str) -> None:
        """Show an error in a message box."""
        slicer.util.errorDisplay(text, windowTitle=_("SurgSAM2"))

    def show_message(self, text: str) -> None:
        """Show a text at the top of the panel; an empty one hides it."""
        self.ui.messageLabel.text = text
        self.ui.messageLabel.setVisible(bool(text))

    def refresh_later(self) -> None:
        """Show the state when Slicer is idle, once for all changes until then."""
        if not self._refresh_is_due:
            self._refresh_is_due = True
            later(self.refresh)

    def refresh(self) -> None:
        """Show the state of the whole panel."""
        self._refresh_is_due = False
        self._on_refresh()


def later(action: Callable[[], Any]) -> None:
    """Call something when Slicer is idle: nodes must not change during their own events."""
    qt.QTimer.singleShot(0, action)


@contextlib.contextmanager
def _wait_cursor() -> Iterator[None]:
    qt.QApplication.setOverrideCursor(qt.Qt.WaitCursor)
    try:
        yield
    finally:
        qt.QApplication.restoreOverrideCursor()
