"""SurgSAM2: promptable, real-time segmentation of surgical video.

SAM 2 with Efficient Frame Pruning (arXiv 2408.07931) as a streaming, multi-object
engine with bounded memory. Importing this package does not import torch; names
that need it are loaded when first used.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from surgsam2.errors import SurgSAM2Error, missing_dependency
from surgsam2.version import __version__

# onnxruntime, which the export needs, sends reports to its maker unless this is set beforehand.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# name -> module that defines it; imported on first use (PEP 562)
_LAZY = {
    "EFP": "surgsam2.model.pruning",
    "FrameResult": "surgsam2.results.frame_result",
    "PromptSet": "surgsam2.prompts",
    "Tracker": "surgsam2.tracking.tracker",
    "connect": "surgsam2.engine.remote_model",
    "correct_results": "surgsam2.job.correction",
    "load_model": "surgsam2.model.build",
    "load_prompts": "surgsam2.prompts",
    "open_video": "surgsam2.video",
    "review_output": "surgsam2.job.review",
    "segment_to_folder": "surgsam2.job.run",
    "segment_video": "surgsam2.tracking.segment",
    "to_coco": "surgsam2.outputs.collected",
    "to_pandas": "surgsam2.outputs.collected",
}
_SUBPACKAGES = ("data", "evaluation", "outputs", "video")

__all__ = ["SurgSAM2Error", "__version__", *_LAZY]  # noqa: PLE0604 - its keys are strings

if TYPE_CHECKING:
    from surgsam2.engine.remote_model import connect as connect
    from surgsam2.job.correction import correct_results as correct_results
    from surgsam2.job.review import review_output as review_output
    from surgsam2.job.run import segment_to_folder as segment_to_folder
    from surgsam2.model.build import load_model as load_model
    from surgsam2.model.pruning import EFP as EFP
    from surgsam2.outputs.collected import to_coco as to_coco
    from surgsam2.outputs.collected import to_pandas as to_pandas
    from surgsam2.prompts import PromptSet as PromptSet
    from surgsam2.prompts import load_prompts as load_prompts
    from surgsam2.results.frame_result import FrameResult as FrameResult
    from surgsam2.tracking.segment import segment_video as segment_video
    from surgsam2.tracking.tracker import Tracker as Tracker
    from surgsam2.video import open_video as open_video


def __getattr__(name: str) -> Any:
    try:
        if name in _LAZY:
            value = getattr(import_module(_LAZY[name]), name)
            globals()[name] = value
            return value
        if name in _SUBPACKAGES:
            return import_module(f"surgsam2.{name}")
    except (ImportError, OSError) as error:
        missing = missing_dependency(error, f"surgsam2.{name}")
        if missing is None:
            raise
        raise missing from error
    raise AttributeError(f"module 'surgsam2' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBPACKAGES})
