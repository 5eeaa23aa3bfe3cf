"""The Python packages of `Resources/requirements.txt` that are missing.

No package is imported to find out. Reading the records of the installed packages is quick,
and a broken package cannot do harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

try:
    from packaging.requirements import Requirement
except ImportError:  # Slicer 5.10; pip brings its own
    from pip._vendor.packaging.requirements import Requirement  # type: ignore[assignment]

REQUIREMENTS = Path(__file__).parents[2] / "Resources" / "requirements.txt"

_SAME_MODULE = {
    "opencv-python-headless": ("opencv-python", "opencv-contrib-python-headless"),
}
"""Packages with the same modules. Installing two of them would break both."""

_MEGABYTES = {
    "torch": 800,
    "SimpleITK": 260,
    "opencv-python-headless": 150,
    "av": 100,
    "numpy": 45,
    "pillow": 25,
}
"""Approximate size on disk of the larger packages; torch is the build without CUDA."""


@dataclass(frozen=True)
class Package:
    """A requirement that is not met.

    Attributes:
        name: name of the package.
        requirement: the requirement as pip takes it, such as ``av>=15``.
        installed: the version that is too old; empty when none is installed.
    """

    name: str
    requirement: str
    installed: str

    @property
    def megabytes(self) -> int:
        """Approximate size on disk in units of 10^6 bytes."""
        return _MEGABYTES.get(self.name, 3)


def missingPackages(requirements: Path = REQUIREMENTS) -> list[Package]:
    """Return the requirements that this Python does not meet, in the order of the file."""
    lines = (line.strip() for line in requirements.read_text(encoding="utf-8").splitlines())
    needed = [Requirement(line) for line in lines if line and not line.startswith("#")]
    found = [(requirement, installedVersion(requirement.name)) for requirement in needed]
    return [
        Package(requirement.name, str(requirement), version)
        for requirement, version in found
        if not _meets(requirement, version)
    ]


def installedVersion(name: str) -> str:
    """Return the version of a package or of one with the same modules; empty when missing."""
    for candidate in (name, *_SAME_MODULE.get(name, ())):
        try:
            return metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
    return ""


def _meets(requirement: Any, version: str) -> bool:
    # nightly and vendor builds of torch count too; their versions are pre-releases
    return bool(version) and requirement.specifier.contains(version, prereleases=True)
