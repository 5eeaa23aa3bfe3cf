"""Installation of missing Python packages with the functions of Slicer.

`offerInstallation` asks the user first; `install` does not. The PyTorch extension installs
torch, sam2 is then built with that torch, and pip installs the other packages. This module
never asks for torchvision. The engine runs in a process of its own, so that Slicer need not be
restarted.
"""

from __future__ import annotations

import importlib
import shutil
import site
from collections.abc import Callable
from pathlib import Path

import slicer

from SurgSAM2Lib.i18n import _
from SurgSAM2Lib.install.install_errors import InstallError
from SurgSAM2Lib.install.pip_runs import explained, installPackages, installSam2
from SurgSAM2Lib.install.requirements import Package, missingPackages

Progress = Callable[[str], None]
"""Called with a text that says what is being done."""


def describe(packages: list[Package]) -> str:
    """Return the question to the user: what is installed, where, and how large it is."""
    lines = [_("SurgSAM2 needs these Python packages, which Slicer does not have yet:"), ""]
    for package in packages:
        old = _(" (now {version})").format(version=package.installed) if package.installed else ""
        lines.append(f"  {package.requirement}{old}")
    size = size_text(packages)
    lines += ["", _("About {size} on the disk, downloaded from the internet.").format(size=size)]
    if any(package.name == "torch" for package in packages):
        lines.append(_("With an NVIDIA graphics card, torch takes up to 6 GB instead of 0.8 GB."))
    lines.append(_("They go into Slicer's own Python, which other extensions share."))
    return "\n".join(lines)


def size_text(packages: list[Package]) -> str:
    """Return how much packages take on the disk, such as "1.2 GB"."""
    megabytes = sum(package.megabytes for package in packages)
    if megabytes >= 1000:
        return _("{size} GB").format(size=round(megabytes / 1000, 1))
    return _("{size} MB").format(size=megabytes)


def offerInstallation(progress: Progress = print) -> bool:
    """Ask the user, install the missing packages, and ask again after a failure.

    It must run on the main thread, because Slicer's pip functions show dialogs.

    In the testing mode of Slicer it installs nothing, because Slicer answers dialogs itself then.

    Args:
        progress: called with a text for each step.

    Returns:
        Whether nothing is missing at the end.
    """
    packages = missingPackages()
    if not packages:
        return True
    if slicer.app.testingEnabled():
        return False
    title = _("SurgSAM2 - install Python packages")
    question = describe(packages) + "\n\n" + _("Install them now?")
    if not slicer.util.confirmOkCancelDisplay(question, title):
        return False
    while True:
        try:
            install(missingPackages(), progress)
        except InstallError as error:
            if not slicer.util.confirmRetryCloseDisplay(str(error), title):
                return False
        else:
            return True


def install(packages: list[Package], progress: Progress = print) -> None:
    """Install packages without asking; packages that are there already stay as they are.

    Raises:
        InstallError: the installation failed; the message says why and what to do. What was
            installed stays, so that a second attempt continues from there.
    """
    _check_disk(packages)
    by_name = {package.name: package for package in packages}
    torch, sam2 = by_name.pop("torch", None), by_name.pop("sam2", None)
    rest = list(by_name.values())
    if torch is not None:
        progress(_("Installing torch: the largest part, this can take many minutes"))
        _install_torch(torch)
    if rest:
        progress(_("Installing {count} packages").format(count=len(rest)))
        installPackages(rest)
    if sam2 is not None:
        progress(_("Building sam2"))
        installSam2(sam2.requirement)
    importlib.invalidate_caches()
    left = [package.requirement for package in missingPackages()]
    if left:
        raise InstallError(
            _(
                "Still missing after the installation: {names}. Restart Slicer and try again."
            ).format(names=", ".join(left))
        )
    progress(_("Everything is installed"))


def _install_torch(torch: Package) -> None:
    """Install torch with the PyTorch extension, which chooses the build for the graphics card."""
    try:
        import PyTorchUtils
    except ImportError as error:
        raise InstallError(
            _(
                "torch is installed by the extension PyTorch, which this Slicer does not have. "
                "Open View > Extensions Manager, install PyTorch, restart Slicer, and try "
                "again. Or choose another Python environment that has surgsam2."
            )
        ) from error
    needed = torch.requirement.removeprefix("torch")
    logic = PyTorchUtils.PyTorchUtilsLogic()
    with explained():
        done = logic.installTorch(askConfirmation=False, torchVersionRequirement=needed)
    if done is None:
        raise InstallError(_("torch was not installed: the extension PyTorch was stopped."))


def _check_disk(packages: list[Package]) -> None:
    """Raise `InstallError` when the disk is too full.

    The sizes are those of the smallest builds, such as torch without CUDA. When only a larger
    build does not fit, pip fails and says so.
    """
    folder = next((Path(p) for p in site.getsitepackages() if Path(p).is_dir()), Path.home())
    free = shutil.disk_usage(folder).free / 1e6
    needed = 1.5 * sum(package.megabytes for package in packages)  # downloads need space, too
    if free < needed:
        raise InstallError(
            _(
                "The disk is too full: {needed} MB are needed in {folder}, {free} MB are free."
            ).format(needed=round(needed), folder=folder, free=round(free))
        )
