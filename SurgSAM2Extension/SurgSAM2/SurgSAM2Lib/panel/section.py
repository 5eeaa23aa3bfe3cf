"""The base class of the panel's sections, and helpers for their widgets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from SurgSAM2Lib.panel.context import PanelContext
from SurgSAM2Lib.session.session import Session


class Section:
    """A part of the panel. A subclass connects its widgets and shows the state in `refresh`.

    Args:
        context: what all sections share.
        ui: the widgets of the section by name; None for those of the main ``.ui`` file.
    """

    def __init__(self, context: PanelContext, ui: Any = None) -> None:
        self.context = context
        self.logic = context.logic
        self.ui: Any = context.ui if ui is None else ui

    def refresh(self) -> None:
        """Show the state. It is called after every change, so it only sets what differs."""

    @property
    def session(self) -> Session | None:
        """The session of the video in use; None without a video."""
        return self.logic.session

    def on_click(self, button: Any, action: Callable[[], Any]) -> None:
        """Run an action when a button is pressed; its errors are shown in a message box."""
        button.connect("clicked(bool)", lambda _checked=False: self.context.run(action))


def enable(widget: Any, reason: str = "") -> None:
    """Enable a widget, or disable it and show the reason as its tooltip."""
    if widget.property("usualToolTip") is None:
        widget.setProperty("usualToolTip", widget.toolTip)
    widget.enabled = not reason
    widget.toolTip = reason or widget.property("usualToolTip")


def set_checked(button: Any, checked: bool) -> None:
    """Check or uncheck a button without calling its slots."""
    if button.checked != checked:
        button.blockSignals(True)
        button.checked = checked
        button.blockSignals(False)
