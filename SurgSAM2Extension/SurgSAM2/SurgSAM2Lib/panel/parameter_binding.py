"""Binding widgets to a parameter node, without leaving observers behind."""

from __future__ import annotations

from typing import Any


class ParameterBinding:
    """Connects widgets to a parameter node until `release`.

    Slicer 5.10 does not remove the observer that `connectGui` adds. VTK would call it after
    the module was unloaded, which crashes the application, so it is removed here.

    Args:
        parameters: the `SurgSAM2ParameterNode`.
        ui: the widgets by name.
    """

    def __init__(self, parameters: Any, ui: Any) -> None:
        self._parameters = parameters
        self._observers: list[int] = []
        add_observer = parameters.AddObserver

        def add_and_record(event: Any, callback: Any, priority: float = 0.0) -> int:
            tag: int = add_observer(event, callback, priority)
            self._observers.append(tag)
            return tag

        parameters.AddObserver = add_and_record
        try:
            self._tag = parameters.connectGui(ui)
        finally:
            del parameters.AddObserver

    def release(self) -> None:
        """Disconnect the widgets and remove the observers."""
        self._parameters.disconnectGui(self._tag)
        for tag in self._observers:
            self._parameters.parameterNode.RemoveObserver(tag)
