"""Finding missing packages without importing them, and installing them with Slicer."""

from __future__ import annotations

import importlib
import re
import sys
from collections import namedtuple
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any

import pytest

from surgsam2.engine import Died, Failed, Ready
from tests.slicer_host.host import SlicerHost

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def lib(slicer_app: SlicerHost) -> Any:
    """Returns a function that imports a module of the extension anew."""

    def fresh(name: str) -> Any:
        for known in ("pip_runs", "installer"):
            sys.modules.pop(f"SurgSAM2Lib.install.{known}", None)
        return importlib.import_module(f"SurgSAM2Lib.{name}")

    return fresh


@pytest.fixture
def missing(lib: Any, slicer_app: SlicerHost, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`missing(installer, names...)`: those are missing until they have been installed.

    With `repaired=False` they stay missing whatever pip says.
    """

    def say(installer: Any, *names: str, repaired: bool = True) -> None:
        package = importlib.import_module("SurgSAM2Lib.install.requirements").Package
        lines = {"torch": "torch>=2.5.1", "av": "av>=15", "sam2": "sam2==1.1.0"}
        packages = [package(name, lines[name], "") for name in names]

        def ask() -> list[Any]:
            done = [line for call in slicer_app.pip.succeeded for line in call.requirements]
            done += ["torch>=2.5.1"] if slicer_app.torch_utils.installed else []
            return [p for p in packages if not (repaired and p.requirement in done)]

        monkeypatch.setattr(installer, "missingPackages", ask)

    return say


def test_the_list_is_pyproject_s(lib: Any) -> None:
    text = lib("install.requirements").REQUIREMENTS.read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    constraint = re.search(r"^sam2==\S+", (REPOSITORY / "constraints.txt").read_text(), re.M)
    assert constraint is not None
    assert lines == [*project["dependencies"], constraint.group()]
    assert "torchvision" not in "".join(lines)


def test_missing_packages_are_found_without_importing(lib: Any, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_text("# comment\n\nnumpy>=1.0\nsurgsam2-none>=3\nnumpy>=999\n")
    before = set(sys.modules)
    found = lib("install.requirements").missingPackages(path)
    assert [(p.requirement, bool(p.installed)) for p in found] == [
        ("surgsam2-none>=3", False),
        ("numpy>=999", True),
    ]
    assert "torch" not in set(sys.modules) - before


def test_another_opencv_is_as_good(lib: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = lib("install.requirements")

    def version(name: str) -> str:
        if name == "opencv-python":
            return "4.12.0"
        raise requirements.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(requirements.metadata, "version", version)
    missing = {package.name for package in requirements.missingPackages()}
    assert "opencv-python-headless" not in missing
    assert "av" in missing


def test_nothing_to_do_asks_nothing(lib: Any, slicer_app: SlicerHost, missing: Any) -> None:
    installer = lib("install.installer")
    missing(installer)
    assert installer.offerInstallation()
    assert not slicer_app.dialogs.messages


def test_the_question_says_what_and_how_much(lib: Any) -> None:
    installer = lib("install.installer")
    package = importlib.import_module("SurgSAM2Lib.install.requirements").Package
    text = installer.describe(
        [package("torch", "torch>=2.5.1", "2.1"), package("av", "av>=15", "")]
    )
    assert "torch>=2.5.1 (now 2.1)" in text
    assert "About 900 MB" in text
    assert "NVIDIA" in text
    assert "NVIDIA" not in installer.describe([package("av", "av>=15", "")])


def test_a_no_installs_nothing(lib: Any, slicer_app: SlicerHost, missing: Any) -> None:
    installer = lib("install.installer")
    missing(installer, "torch", "av", "sam2")
    slicer_app.torch_utils.use(present=True)
    slicer_app.dialogs.accept = False
    assert not installer.offerInstallation()
    assert not slicer_app.pip.calls
    assert not slicer_app.torch_utils.calls


def test_testing_mode_installs_nothing(lib: Any, slicer_app: SlicerHost, missing: Any) -> None:
    """In testing mode Slicer answers every question with yes."""
    installer = lib("install.installer")
    missing(installer, "av")
    slicer_app.set_testing(True)
    assert not installer.offerInstallation()
    assert not slicer_app.pip.calls


@pytest.mark.parametrize("packaging", [True, False], ids=["5.12", "5.10"])
def test_everything_in_order(
    lib: Any, slicer_app: SlicerHost, missing: Any, packaging: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.delenv("SAM2_BUILD_CUDA", raising=False)
    slicer_app.use_packaging(packaging)
    slicer_app.torch_utils.use(present=True)
    installer = lib("install.installer")
    missing(installer, "torch", "av", "sam2")
    said: list[str] = []
    assert installer.offerInstallation(said.append)
    assert len(slicer_app.dialogs.messages) == 1
    assert [text.split()[0] for text in said] == [
        "Installing",
        "Installing",
        "Building",
        "Everything",
    ]
    assert slicer_app.torch_utils.calls == [{"askConfirmation": False, "torch": ">=2.5.1"}]
    first, last = slicer_app.pip.calls
    assert "av>=15" in first.requirements
    assert first.function == ("pip_ensure" if packaging else "pip_install")
    assert "SAM2_BUILD_CUDA" not in first.environment
    assert last.requirements == ["--no-build-isolation", "--no-deps", "sam2==1.1.0"]
    assert last.environment["SAM2_BUILD_CUDA"] == "0"
    assert "torchvision" not in str(slicer_app.pip.calls[0].requirements)


def test_pip_may_not_replace_what_others_use(
    lib: Any, slicer_app: SlicerHost, missing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A constraints file keeps the versions of numpy and torch."""
    import numpy

    installer = lib("install.installer")
    missing(installer, "av")
    seen: list[str] = []
    original = slicer_app.pip.install

    def install(function: str, requirements: Any, options: dict[str, Any]) -> None:
        seen.append(Path(options["constraints"]).read_text())
        original(function, requirements, options)

    monkeypatch.setattr(slicer_app.pip, "install", install)
    assert installer.offerInstallation(lambda text: None)
    assert f"numpy=={numpy.__version__}" in seen[0].splitlines()
    assert "torch==" in seen[0]
    assert "av" not in seen[0]


def test_a_failure_is_explained_and_tried_again(
    lib: Any, slicer_app: SlicerHost, missing: Any
) -> None:
    slicer_app.pip.failures = [OSError(28, "No space left on device")]
    installer = lib("install.installer")
    missing(installer, "av")
    slicer_app.dialogs.answers = [True, True]  # install, retry
    assert installer.offerInstallation(lambda text: None)
    assert "disk is full" in slicer_app.dialogs.texts[1]
    assert len(slicer_app.pip.calls) == 2

    slicer_app.pip.reset()
    slicer_app.pip.failures = [CalledProcessError(1, "pip")]
    missing(installer, "av")
    slicer_app.dialogs.answers = [True, False]  # install, close
    assert not installer.offerInstallation(lambda text: None)


def test_without_the_pytorch_extension(lib: Any, slicer_app: SlicerHost, missing: Any) -> None:
    slicer_app.torch_utils.use(present=False)
    installer = lib("install.installer")
    missing(installer, "torch", "av")
    slicer_app.dialogs.answers = [True, False]
    assert not installer.offerInstallation(lambda text: None)
    assert "Extensions Manager" in slicer_app.dialogs.texts[1]
    assert not slicer_app.pip.calls


def test_torch_may_be_refused_or_fail(lib: Any, slicer_app: SlicerHost, missing: Any) -> None:
    installer = lib("install.installer")
    missing(installer, "torch")
    slicer_app.torch_utils.use(present=True)
    slicer_app.torch_utils.failure = RuntimeError("getaddrinfo failed")
    packages = installer.missingPackages()
    with pytest.raises(installer.InstallError, match="no connection"):
        installer.install(packages, lambda text: None)


def test_success_is_checked(lib: Any, missing: Any) -> None:
    installer = lib("install.installer")
    missing(installer, "av", repaired=False)
    with pytest.raises(installer.InstallError, match=r"Still missing.*av>=15"):
        installer.install(installer.missingPackages(), lambda text: None)


def test_a_full_disk_is_seen_before(
    lib: Any, slicer_app: SlicerHost, missing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installer = lib("install.installer")
    missing(installer, "av")
    usage = namedtuple("usage", "total used free")(10, 9, 1)
    monkeypatch.setattr(installer.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(installer.InstallError, match="too full"):
        installer.install(installer.missingPackages(), lambda text: None)
    assert not slicer_app.pip.calls


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("ERROR: Could not install: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: [Errno 13] Permission denied: '/opt/Slicer'", "cannot be written"),
        ("WARNING: Retrying: getaddrinfo failed\nERROR: No matching distribution", "internet"),
        ("ProxyError('Cannot connect to proxy.')", "proxy"),
        ("SSLError(SSLCertVerificationError: CERTIFICATE_VERIFY_FAILED)", "certificate"),
        ("ERROR: ResolutionImpossible", "Another extension"),
        ("ERROR: Failed building wheel for iopath", "could not be built"),
        ("ERROR: No matching distribution found for av>=15", "not offered"),
        ("something\nERROR: odd thing.\n", "stopped: odd thing."),
        ("", "pip gave no reason"),
    ],
)
def test_plain_words(lib: Any, log: str, words: str) -> None:
    assert words in lib("install.install_errors").plainWords(log)


def test_old_slicers_are_told(lib: Any) -> None:
    problem = lib("install.python_version").pythonProblem
    assert "Slicer 5.10 or later" in problem((3, 9, 10))
    assert problem((3, 12, 10)) == ""
    assert problem() == ""


class _Client:
    """An engine client that gives one event."""

    def __init__(self, event: Any) -> None:
        self.event, self.closed = event, False

    def start(self) -> None:
        pass

    def poll(self, timeout: float) -> list[Any]:
        return [self.event]

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("event", "usable", "words"),
    [
        (Ready("3.12.1", "2.9.0", "0.1.0", 12), True, "torch 2.9.0"),
        (Failed(None, "Python package av is missing", "install"), False, "av is missing"),
        (Died(3, "line\nlast line"), False, "last line"),
    ],
)
def test_another_python(lib: Any, event: Any, usable: bool, words: str) -> None:
    client = _Client(event)
    answer = lib("install.other_python").checkPython(
        sys.executable, makeClient=lambda python: client
    )
    assert answer.usable is usable
    assert words in answer.text
    assert client.closed


def test_another_python_that_is_not_there(lib: Any, tmp_path: Path) -> None:
    answer = lib("install.other_python").checkPython(tmp_path / "python")
    assert not answer.usable
    assert "no file" in answer.text


@pytest.mark.nightly  # test_another_python checks the same with a stand-in for the process
def test_this_very_python_works(lib: Any) -> None:
    """The check works with a real engine process."""
    answer = lib("install.other_python").checkPython(sys.executable)
    assert answer.usable, answer.text
