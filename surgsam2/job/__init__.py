"""The main job: a video and prompts in, a folder of results out.

`segment_to_folder` is used by the `surgsam2` command, the MONAI bundle and scripts alike, so
that all of them write the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from surgsam2.job.options import JobOptions

if TYPE_CHECKING:
    from surgsam2.job.correction import correct_results
    from surgsam2.job.run import Progress, segment_to_folder

__all__ = ["JobOptions", "Progress", "correct_results", "segment_to_folder"]


def __getattr__(name: str) -> Any:
    """Import the run, and torch with it, when it is first used: options need neither."""
    if name in ("Progress", "segment_to_folder"):
        from surgsam2.job import run

        return getattr(run, name)
    if name == "correct_results":
        from surgsam2.job.correction import correct_results

        return correct_results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
