"""Datalists are checked before anything starts."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from surgsam2.errors import InputError
from surgsam2.job.datalist import VideoJob, hide_job_names, read_datalist
from surgsam2.storage.places import Place


def written(folder: Path, *outputs: str) -> Path:
    path = folder / "list.json"
    entries = [
        {"video": f"{i}.mp4", "prompts": "p.json", "output": o} for i, o in enumerate(outputs)
    ]
    path.write_text(json.dumps(entries))
    return path


def test_paths_start_at_the_list_or_at_the_dataset(tmp_path: Path) -> None:
    path = written(tmp_path, "a", "b/c")
    first, second = read_datalist(path, "out")
    video, prompts = Place.of(tmp_path / "0.mp4"), Place.of(tmp_path / "p.json")
    assert first == VideoJob(video, prompts, Place("out/a"))
    assert second.output.path == Path("out/b/c")
    elsewhere = read_datalist(path, "out", "/data")
    assert elsewhere[1].video.path == Path("/data/1.mp4")


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (["a", "a"], "entries 0 and 1: outputs 'a' and 'a' would be the same folder"),
        (["a", "A/"], "entries 0 and 1"),
        (["x", "a", "./a"], "entries 1 and 2"),
        (["a", "a/b"], "one in the other"),
        (["../a"], "entry 0: output '../a' must be a name inside the output folder"),
        (["a/../../b"], "inside the output folder"),
        (["/tmp/a"], "inside the output folder"),
        (["file:///tmp/a"], "inside the output folder"),
        (["memory://elsewhere/a"], "inside the output folder"),
        (["."], "inside the output folder"),
        (["Summary.json"], "must not be called summary.json"),
        ([""], "entry 0: output must be text, got ''"),
        ([], "a list of one or more"),
    ],
)
def test_outputs_that_are_refused(outputs: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_datalist(written(tmp_path, *outputs), tmp_path / "out")


def test_a_long_list_is_checked_in_linear_time(tmp_path: Path) -> None:
    path = written(tmp_path, *(f"patient/{i}" for i in range(20_000)))
    began = time.process_time()
    assert len(read_datalist(path, tmp_path / "out")) == 20_000
    assert time.process_time() - began < 10  # pairs of entries would take half an hour


def test_a_folder_and_one_inside_it_are_found_among_others(tmp_path: Path) -> None:
    path = written(tmp_path, "a/b/c", "a b", "A/B", "a-b", "a/bc")
    with pytest.raises(InputError, match="entries 0 and 2: outputs 'a/b/c' and 'A/B'"):
        read_datalist(path, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "the datalist cannot be read"),
        ("{}", "a datalist is a list"),
        ("[3]", "entry 0: must have exactly video, prompts, output, got 3"),
        ('[{"video": "v", "prompts": "p"}]', "got video, prompts"),
        ('[{"video": "v", "prompts": 1, "output": "o"}]', "prompts must be text, got 1"),
        (
            '[{"video": "v", "prompts": "p", "output": "o", "fps": 1}]',
            "got video, prompts, output, fps",
        ),
    ],
)
def test_lists_that_are_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_datalist(path, tmp_path / "out")
    assert str(path) in str(caught.value)


def test_a_list_as_windows_writes_it(tmp_path: Path) -> None:
    path = written(tmp_path, "a")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_datalist(path, tmp_path / "out")) == 1


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    entries = [{"video": "v", "prompts": "p", "output": f"../{i}"} for i in range(12)]
    entries[1] = {"video": "gopher://v", "prompts": "p", "output": "a"}
    path = tmp_path / "list.json"
    path.write_text(json.dumps(entries))
    with pytest.raises(InputError, match=r"entry 0: .*gopher:// is not known.*; and 2 more$"):
        read_datalist(path, tmp_path / "out")


def test_outputs_that_collide_are_named_beside_other_problems(tmp_path: Path) -> None:
    path = written(tmp_path, "a", "../b", "a", "c")
    with pytest.raises(InputError, match=r"entry 1: output .*; entries 0 and 2: outputs 'a' and"):
        read_datalist(path, tmp_path / "out")


def test_places_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    entry = {"video": "a/v.mp4", "prompts": "memory://prompts/p.json", "output": "o"}
    path.write_text(json.dumps([entry]))
    (job,) = read_datalist(path, "memory://out/", "memory://in")
    assert job.video.text == "memory://in/a/v.mp4"
    assert job.prompts.text == "memory://prompts/p.json"
    assert job.output.text == "memory://out/o"
    assert not job.video.is_local


def test_names_are_hidden_in_messages(tmp_path: Path) -> None:
    (tmp_path / "Doe").mkdir()
    (job,) = read_datalist(written(tmp_path / "Doe", "a"), tmp_path / "out")
    mask = job.prompts.path.with_name("mask.png")
    said = hide_job_names(job, f"{job.video}: is {job.video.name}? {job.prompts}, {mask}: none")
    assert said == "the video: is the video? the prompt file, mask.png: none"
    elsewhere = VideoJob(Place("s3://b/Doe/v.mp4"), job.prompts, job.output)
    said = hide_job_names(elsewhere, "s3://b/Doe/v.mp4: no v.mp4")
    assert said == "the video: no the video"
