"""Commands end cleanly on Ctrl-C, on SIGTERM, and when nobody reads their output."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest

import surgsam2
from surgsam2 import cli
from surgsam2.commands import doctor
from surgsam2.model import zoo
from surgsam2.outputs import INCOMPLETE
from surgsam2.storage.atomic_file import TEMPORARY_SUFFIX
from surgsam2.storage.temporary import TemporaryFolder
from tests.commands.helpers import Command, arguments, mask_names, report_of
from tests.conftest import REPOSITORY
from tests.video.helpers import write_video


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
def test_ctrl_c_keeps_what_is_done(a_job: dict[str, str], tmp_path: Path) -> None:
    video = write_video(tmp_path / "long.mp4", 2000, codec="mpeg4")
    folder = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "surgsam2", *arguments({**a_job, "video": str(video)})],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 240
        while not (folder / "masks" / "00004.png").exists():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert (folder / INCOMPLETE).exists()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert out.startswith("interrupted: ")
    assert (folder / INCOMPLETE).exists()
    report = report_of(folder)
    assert report["status"] == "interrupted"
    done = report["timings"]["frames"]
    assert 4 <= done < 2000
    assert f"{2000 - done} of 2000 frames were not segmented" in report["skipped"]
    # every file that was written is complete
    names = mask_names(folder)
    assert done <= len(names) <= done + 1
    assert names == [f"{i:05}.png" for i in range(len(names))]
    for name in names:
        assert cv2.imread(str(folder / "masks" / name), cv2.IMREAD_UNCHANGED) is not None
    with surgsam2.open_video(folder / "overlay.mp4") as overlay:
        assert done <= overlay.frame_count <= done + 1
    json.loads((folder / "annotations.coco.json").read_text())
    with (folder / "frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["frame"] for row in rows}) >= done
    assert not [p.name for p in folder.rglob("*") if p.name.endswith(TEMPORARY_SUFFIX)]


def test_ctrl_c_before_the_work_begins(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(zoo, "download", interrupted)
    assert run("models", "download", "sam2-hiera-tiny") == (130, "", "surgsam2: stopped\n")


@pytest.mark.skipif(os.name == "nt", reason="signals work otherwise there")
def test_sigterm_ends_any_command_as_ctrl_c_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It leaves its blocks, and so removes temporary files."""
    left: list[Path] = []

    def passed_over(number: int, frame: object) -> None:
        raise AssertionError("SIGTERM does not end the command")

    def run(args: object) -> int:
        with TemporaryFolder() as folder:
            left.append(folder)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        return 0

    monkeypatch.setattr(doctor, "run", run)
    before = signal.signal(signal.SIGTERM, passed_over)
    try:
        assert cli.main(["doctor"]) == 130
        assert signal.getsignal(signal.SIGTERM) is passed_over
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not left[0].exists()
    assert "stopped" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize(
    ("words", "closed"),
    [
        (["completion", "bash"], "stdout"),
        (["--help"], "stdout"),
        (["--version"], "stdout"),
        (["models", "list"], "stdout"),
        (["inspect", "missing.mp4"], "stderr"),
    ],
)
def test_a_reader_that_has_gone_ends_a_command_quietly(words: list[str], closed: str) -> None:
    """As in ``surgsam2 completion bash | head -1``."""
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, closed: writer}
    done = subprocess.run(
        [sys.executable, "-m", "surgsam2", *words], check=False, timeout=120, **streams
    )
    os.close(writer)
    assert (done.stdout or b"") + (done.stderr or b"") == b""
    # argparse itself passes over what it cannot write
    assert done.returncode == (0 if words[0].startswith("--") else cli.NOBODY_READS)
