"""What a run shows in the terminal: its progress, its end on Ctrl-C or SIGTERM, and a summary.

The `surgsam2` command and the MONAI bundle both use this, so that they say the same.
"""

from __future__ import annotations

import logging
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from tqdm import tqdm

from surgsam2.engine.remote_model import RemoteModel
from surgsam2.job import JobOptions, correct_results, segment_to_folder
from surgsam2.job.review import review_output
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import PromptSet
from surgsam2.storage.text import one_line
from surgsam2.video import Video

logger = logging.getLogger(__name__)

LOG_SECONDS = 10.0
"""Seconds between two lines of progress where standard error is not a terminal."""


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Note the first Ctrl-C or SIGTERM instead of ending, so that the current frame is finished.

    A second one ends at once.

    Yields:
        A function that tells whether there was one.
    """
    came = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        restore()
        print("surgsam2: stopping after this frame; Ctrl-C again stops at once", file=sys.stderr)

    def restore() -> None:
        for each, handler in before.items():
            signal.signal(each, handler)

    before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: came
    finally:
        restore()


class ProgressDisplay:
    """Shows on standard error how far a run is. Use it in a ``with`` block.

    In a terminal it is a bar with frames per second and the time left. Elsewhere a line is
    logged at level ``info`` every `LOG_SECONDS`.

    Args:
        keep: leave the finished bar on the screen.
    """

    def __init__(self, keep: bool = True) -> None:
        self._bar = tqdm(unit="frame", file=sys.stderr, leave=keep, disable=not sys.stderr.isatty())
        self._label = ""
        self._began = self._logged = time.monotonic()
        self._first = 0

    def __enter__(self) -> ProgressDisplay:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def update(self, done: int, total: int, label: str = "") -> None:
        """Show how many frames are done.

        Args:
            done: number of frames that are done.
            total: number of frames in all.
            label: what the frames belong to. A new label begins a new count.
        """
        if label != self._label:
            self._label = label
            self._bar.reset(total)
            self._bar.set_description(label)
            self._began, self._first = time.monotonic(), 0
        if self._bar.disable:
            self._log(done, total)
        else:
            self._bar.total = total
            self._bar.update(done - self._bar.n)

    def update_labelled(self, label: str, done: int, total: int) -> None:
        """Call `update` with the arguments in the order of an evaluation."""
        self.update(done, total, label)

    def _log(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._first:
            self._first, self._began = done, now  # a resumed run does not begin at 0
        if now - self._logged < LOG_SECONDS or done <= self._first:
            return
        self._logged = now
        rate = (done - self._first) / (now - self._began)
        left = (total - done) / rate
        prefix = f"{self._label}: " if self._label else ""
        logger.info(
            "%s%d of %d frames, %.1f frames/s, %d:%02d:%02d left",
            *(prefix, done, total, rate),
            *(left // 3600, left % 3600 // 60, left % 60),
        )


def segment_with_progress(
    model: SurgSAM2Model | RemoteModel,
    video: Video,
    prompts: PromptSet,
    output: Path | str,
    options: JobOptions | None = None,
) -> dict[str, Any]:
    """Segment a video into a folder, show the progress, and print a summary.

    The arguments, the report that is returned and the errors are those of `segment_to_folder`.
    Ctrl-C or SIGTERM ends the run after the current frame, and a second one at once.
    """
    return _with_progress(
        lambda **watch: segment_to_folder(model, video, prompts, output, options, **watch), output
    )


def correct_with_progress(
    model: SurgSAM2Model | RemoteModel,
    video: Video,
    corrections: PromptSet,
    output: Path | str,
    **options: Any,
) -> dict[str, Any]:
    """Correct the results in a folder, show the progress, and print a summary.

    The arguments, the report that is returned and the errors are those of `correct_results`.
    Ctrl-C or SIGTERM ends the correction after the current frame, and a second one at once.
    """
    return _with_progress(
        lambda **watch: correct_results(model, video, corrections, output, **options, **watch),
        output,
    )


def _with_progress(run: Callable[..., dict[str, Any]], output: Path | str) -> dict[str, Any]:
    """Call a function that reports its progress and can be stopped, and print a summary."""
    with ProgressDisplay() as display, stop_on_interrupt() as should_stop:
        report = run(
            progress=lambda done, total, seconds: display.update(done, total),
            should_stop=should_stop,
        )
    print_summary(report, str(output))
    return report


def print_summary(report: dict[str, Any], output: str) -> None:
    """Print in a few lines what a run did.

    Args:
        report: the report of `surgsam2.job.segment_to_folder`.
        output: the output folder, as the user wrote it.
    """
    if "already_complete" in report:
        print(f"complete already, nothing to resume: {one_line(output)}")
        return
    timings, model = report["timings"], report["model"]
    print(
        f"{report['status']}: {timings['frames']} frames, "
        f"{timings['frames_per_second']:.1f} frames/s, model {model['config']} on {model['device']}"
    )
    for note in report["skipped"]:
        print(f"note: {one_line(note)}")
    objects = review_output(output).objects if (Path(output) / "frames.csv").is_file() else ()
    for summary in objects:
        print(one_line(summary))
    print(f"results: {one_line(output)}")
    if any(summary.doubtful for summary in objects):
        print(f"to look at the doubtful frames: surgsam2 review {one_line(shlex.quote(output))}")
