"""A stand-in for pip that records what it was asked to install."""

from __future__ import annotations

import os
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer


@dataclass(frozen=True)
class PipCall:
    """A call of `pip_install` or `pip_ensure`, with the environment variables at that time."""

    function: str
    requirements: Any
    options: dict[str, Any]
    environment: dict[str, str]


@dataclass
class Pip:
    """Records all calls and those that succeeded. The next calls raise `failures` in turn."""

    calls: list[PipCall] = field(default_factory=list)
    succeeded: list[PipCall] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    def reset(self) -> None:
        for entries in (self.calls, self.succeeded, self.failures):
            entries.clear()

    def install(self, function: str, requirements: Any, options: dict[str, Any]) -> None:
        self.calls.append(PipCall(function, requirements, options, dict(os.environ)))
        if self.failures:
            raise self.failures.pop(0)
        self.succeeded.append(self.calls[-1])


pip = Pip()


def pip_install(requirements: Any, **options: Any) -> None:
    """Record a call of `slicer.util.pip_install`. Slicer 5.10 knows only the first argument."""
    pip.install("pip_install", requirements, options)


def _pip_install_5_10(requirements: Any) -> None:
    pip.install("pip_install", requirements, {})


def _pip_check(requirement: Any) -> bool:
    return any(str(requirement) in call.requirements for call in pip.succeeded)


def _pip_ensure(
    requirements: Any,
    constraints: str | Path | None = None,
    skip_packages: list[str] | None = None,
    prompt_install: bool = True,
    prompt_restart: bool = True,
    requester: str | None = None,
    skip_in_testing: bool = True,
    show_progress: bool = True,
) -> None:
    """Ask and install what is missing; in testing mode install nothing."""
    listed = [requirements] if isinstance(requirements, str) else list(requirements)
    missing = [requirement for requirement in listed if not _pip_check(requirement)]
    if not missing or (skip_in_testing and slicer.app.testingEnabled()):
        return
    title = f"{requester} - Install Python Packages"
    if prompt_install and not slicer.util.confirmOkCancelDisplay(
        "Python packages need to be installed.", title, detailedText="\n".join(map(str, missing))
    ):
        raise RuntimeError("User declined package installation")
    options = {"constraints": constraints, "prompt_install": prompt_install}
    pip.install("pip_ensure", missing, options)


def use_packaging(present: bool) -> None:
    """Add `slicer.packaging`, as in Slicer 5.12 and later, or remove it, as in 5.10."""
    slicer.app.minorVersion = 12 if present else 10
    slicer.util.pip_install = pip_install if present else _pip_install_5_10
    if present:
        module = types.ModuleType("slicer.packaging", __doc__)
        module.pip_check = _pip_check  # type: ignore[attr-defined]
        module.pip_ensure = _pip_ensure  # type: ignore[attr-defined]
        module.pip_install = pip_install  # type: ignore[attr-defined]
        sys.modules["slicer.packaging"] = slicer.packaging = module
    else:
        sys.modules.pop("slicer.packaging", None)
        vars(slicer).pop("packaging", None)


@dataclass
class TorchUtils:
    """The module of Slicer's PyTorch extension; tests say whether it is installed."""

    installed: bool = False
    calls: list[dict[str, Any]] = field(default_factory=list)
    failure: Exception | None = None

    def use(self, present: bool, installed: bool = False) -> None:
        self.installed, self.failure = installed, None
        self.calls.clear()
        sys.modules.pop("PyTorchUtils", None)
        if present:
            module = types.ModuleType("PyTorchUtils", __doc__)
            module.PyTorchUtilsLogic = _logic_class(self)  # type: ignore[attr-defined]
            sys.modules["PyTorchUtils"] = module


def _logic_class(state: TorchUtils) -> type:
    class PyTorchUtilsLogic:
        @staticmethod
        def torchInstalled() -> bool:
            return state.installed

        def installTorch(
            self,
            askConfirmation: bool = False,
            forceComputationBackend: str | None = None,
            torchVersionRequirement: str | None = None,
            torchvisionVersionRequirement: str | None = None,
        ) -> Any:
            """Return the torch module, or None when the user refused."""
            state.calls.append(
                {"askConfirmation": askConfirmation, "torch": torchVersionRequirement}
            )
            if state.failure is not None:
                raise state.failure
            if askConfirmation and not slicer.util.confirmOkCancelDisplay("PyTorch is installed."):
                return None
            state.installed = True
            return types.ModuleType("torch")

    return PyTorchUtilsLogic


torch_utils = TorchUtils()
