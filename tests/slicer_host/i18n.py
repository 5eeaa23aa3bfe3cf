"""`slicer.i18n` without a translation."""

from __future__ import annotations

import types


def translate(context: str, text: str) -> str:
    import slicer

    return slicer.app.translate(context, text)


def tr(text: str) -> str:
    """Return the text; refuse texts that were already formatted, which no translation has."""
    if not isinstance(text, str):
        raise TypeError(f"tr() takes a string, got {text!r}")
    return translate("SurgSAM2", text)


def make_i18n() -> types.ModuleType:
    module = types.ModuleType("slicer.i18n", __doc__)
    module.tr, module.translate = tr, translate  # type: ignore[attr-defined]
    return module
