"""The terminal output of a run over a list, and its end on Ctrl-C and SIGTERM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from surgsam2.cluster.driver import segment_list
from surgsam2.cluster.options import ListOptions
from surgsam2.cluster.summary import summary_name
from surgsam2.cluster.tasks import Settings
from surgsam2.job.console import stop_on_interrupt
from surgsam2.job.datalist import VideoJob
from surgsam2.storage.places import Place


def segment_list_with_progress(
    jobs: Sequence[VideoJob], output_dir: Place, settings: Settings, options: ListOptions
) -> dict[str, Any]:
    """Segment the videos of a list and print what was done.

    The arguments, the summary that is returned and the errors are those of `segment_list`. Ctrl-C
    and SIGTERM end the run after the present frames.
    """
    with stop_on_interrupt() as should_stop:
        summary = segment_list(
            jobs,
            output_dir,
            settings,
            options,
            should_stop=should_stop,
            tell=print,
        )
    place = output_dir / summary_name(*options.part)
    print(f"all {len(summary['videos'])} videos complete; see {place}")
    return summary
