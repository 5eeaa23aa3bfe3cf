"""The `surgsam2` command: its results, its errors, and its end on Ctrl-C."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import surgsam2
from surgsam2 import cli
from surgsam2.commands import doctor
from surgsam2.model import zoo
from surgsam2.model.build import UNTRAINED
from surgsam2.outputs import INCOMPLETE
from surgsam2.storage.atomic_file import TEMPORARY_SUFFIX
from surgsam2.storage.temporary import TemporaryFolder
from tests.conftest import REPOSITORY
from tests.video.helpers import write_video

WIDTH, HEIGHT, FRAMES = 64, 48, 8
COMMANDS = ("demo", "segment", "evaluate", "train", "bundle", "models", "doctor")


@pytest.fixture(scope="session")
def a_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", FRAMES)


def prompt_file(path: Path, second_frame: int = 2) -> Path:
    """Write prompts of two objects: points on frame 0, a box on `second_frame`."""
    objects = [
        {"id": 1, "name": "liver", "prompts": [{"frame": 0, "points": [[30, 20, 1], [5, 5, 0]]}]},
        {"id": 7, "name": "hook", "prompts": [{"frame": second_frame, "box": [10, 8, 40, 30]}]},
    ]
    path.write_text(json.dumps({"version": 1, "objects": objects}))
    return path


@pytest.fixture
def a_prompt_file(tmp_path: Path) -> Path:
    return prompt_file(tmp_path / "prompts.json")


@pytest.fixture
def a_job(
    a_video: Path, a_prompt_file: Path, demo_checkpoint: Path, small_config: Path, tmp_path: Path
) -> dict[str, str]:
    """Return valid arguments of `segment` by name."""
    return {
        "video": str(a_video),
        "--prompts": str(a_prompt_file),
        "--output": str(tmp_path / "out"),
        "--model": str(demo_checkpoint),
        "--config": str(small_config),
        "--device": "cpu",
    }


def arguments(job: dict[str, str]) -> list[str]:
    options = [text for name, value in job.items() if name != "video" for text in (name, value)]
    return ["segment", job["video"], *options]


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs the command in this process.

    It returns the exit code, the standard output and the standard error.
    """

    def call(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = cli.main(list(words))
        return code, *capfd.readouterr()

    return call


@pytest.fixture
def refused(run: Command) -> Callable[..., str]:
    """Return a function that runs a command that fails and returns its one line of error."""

    def call(*words: str) -> str:
        code, out, err = run(*words)
        assert code == 2
        assert out == ""
        assert err.startswith("surgsam2: error: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1, err
        return err

    return call


def looks_complete(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir()) and not (folder / INCOMPLETE).exists()


def report_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text())


def mask_names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "masks").iterdir())


# results


def check_outputs(folder: Path, job: dict[str, str]) -> None:
    assert looks_complete(folder)
    assert mask_names(folder) == [f"{i:05}.png" for i in range(FRAMES)]
    label = np.array(Image.open(folder / "masks" / "00000.png"))
    assert label.shape == (HEIGHT, WIDTH)
    assert set(np.unique(label)) <= {0, 1, 7}
    with surgsam2.open_video(folder / "overlay.mp4") as overlay:
        assert (overlay.frame_count, overlay.width, overlay.height) == (FRAMES, WIDTH, HEIGHT)
    coco = json.loads((folder / "annotations.coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]]
    with (folder / "frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["frame"] for row in rows} == {str(i) for i in range(FRAMES)}

    report = report_of(folder)
    assert report["status"] == "complete"
    assert report["versions"]["surgsam2"] == surgsam2.__version__
    assert report["versions"]["torch"] == torch.__version__
    checkpoint = Path(job["--model"])
    assert report["model"] == {
        "config": job["--config"],
        "checkpoint": checkpoint.name,
        "checkpoint_sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "trained": True,
        "device": "cpu",
        "dtype": "float32",
        "pruning": {"form": "capped", "prune": 2},
    }
    video = report["video"]
    assert video["sha256"] == hashlib.sha256(Path(job["video"]).read_bytes()).hexdigest()
    assert (video["width"], video["height"], video["frames"]) == (WIDTH, HEIGHT, FRAMES)
    assert report["objects"] == [
        {"id": 1, "name": "liver", "prompted_frames": [0]},
        {"id": 7, "name": "hook", "prompted_frames": [2]},
    ]
    assert report["frame_range"] == [0, FRAMES]
    assert report["timings"]["frames"] == FRAMES
    assert report["skipped"] == ["object 7: no masks before frame 2, its first prompt"]


def test_segment(run: Command, a_job: dict[str, str], tmp_path: Path) -> None:
    code, out, err = run(*arguments(a_job))
    assert code == 0
    assert all("WARNING: object" in line for line in err.splitlines()), err
    lines = out.splitlines()
    assert lines[0].startswith(f"complete: {FRAMES} frames, ")
    assert lines[1] == "note: object 7: no masks before frame 2, its first prompt"
    assert re.match(r"object 1 \(liver\): mask on \d+ frames, empty on \d+, doubtful on", lines[2])
    assert lines[3].startswith("object 7 (hook): ")
    assert lines[4] == f"results: {tmp_path / 'out'}"
    assert lines[5:] in (
        [],
        [f"to look at the doubtful frames: surgsam2 review {tmp_path / 'out'}"],
    )
    check_outputs(tmp_path / "out", a_job)


def test_segment_as_a_process_of_its_own(a_job: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "surgsam2", *arguments(a_job)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all("WARNING: object" in line for line in done.stderr.splitlines()), done.stderr
    check_outputs(tmp_path / "out", a_job)


def test_segment_backward_in_a_range_with_one_format(
    run: Command, a_job: dict[str, str], tmp_path: Path
) -> None:
    more = ["--direction", "backward", "--stop", "2", "--formats", " csv ", "--pruning", "off"]
    code, _, _ = run(*arguments(a_job), *more)
    assert code == 0
    folder = tmp_path / "out"
    assert {p.name for p in folder.iterdir()} == {
        ".results", ".results.json", ".surgsam2", "frames.csv", "prompts.json", "report.json"
    }  # fmt: skip
    report = report_of(folder)
    assert report["frame_range"] == [0, 2]
    assert report["model"]["pruning"]["form"] == "off"
    assert report["options"]["formats"] == ["csv"]


def test_a_second_run_keeps_what_it_does_not_make(
    run: Command, a_job: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    assert run(*arguments(a_job))[0] == 0
    assert run(*arguments(a_job), "--stop", "3", "--formats", "png")[0] == 0
    assert len(mask_names(folder)) > 3
    assert (folder / "overlay.mp4").exists()
    assert run(*arguments(a_job), "--stop", "3", "--formats", "png", "--overwrite")[0] == 0
    assert mask_names(folder) == ["00000.png", "00001.png", "00002.png"]
    assert not (folder / "overlay.mp4").exists()


def test_an_untrained_model_is_named_as_such(
    a_job: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, run: Command,
) -> None:  # fmt: skip
    monkeypatch.setattr("surgsam2.model.build.BUILT_IN", tmp_path / "none.pt")
    words = arguments({**a_job, "--model": "demo"})
    assert run(*words, "--stop", "3", "--formats", "csv")[0] == 0
    told = [r.getMessage() for r in caplog.records if r.name.startswith("surgsam2")]
    assert told[0] == UNTRAINED
    assert all(message.startswith("object ") for message in told[1:])  # on what its masks fill
    report = report_of(tmp_path / "out")
    assert report["model"]["trained"] is False
    assert report["model"]["checkpoint"] is None


# errors


def _text(path: Path) -> str:
    path.write_text("this is not a video\n" * 100)
    return str(path)


def _empty(path: Path) -> str:
    path.touch()
    return str(path)


@pytest.mark.parametrize(
    ("option", "make", "words"),
    [
        ("video", lambda p: _text(p / "a.mp4"), "not a video"),
        ("video", lambda p: _empty(p / "a.mp4"), "the file is empty"),
        ("video", lambda p: str(p / "none.mp4"), "no such file or folder"),
        ("--prompts", lambda p: str(p / "none.json"), "none.json"),
        ("--prompts", lambda p: _empty(p / "a.json"), "a.json"),
        ("--prompts", lambda p: str(prompt_file(p / "late.json", 99)), "late.json: object 7"),
        ("--output", lambda p: _text(p / "a-file"), "a-file"),
        ("--output", lambda p: _text(p / "a-file") + "/below", "a-file"),
        ("--device", lambda p: "cuda:77", "device 'cuda:77' is not"),
        ("--device", lambda p: "toaster", "device 'toaster' is not a device name"),
        ("--dtype", lambda p: "int4", "dtype must be one of auto"),
        ("--model", lambda p: str(p / "none.pt"), "no such checkpoint file"),
        ("--model", lambda p: _text(p / "text.pt"), "not a PyTorch checkpoint"),
        ("--model", lambda p: _empty(p / "empty.pt"), "the file is empty"),
        ("--model", lambda p: "sam9", "neither a file nor a known model"),
        ("--config", lambda p: "sam2.1-hiera-tiny-512", "use the config demo"),
        ("--config", lambda p: "sam2.1-hiera-tiny", "did you mean"),
        ("--config", lambda p: _text(p / "text.yaml"), "text.yaml: the config cannot be read"),
        ("--formats", lambda p: "png,gif", "formats must be some of png"),
        ("--formats", lambda p: "", "formats must be some of png"),
        ("--start", lambda p: "5000", "start 5000"),
        ("--start", lambda p: "-1", "start -1"),
        ("--start", lambda p: "99", "start 99"),
        ("--stop", lambda p: "0", "stop 0"),
        ("--prune", lambda p: "6", "prune must be at most 5"),
        ("--prune", lambda p: "-1", "prune must be a whole number of 0 or more"),
        ("--min-region", lambda p: "-1", "min_region must be a number from 0 to 0.1"),
        ("--fps", lambda p: "0", "fps must be a positive number"),
    ],
)
def test_bad_input(
    option: str,
    make: Callable[[Path], str],
    words: str,
    refused: Callable[..., str],
    a_job: dict[str, str],
    tmp_path: Path,
) -> None:
    job = {**a_job, option: make(tmp_path)}
    assert words in refused(*arguments(job))
    assert not looks_complete(tmp_path / "out")
    assert not looks_complete(Path(job["--output"]))


def test_a_checkpoint_of_another_model(
    refused: Callable[..., str], a_job: dict[str, str], tmp_path: Path
) -> None:
    torch.save({"model": torch.nn.Linear(2, 2).state_dict()}, tmp_path / "other.pt")
    job = {**a_job, "--model": str(tmp_path / "other.pt")}
    assert "does not fit the config" in refused(*arguments(job))
    del job["--config"]
    assert "not a known SAM 2 network" in refused(*arguments(job))
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_files_is_left_alone(
    refused: Callable[..., str], run: Command, a_job: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    assert "not empty" in refused(*arguments(a_job))
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.txt"]
    assert run(*arguments(a_job), "--overwrite", "--formats", "csv")[0] == 0
    assert (tmp_path / "out" / "thesis.txt").read_text() == "precious"


def test_an_error_is_one_line_whatever_its_text(
    refused: Callable[..., str], a_job: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise surgsam2.SurgSAM2Error("first\n  second\r\nthird")

    monkeypatch.setattr("surgsam2.job.console.segment_to_folder", fail)
    assert refused(*arguments(a_job)) == "surgsam2: error: first second third\n"


def test_an_error_does_not_command_the_terminal(
    refused: Callable[..., str], a_job: dict[str, str], tmp_path: Path
) -> None:
    message = refused(*arguments({**a_job, "video": str(tmp_path / "a\x1b[2Jb.mp4")}))
    assert r"a\x1b[2Jb.mp4: no such file" in message


def test_refused_as_a_process_of_its_own(a_job: dict[str, str], tmp_path: Path) -> None:
    job = {**a_job, "video": _text(tmp_path / "a.mp4")}
    done = subprocess.run(
        [sys.executable, "-m", "surgsam2", *arguments(job)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("surgsam2: error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


ONLY_PACKAGES = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if path is None and top not in {*sys.stdlib_module_names, "surgsam2", *ALLOWED}:
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)
sys.meta_path.insert(0, Absent())
from surgsam2.cli import main
sys.exit(main(sys.argv[1:]))
"""


def with_only(packages: set[str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command where only Python and these packages can be imported."""
    return subprocess.run(
        [sys.executable, "-c", f"ALLOWED = {packages!r}\n{ONLY_PACKAGES}", *words],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


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


# Ctrl-C


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


# the other commands


def test_models_list(run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGSAM2_CACHE", str(tmp_path))
    (tmp_path / "sam2_hiera_tiny.pt").touch()
    code, out, err = run("models", "list")
    assert (code, err) == (0, "")
    head, *lines, blank, advice = out.splitlines()
    assert head.split() == ["NAME", "STATE", "SIZE", "SPEED", "USE", "SOURCE"]
    assert blank == ""
    assert advice.startswith("recommended here: ")
    rows = {line.split()[0]: line for line in lines}
    assert len(rows) == 10
    assert "  184 MB  -      recommended for real video" in rows["sam2.1-hiera-small"]
    assert " to try the software" in rows["demo"]
    assert "built in" in rows["demo"]
    assert " here " in rows["sam2-hiera-tiny"]
    assert " here " not in rows["sam2-hiera-small"]
    assert rows["sam2.1-hiera-large"].endswith("/sam2.1_hiera_large.pt")
    assert "Surgical-SAM-2" in rows["surgsam2-hiera-small-512"]


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


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion(run: Command, shell: str) -> None:
    pytest.importorskip("shtab")
    code, out, _ = run("completion", shell)
    assert code == 0
    assert "--prompts" in out
    assert "annotate" in out


def test_models_download_by_hand(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURGSAM2_CACHE", str(tmp_path))
    assert "has no direct download" in refused("models", "download", "surgsam2-hiera-small-512")
    assert "unknown model 'x'" in refused("models", "download", "x")


def test_models_verify(
    run: Command, refused: Callable[..., str], demo_checkpoint: Path, tmp_path: Path
) -> None:
    code, out, err = run("models", "verify", str(demo_checkpoint))
    assert (code, err) == (0, "")
    assert "fits demo, 4.4 M parameters" in out
    assert hashlib.sha256(demo_checkpoint.read_bytes()).hexdigest() in out
    assert "not a PyTorch checkpoint" in refused("models", "verify", _text(tmp_path / "a.pt"))
    assert "use the config demo" in refused(
        "models", "verify", str(demo_checkpoint), "--config", "sam2-hiera-tiny-512"
    )


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([*command, "--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith(" ".join(["usage: surgsam2", *command]))
    if not command:
        assert all(name in out for name in COMMANDS)


@pytest.mark.parametrize(
    "words", [[], ["nothing"], ["segment"], ["segment", "v"], ["models"], ["--log-level", "loud"]]
)
def test_wrong_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(words)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "error: " in line
    assert line.endswith(" --help")


@pytest.mark.parametrize(
    "words",
    [
        ["--log-level", "error", "models", "list"],
        ["models", "--log-level", "error", "list"],
        ["models", "list", "--log-level", "error"],
    ],
)
def test_the_log_level_may_stand_anywhere(words: list[str]) -> None:
    args = cli.build_parser().parse_args(words)
    assert (args.log_level, args.log_format) == ("error", "text")


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"surgsam2 {surgsam2.__version__}\n"


def test_doctor_runs_where_nothing_is_installed() -> None:
    """A fresh 3D Slicer has little more than Python's own library."""
    done = with_only(set(), "doctor")
    assert done.returncode == 2, done.stderr
    assert "missing  torch " in done.stdout
    assert "14 to mend" in done.stdout
    assert done.stderr == ""


def test_annotate_takes_the_memory_policy(run: Command, a_job: dict[str, str]) -> None:
    code, _, errors = run("annotate", a_job["video"], "--min-similarity", "2")
    assert code == 2
    assert "min_similarity must be a number from 0 to 1, got 2" in errors


def test_segment_asks_which_images_are_frames(
    run: Command, a_job: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    with surgsam2.open_video(a_job["video"]) as video:
        for index, frame in enumerate(video):
            for suffix in ("jpg", "png"):
                Image.fromarray(frame).save(folder / f"{index:05d}.{suffix}")
    words = arguments({**a_job, "video": str(folder)})
    code, _, errors = run(*words, "--stop", "2", "--formats", "csv")
    assert code == 2
    assert "several kinds of names" in errors
    assert "--pattern" in errors
    assert run(*words, "--stop", "2", "--formats", "csv", "--pattern", "*.jpg")[0] == 0


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize(
    ("arguments", "closed"),
    [
        (["completion", "bash"], "stdout"),
        (["--help"], "stdout"),
        (["--version"], "stdout"),
        (["models", "list"], "stdout"),
        (["inspect", "missing.mp4"], "stderr"),
    ],
)
def test_a_reader_that_has_gone_ends_a_command_quietly(arguments: list[str], closed: str) -> None:
    """As in ``surgsam2 completion bash | head -1``."""
    reader, writer = os.pipe()
    os.close(reader)
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, closed: writer}
    done = subprocess.run(
        [sys.executable, "-m", "surgsam2", *arguments], check=False, timeout=120, **streams
    )
    os.close(writer)
    assert (done.stdout or b"") + (done.stderr or b"") == b""
    # argparse itself passes over what it cannot write
    assert done.returncode == (0 if arguments[0].startswith("--") else cli.NOBODY_READS)


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
