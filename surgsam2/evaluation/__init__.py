"""Evaluation of segmentations: accuracy, speed and memory of models, and of existing masks.

`runner` evaluates. `metrics` has the scores, `truth` reads datasets, `runs` produces
the record of each run, and `report` writes the results. Nothing in this package imports
torch before a model runs; `metrics` needs only numpy and OpenCV.
"""

from __future__ import annotations

from surgsam2.evaluation import metrics

__all__ = ["metrics"]
