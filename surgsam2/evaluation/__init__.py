"""How good is a segmentation, and what did it cost: metrics, protocols, reports.

`metrics` needs only numpy and OpenCV; nothing here imports torch before a model runs.
"""

from __future__ import annotations

from surgsam2.evaluation import metrics

__all__ = ["metrics"]
