"""What the commands do where packages are missing, and before they are imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.helpers import arguments, with_only
from tests.conftest import REPOSITORY


def test_without_torch(a_job: dict[str, str], tmp_path: Path) -> None:
    done = with_only(
        {"tqdm", "numpy", "cv2", "PIL", "av", "pycocotools", "SimpleITK"}, *arguments(a_job)
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "surgsam2: error: this command needs the package 'torch', which is not installed or is "
        "broken (No module named 'torch'); to see what to do, run: surgsam2 doctor\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--formats", "bad"), "formats must be some of"),
        (("--prompts", "gone.json"), "gone.json"),
        (("--datalist", "gone.json", "--formats", "bad"), "formats must be some of"),
        (("--datalist", "gone.json", "--chunk", "0"), "chunk must be"),
        (("--datalist", "gone.json"), "gone.json"),
    ],
)
def test_what_cannot_be_used_is_refused_before_torch_is_imported(
    a_job: dict[str, str], words: tuple[str, ...], message: str
) -> None:
    """The import takes seconds: here it would fail."""
    packages = {"tqdm", "numpy", "cv2", "PIL", "av", "pycocotools", "SimpleITK", "fsspec"}
    if "--datalist" in words:
        a_job = {"--output": a_job["--output"]}
    given = [text for item in a_job.items() for text in item if text != "video"]
    done = with_only(packages, "segment", *given, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "torch" not in done.stderr


def test_the_command_line_is_read_without_other_packages() -> None:
    """`surgsam2 doctor` has to say which package is missing, and `--help` has to be quick."""
    code = (
        "import sys\n"
        "from surgsam2.cli import build_parser\n"
        "build_parser().format_help()\n"
        "heavy = {'torch', 'numpy', 'PIL', 'cv2', 'av', 'fsspec', 'yaml', 'tqdm'}\n"
        "assert not heavy & sys.modules.keys(), sorted(heavy & sys.modules.keys())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_doctor_runs_where_nothing_is_installed() -> None:
    """A fresh 3D Slicer has little more than Python's own library."""
    done = with_only(set(), "doctor")
    assert done.returncode == 2, done.stderr
    assert "missing  torch " in done.stdout
    assert "14 to mend" in done.stdout
    assert done.stderr == ""
