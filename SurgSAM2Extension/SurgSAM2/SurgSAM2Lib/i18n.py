"""The function `_`, which translates a text into the language of Slicer's application.

Without the application, as in tests, it returns the text itself.
"""

from __future__ import annotations

try:
    from slicer.i18n import tr as _
except ImportError:  # the package slicer-core has no slicer.i18n

    def _(text: str) -> str:
        """Return the text untranslated."""
        return text


__all__ = ["_"]
