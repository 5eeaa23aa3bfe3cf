"""The check that this Slicer is new enough. This file must run on Python 3.9 too."""

from __future__ import annotations

import sys

from SurgSAM2Lib.i18n import _


def pythonProblem(version: tuple[int, ...] = sys.version_info[:3]) -> str:
    """Return why surgsam2 cannot run in this Python; empty when it can.

    Slicer 5.8 and older come with Python 3.9, Slicer 5.10 with 3.12.
    """
    if version[:2] >= (3, 10):
        return ""
    return _(
        "SurgSAM2 needs Slicer 5.10 or later: this Slicer comes with Python {version}, and 3.10 "
        "or later is needed. Download a newer Slicer from https://download.slicer.org."
    ).format(version=".".join(str(part) for part in version[:2]))
