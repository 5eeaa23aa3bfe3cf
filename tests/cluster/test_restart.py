"""Long lists and lists in parts."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from surgsam2 import cli
from surgsam2.cluster.driver import segment_list
from surgsam2.cluster.manifest import Manifest, Manifests, job_key, settings_key
from surgsam2.cluster.options import ListOptions
from surgsam2.cluster.tasks import RunRecord
from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.job.chunks import Chunk
from surgsam2.job.fingerprint import ModelRecord
from surgsam2.storage.output_folder import MANIFEST
from surgsam2.storage.places import Place
from tests.cluster.helpers import jobs_of, settings_for, write_list


def none() -> Any:
    raise AssertionError("a worker is started")


def finished(folder: Path, names: list[str], settings: Any) -> Path:
    """A list of one video under many names, all of them complete."""
    path = write_list(folder, ["one"])
    entry = json.loads(path.read_text())[0]
    path.write_text(json.dumps([entry | {"output": name} for name in names]))
    jobs = jobs_of(path, folder / "out")
    key = job_key(jobs[0], settings_key(settings))
    first = jobs[0].output
    first.make_folder()
    Manifests().write(first, Manifest(key, complete=True, frames=11), first=True)
    for job in jobs[1:]:
        job.output.make_folder()
        os.link(first.path / MANIFEST, job.output.path / MANIFEST)
    return path


def test_a_finished_list_of_2000_videos_is_taken_up_in_seconds(
    demo_checkpoint: Path, small_config: Path, tmp_path: Path
) -> None:
    settings = settings_for(demo_checkpoint, small_config)
    path = finished(tmp_path, [f"ward{i % 7}/{i}" for i in range(2000)], settings)
    began = time.process_time()
    jobs = jobs_of(path, tmp_path / "out")
    summary = segment_list(jobs, Place.of(tmp_path / "out"), settings, executor=none)
    assert time.process_time() - began < 5
    assert {row["status"] for row in summary["videos"]} == {"complete"}
    assert len(summary["videos"]) == 2000


def begun(folder: Path, settings: Any) -> Path:
    """A list of one video, whose output folder says that a first chunk of it is complete."""
    path = write_list(folder, ["one"])
    (job,) = jobs_of(path, folder / "out")
    chunk = Chunk("0123456789abcdef", 0, 3, 1.0, {})
    run = RunRecord({}, ModelRecord({}, None, "", None, ()), (11,))
    job.output.make_folder()
    (job.output / ".surgsam2").write_bytes(b"")
    manifest = Manifest(job_key(job, settings_key(settings)), run=run, chunks=(chunk,))
    Manifests().write(job.output, manifest, first=True)
    return path


@pytest.mark.parametrize("link", ["a/.resume", "a/.resume/chunks", "logs"])
def test_a_folder_with_links_is_refused(
    link: str, demo_checkpoint: Path, small_config: Path, tmp_path: Path
) -> None:
    settings = settings_for(demo_checkpoint, small_config)
    path, out = begun(tmp_path, settings), tmp_path / "out"
    mine = tmp_path / "mine"
    (mine / "letters").mkdir(parents=True)
    place = out / link.replace("a/", "one/")
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(mine if place.name != ".resume" else tmp_path)
    if place.name == ".resume":
        mine.rename(tmp_path / "chunks")
        mine = tmp_path / "chunks"
    with pytest.raises(SurgSAM2Error, match="is a link to another place; remove it"):
        segment_list(jobs_of(path, out), Place.of(out), settings, executor=none)
    assert [found.name for found in mine.iterdir()] == ["letters"]


@pytest.mark.parametrize(
    "change", [{"folder": "../../../mine"}, {"folder": "."}, {"files": {"../a": [1, "b"]}}]
)
def test_chunks_that_lead_out_of_the_folder_are_no_chunks(
    change: dict[str, Any], demo_checkpoint: Path, small_config: Path, tmp_path: Path
) -> None:
    settings = settings_for(demo_checkpoint, small_config)
    (job,) = jobs_of(begun(tmp_path, settings), tmp_path / "out")
    assert Manifests().read(job.output) is not None
    content = json.loads((job.output.path / MANIFEST).read_text())
    content["chunks"][0] |= change
    (job.output.path / MANIFEST).write_text(json.dumps(content))
    assert Manifests().read(job.output) is None


def test_parts_are_joined(
    demo_checkpoint: Path, small_config: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    settings = settings_for(demo_checkpoint, small_config)
    path = finished(tmp_path, [f"{i}" for i in range(5)], settings)
    out = Place.of(tmp_path / "out")
    assert cli.main(["merge", str(tmp_path / "out")]) == 2
    assert "no summary-I-of-N.json" in capsys.readouterr().err
    seen: list[str] = []
    for part in ("1/2", "2/2"):
        options = ListOptions(shard=part)
        summary = segment_list(
            jobs_of(path, tmp_path / "out"), out, settings, options, executor=none
        )
        seen += [row["output"] for row in summary["videos"]]
        if part == "1/2":
            assert cli.main(["merge", str(tmp_path / "out")]) == 2
            assert "part 2 of 2 is missing" in capsys.readouterr().err
    assert sorted(seen) == [f"{i}" for i in range(5)]
    assert cli.main(["merge", str(tmp_path / "out")]) == 0
    assert "complete: 5 of 5 videos complete" in capsys.readouterr().out
    joined = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert sorted(row["output"] for row in joined["videos"]) == sorted(seen)


def test_another_list_of_classes_is_another_run(
    demo_checkpoint: Path, small_config: Path, tmp_path: Path
) -> None:
    classes = tmp_path / "classes.csv"
    settings = settings_for(demo_checkpoint, small_config, classes=str(classes))
    keys = []
    for name in ("liver", "spleen", "liver"):
        classes.write_text(f"id,name\n1,{name}\n")
        keys.append(settings_key(settings))
    assert keys[0] == keys[2] != keys[1]


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/2/3"])
def test_parts_that_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="shard must be I/N with I from 1 to N"):
        ListOptions(shard=text)


def test_folders_that_hold_something_else_are_named_together(
    demo_checkpoint: Path, small_config: Path, tmp_path: Path
) -> None:
    path = write_list(tmp_path, ["a", "b", "c"])
    for name in ("a", "c"):
        (tmp_path / "out" / name).mkdir(parents=True)
        (tmp_path / "out" / name / "mine.txt").write_text("mine")
    settings = settings_for(demo_checkpoint, small_config)
    with pytest.raises(InputError, match=r"out/a: it holds files of others.*out/c: it holds"):
        segment_list(
            jobs_of(path, tmp_path / "out"), Place.of(tmp_path / "out"), settings, executor=none
        )
    assert not (tmp_path / "out" / "summary.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["v.mp4", "--datalist", "l.json"], "leave out VIDEO"),
        (["v.mp4"], "a video and --prompts FILE are needed, or --datalist FILE"),
        (["--datalist", "l.json", "--prompt-frame", "2"], "leave out VIDEO, --prompts, --prompt-f"),
        (
            ["v.mp4", "--prompts", "p.json", "--shard", "1/2", "--chunk", "9"],
            "--chunk, --shard: only a list of videos has such options",
        ),
        (["v.mp4", "--prompts", "p.json", "--output", "gopher://a"], "gopher:// is not known"),
        (["v.mp4", "--prompts", "p.json", "--output", "memory://a"], "give --datalist"),
        (["--datalist", "none.json"], "none.json: the datalist cannot be read"),
        (["--datalist", "none.json", "--workers", "0"], "workers must be a whole number of 1"),
    ],
)
def test_commands_that_are_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = [] if "--output" in arguments else ["--output", str(tmp_path / "out")]
    assert cli.main(["segment", *arguments, *output]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()
