"""The main job: a video and prompts in, a folder of results out.

`segment_to_folder` is used by the `surgsam2` command, the MONAI bundle and scripts alike, so
that all of them write the same bytes.
"""

from __future__ import annotations

from surgsam2.job.options import JobOptions
from surgsam2.job.run import Progress, segment_to_folder

__all__ = ["JobOptions", "Progress", "segment_to_folder"]
