"""What the sections of the panel have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt

if TYPE_CHECKING:
    from SurgSAM2Lib.panel.widget import SurgSAM2Widget
    from SurgSAM2Lib.session.session import Session


class Section:
    """A part of the panel: connects its widgets once, and shows the present state.

    Args:
        panel: the module's widget, with `ui`, `logic`, `parameters` and the selected object.
    """

    def __init__(self, panel: SurgSAM2Widget) -> None:
        self.panel = panel
        self.ui: Any = panel.ui
        self.logic = panel.logic
        self.connect()

    def connect(self) -> None:
        """Connect the section's widgets."""

    def refresh(self) -> None:
        """Show the state; called after every change, so it only sets what is different."""

    @property
    def session(self) -> Session | None:
        return self.logic.session

    def on_click(self, button: Any, action: Any) -> None:
        """Run an action when a button is pressed, with errors shown in plain words."""
        button.connect("clicked(bool)", lambda _checked=False: self.panel.run(action))


def later(action: Callable[[], Any]) -> None:
    """When Slicer is idle: nodes must not be changed within their own events."""
    qt.QTimer.singleShot(0, action)


def enable(widget: Any, reason: str = "") -> None:
    """Enable a widget, or disable it and say why in its tooltip."""
    if widget.property("usualToolTip") is None:
        widget.setProperty("usualToolTip", widget.toolTip)
    widget.enabled = not reason
    widget.toolTip = reason or widget.property("usualToolTip")
