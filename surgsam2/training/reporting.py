"""What a training run tells: progress with the time left, TensorBoard events, warnings."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from ignite.engine import Engine, Events
from monai.handlers import TensorBoardStatsHandler

from surgsam2.data import Sequence as VideoSequence
from surgsam2.data.sequence import FileSequence
from surgsam2.training.config import SourceConfig

logger = logging.getLogger(__name__)

Opened = Iterable[tuple[SourceConfig, Sequence[VideoSequence]]]
"""Sources with their sequences."""


class ProgressLog:
    """A handler that logs the numbers of a step and the time left.

    Args:
        name: what the lines begin with.
        every: number of steps between two lines.
        steps: returns the number of steps of the whole run.
    """

    def __init__(self, name: str, every: int, steps: Callable[[], int]) -> None:
        self._name, self._every, self._steps = name, every, steps
        self._began, self._first = 0.0, 0

    def attach(self, engine: Engine) -> None:
        """Add the handler to a trainer."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self._every), self._log)

    def _start(self, engine: Engine) -> None:
        self._began, self._first = time.monotonic(), engine.state.iteration

    def _log(self, engine: Engine) -> None:
        assert isinstance(engine.state.output, list)
        (output,), step, steps = engine.state.output, engine.state.iteration, self._steps()
        seconds = (time.monotonic() - self._began) / (step - self._first) * (steps - step)
        numbers = " ".join(f"{k} {v:.4g}" for k, v in output.items())
        logger.info("%s %d/%d, %s left, %s", self._name, step, steps, duration(seconds), numbers)


def duration(seconds: float) -> str:
    """Return a time in words, such as `40 s`, `12 min` or `3 h 5 min`."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def attach_tensorboard(
    engine: Engine, folder: Path, epoch: Callable[[], int], *, every: int | None = None
) -> None:
    """Write TensorBoard events: the output of every `every`-th step, or metrics where it is None.

    Without TensorBoard a warning says so.
    """
    try:
        handler = TensorBoardStatsHandler(
            log_dir=str(folder / "tensorboard"),
            iteration_log=every if every is not None else False,
            epoch_log=every is None,
            output_transform=lambda output: output[0] if every is not None else None,
            global_epoch_transform=lambda _: epoch(),
        )
    except Exception as error:  # MONAI has a type of its own for a missing package.
        logger.warning("no TensorBoard events: %s", error)
        return
    handler.attach(engine)


def warn_of_shared_sequences(
    name: str, trained: Opened, validated: Opened, patient: str = ""
) -> None:
    """Warn of sequences, and of patients, that are used for training and for validation.

    Sequences are the same if they are the same folder, or if the files of their first frames are
    equal. No frame is decoded, and only files of equal size are read.

    Args:
        name: what the message begins with.
        trained: the sources that are trained on.
        validated: the sources of the validation.
        patient: a regular expression; what it matches in the name of a sequence is the patient.
            Empty text compares no patients.
    """
    if not any(found for _, found in validated):
        return
    ours = [(source, sequence) for source, found in trained for sequence in found]
    theirs = [(source, sequence) for source, found in validated for sequence in found]
    sizes = [{_size(sequence) for _, sequence in side} - {None} for side in (ours, theirs)]
    alike = sizes[0] & sizes[1]
    known = {key: sequence.name for s, sequence in ours for key in _keys(s, sequence, alike)}
    shared = []
    for source, sequence in theirs:
        keys = _keys(source, sequence, alike)
        same = next((known[key] for key in keys if key in known), None)
        if same is not None:
            alias = "" if same == sequence.name else f" ({same} in training)"
            shared.append(f"{sequence.name}{alias}")
    if shared:
        logger.warning(
            f"{name}: the validation uses sequences that are trained on, so its scores say little "
            f"about other videos: {', '.join(sorted(shared))}"
        )
    patients = [{_patient(patient, s.name) for _, s in side} - {""} for side in (ours, theirs)]
    both = sorted(patients[0] & patients[1])
    if both:
        logger.warning(
            f"{name}: patients are on both sides of the split, so the scores of the validation say "
            f"little about other patients: {', '.join(both)}"
        )


def _size(sequence: VideoSequence) -> int | None:
    """Return the size of the first frame's file in bytes; None without one that can be read."""
    if not isinstance(sequence, FileSequence):
        return None
    with contextlib.suppress(OSError):  # the run says so when it draws a clip of it
        return sequence.frame_paths[0].stat().st_size
    return None


def _keys(
    source: SourceConfig, sequence: VideoSequence, sizes: Collection[int | None]
) -> list[str]:
    """Return the place of a sequence, and the hash of its first file if it has one of the sizes."""
    keys = [f"{Path(source.path).resolve()}\n{sequence.name}"]
    if isinstance(sequence, FileSequence) and _size(sequence) in sizes:
        with contextlib.suppress(OSError):
            keys.append(hashlib.sha256(sequence.frame_paths[0].read_bytes()).hexdigest())
    return keys


def _patient(pattern: str, name: str) -> str:
    """Return what a pattern matches in a name; empty text for nothing, or for no pattern."""
    match = re.search(pattern, name) if pattern else None
    return match.group(0) if match else ""
