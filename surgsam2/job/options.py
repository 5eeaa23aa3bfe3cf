"""What the user may choose about one run."""

from __future__ import annotations

from dataclasses import dataclass

from surgsam2.errors import InputError
from surgsam2.outputs import DEFAULT_FORMATS, FORMATS
from surgsam2.tracking.plan import Direction


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What the user may choose about one run. `InputError` for values that cannot be used."""

    formats: tuple[str, ...] = DEFAULT_FORMATS
    direction: Direction = "forward"
    start: int | None = None
    stop: int | None = None
    allow_overlap: bool = False
    """Let masks of different objects share pixels. Label PNGs cannot: there the later
    object of the prompt file is drawn on top."""
    fill_holes: int = 0
    """See `MaskOptions.fill_holes`."""
    overwrite: bool = False
    """Write into a folder that holds other files too."""
    resume: bool = False
    """Go on with the run that was interrupted in this folder; begin one if there is none."""
    checkpoint_every: int = 100
    """Frames after which the state is saved, so that `resume` can go on from there."""
    keep_names: bool = False
    """Write the video's file name into the results. It may name a patient."""

    def __post_init__(self) -> None:
        if isinstance(self.formats, str):
            raise InputError(f"formats must be a tuple such as ('png',), got {self.formats!r}")
        unknown = [name for name in self.formats if name not in FORMATS]
        if unknown or not self.formats:
            raise InputError(
                f"formats must be some of {', '.join(FORMATS)}, got {','.join(self.formats)!r}"
            )
        if self.checkpoint_every < 1:
            raise InputError(f"checkpoint_every must be 1 or more, got {self.checkpoint_every}")
