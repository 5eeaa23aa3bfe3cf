"""Running pip with Slicer's functions, in Slicer 5.10 and in later releases."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from subprocess import CalledProcessError

import slicer

from SurgSAM2Lib.install.install_errors import InstallError, plainWords
from SurgSAM2Lib.install.requirements import Package, installedVersion

try:
    import slicer.packaging as slicer_packaging  # Slicer 5.12 and later
except ImportError:
    slicer_packaging = None

_KEEP = ("torch", "numpy", "SimpleITK", "scipy", "vtk")
"""Packages whose versions stay, because Slicer and other extensions use them."""

_BUILD_TOOLS = ("setuptools", "wheel")


def installPackages(packages: list[Package]) -> None:
    """Install packages from wheels; the packages of `_KEEP` keep their versions.

    Raises:
        InstallError: pip failed.
    """
    requirements = [package.requirement for package in packages]
    with tempfile.TemporaryDirectory() as folder, explained():  # noqa: TID251
        constraints = _constraints(Path(folder), {package.name for package in packages})
        if slicer_packaging is not None:
            slicer_packaging.pip_ensure(
                requirements,
                constraints=constraints,
                prompt_install=False,  # our own question was more complete
                requester="SurgSAM2",
            )
        else:
            slicer.util.pip_install(["-c", str(constraints), *requirements])


def installSam2(requirement: str) -> None:
    """Build and install sam2 with the installed torch, without sam2's torchvision.

    Raises:
        InstallError: pip failed.
    """
    tools = [name for name in _BUILD_TOOLS if not installedVersion(name)]
    with explained(), _without_cuda_build():
        if tools:
            slicer.util.pip_install(tools)
        slicer.util.pip_install(["--no-build-isolation", "--no-deps", requirement])


def _constraints(folder: Path, wanted: set[str]) -> Path:
    """Write a constraints file for pip with the versions that must stay."""
    versions = {name: installedVersion(name) for name in _KEEP if name not in wanted}
    lines = [f"{name}=={version}" for name, version in versions.items() if version]
    path = folder / "constraints.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@contextlib.contextmanager
def _without_cuda_build() -> Iterator[None]:
    """Leave out sam2's optional CUDA extension, which needs a CUDA compiler."""
    before = os.environ.get("SAM2_BUILD_CUDA")
    os.environ["SAM2_BUILD_CUDA"] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ["SAM2_BUILD_CUDA"]
        else:
            os.environ["SAM2_BUILD_CUDA"] = before


class _Tee(io.TextIOBase):
    """A stream that passes text on to the console and keeps it. Slicer prints pip's output."""

    def __init__(self) -> None:
        self.text = ""
        self._console = sys.stdout

    def write(self, text: str) -> int:
        """Keep a text and print it."""
        self.text += text
        self._console.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the console."""
        self._console.flush()


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Convert the error of a failed pip run into an `InstallError` with the reason."""
    tee = _Tee()
    try:
        with contextlib.redirect_stdout(tee):
            yield
    except InstallError:
        raise
    except (CalledProcessError, OSError, RuntimeError, ValueError) as error:
        raise InstallError(plainWords(f"{tee.text}\n{error}")) from error
