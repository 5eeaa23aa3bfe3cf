"""`_`: Slicer's translation; the text itself where Slicer's application is not there."""

from __future__ import annotations

try:
    from slicer.i18n import tr as _
except ImportError:  # a script with the slicer-core package

    def _(text: str) -> str:
        return text


__all__ = ["_"]
