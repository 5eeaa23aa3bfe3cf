"""The module SurgSAM2 of 3D Slicer. This file describes it; SurgSAM2Lib has everything else."""

from __future__ import annotations

import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule

try:
    import surgsam2  # noqa: F401 - it is installed beside this file or with pip
except ImportError:  # the module is run from the source tree
    sys.path.append(str(Path(__file__).resolve().parents[2]))

from SurgSAM2Lib.install.python_version import pythonProblem

if pythonProblem():  # the panel then says that Slicer is too old
    from SurgSAM2Lib.install.too_old import SurgSAM2Widget
else:
    from SurgSAM2Lib.file_reader import SurgSAM2FileReader  # noqa: F401
    from SurgSAM2Lib.logic.slicer_logic import SurgSAM2Logic  # noqa: F401
    from SurgSAM2Lib.panel.sample_data import register_sample
    from SurgSAM2Lib.panel.widget import SurgSAM2Widget  # noqa: F401
    from SurgSAM2Lib.self_test import SurgSAM2Test  # noqa: F401

DOCUMENTATION = "https://github.com/SurgSAM2/SlicerSurgSAM2/blob/main/docs/slicer.md"


class SurgSAM2(ScriptedLoadableModule):
    """The description of the module that Slicer shows.

    Args:
        parent: Slicer's module object.
    """

    def __init__(self, parent) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("SurgSAM2")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["Sequences", "Segmentations", "Markups"]
        parent.contributors = ["The SurgSAM2 contributors"]
        parent.helpText = _(
            "Segments instruments and tissue in surgical video: open a video, click on an "
            "object, track it, correct it where it is wrong, and export it. "
            '<a href="{url}">Documentation</a>'
        ).format(url=DOCUMENTATION)
        parent.acknowledgementText = _(
            "Built on SAM 2 (Meta) and SurgSAM2 with Efficient Frame Pruning (arXiv 2408.07931)."
        )
        if not pythonProblem():
            slicer.app.connect("startupCompleted()", register_sample)
