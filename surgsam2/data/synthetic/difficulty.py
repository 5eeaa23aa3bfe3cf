"""Difficulty of a clip: one number, and the scene parameters that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

from surgsam2.errors import InputError

LEVELS = {"easy": 0.15, "normal": 0.5, "hard": 0.9}
"""Names for three points of the difficulty scale 0..1."""


@dataclass(frozen=True)
class Difficulty:
    """Scene parameters; lengths are in units of the image's short side, times in frames."""

    level: float
    """0 (still, nothing in the way) to 1."""
    neighbours: float = 0.0
    """Probability that a labelled organ changes its colour along its length and touches an
    unlabelled organ of nearly the same tissue, as lobes and loops do."""
    leaving: float | None = None
    """Probability that replaces `leaves`; None keeps it."""

    def __post_init__(self) -> None:
        for name, value in (
            ("difficulty", self.level),
            ("neighbours", self.neighbours),
            ("leaving", 0.0 if self.leaving is None else self.leaving),
        ):
            if not 0.0 <= value <= 1.0:
                raise InputError(f"{name} must be from 0 to 1, got {value}")

    @staticmethod
    def parse(value: str | float | Difficulty) -> Difficulty:
        """Return the difficulty of a name in `LEVELS` or of a number from 0 to 1."""
        if isinstance(value, Difficulty):
            return value
        if isinstance(value, str):
            if value not in LEVELS:
                raise InputError(
                    f"difficulty must be one of {', '.join(LEVELS)} or a number from 0 to 1, "
                    f"got {value!r}"
                )
            return Difficulty(LEVELS[value])
        return Difficulty(float(value))

    @property
    def motion(self) -> float:
        """Factor on the amplitude of every object's movement."""
        return 0.15 + 0.75 * self.level

    @property
    def pan(self) -> float:
        """Camera travel from its middle position."""
        return 0.03 + 0.18 * self.level

    @property
    def zoom(self) -> float:
        """Relative change of the camera's zoom, up and down."""
        return 0.03 + 0.24 * self.level

    @property
    def roll(self) -> float:
        """Camera rotation in radians."""
        return 0.03 + 0.22 * self.level

    @property
    def deformation(self) -> float:
        """Displacement inside soft objects, in units of their radius."""
        return 0.03 + 0.13 * self.level

    @property
    def shutter(self) -> float:
        """Part of the frame time during which motion blurs."""
        return 0.15 + 0.6 * self.level

    @property
    def lookalikes(self) -> float:
        """Expected number of unlabelled objects that resemble a labelled one."""
        return 0.3 + 2.4 * self.level

    @property
    def passers(self) -> float:
        """Expected number of unlabelled instruments that cross the scene."""
        return 0.1 + 1.3 * self.level

    @property
    def late(self) -> float:
        """Probability that a labelled instrument or thing enters after the first frame."""
        return 0.25 * self.level

    @property
    def leaves(self) -> float:
        """Probability that a labelled instrument or thing leaves and comes back."""
        return 0.05 + 0.4 * self.level if self.leaving is None else self.leaving

    @property
    def smoke(self) -> float:
        """Probability that the clip has smoke."""
        return 0.15 + 0.6 * self.level

    @property
    def blood(self) -> float:
        """Expected number of blood splashes."""
        return 0.3 + 2.2 * self.level
