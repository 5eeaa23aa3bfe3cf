"""`_`: translates a text with Slicer; without Slicer's application it returns the text."""

from __future__ import annotations

try:
    from slicer.i18n import tr as _
except ImportError:  # there is only the package slicer-core

    def _(text: str) -> str:
        """Return the text itself."""
        return text


__all__ = ["_"]
