"""Which Python packages are missing here, by `Resources/requirements.txt`.

Nothing is imported to find out: the installed packages' own records are read, which is
quick, and a broken package can do no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

try:
    from packaging.requirements import Requirement
except ImportError:  # Slicer 5.10; pip brings its own
    from pip._vendor.packaging.requirements import Requirement

REQUIREMENTS = Path(__file__).parents[2] / "Resources" / "requirements.txt"

_SAME_MODULE = {
    "opencv-python-headless": ("opencv-python", "opencv-contrib-python-headless"),
}
"""Packages that bring the same modules. Two of them side by side would break each other."""

_MEGABYTES = {
    "torch": 800,
    "SimpleITK": 260,
    "opencv-python-headless": 150,
    "av": 100,
    "numpy": 45,
    "pillow": 25,
}
"""Space on disk, roughly, where it matters; torch is that of the build without CUDA."""


@dataclass(frozen=True)
class Package:
    """One line of the requirements that is not met."""

    name: str
    requirement: str
    """As pip takes it, such as ``av>=15``."""
    installed: str
    """The version that is too old; empty when there is none."""

    @property
    def megabytes(self) -> int:
        return _MEGABYTES.get(self.name, 3)


def missingPackages(requirements: Path = REQUIREMENTS) -> list[Package]:
    """Every requirement that this Python does not meet, in the order of the file."""
    lines = (line.strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    needed = [Requirement(line) for line in lines if line and not line.startswith("#")]
    found = [(requirement, installedVersion(requirement.name)) for requirement in needed]
    return [
        Package(requirement.name, str(requirement), version)
        for requirement, version in found
        if not _meets(requirement, version)
    ]


def installedVersion(name: str) -> str:
    """The version of a package, or of one that brings the same modules; empty when missing."""
    for candidate in (name, *_SAME_MODULE.get(name, ())):
        try:
            return metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
    return ""


def _meets(requirement: Any, version: str) -> bool:
    # torch's nightly and a vendor's builds count: their versions are pre-releases
    return bool(version) and requirement.specifier.contains(version, prereleases=True)
