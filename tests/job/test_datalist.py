"""Datalists are checked before anything starts, and the summary says how each video ended."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from surgsam2.errors import InputError, OutputError, VideoError
from surgsam2.job.datalist import SUMMARY, FailedJobsError, VideoJob, read_datalist, run_jobs


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
    assert first == VideoJob(tmp_path / "0.mp4", tmp_path / "p.json", Path("out/a"))
    assert second.output == Path("out/b/c")
    elsewhere = read_datalist(path, "out", "/data")
    assert elsewhere[1].video == Path("/data/1.mp4")


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


DONE = {"status": "complete", "timings": {"frames": 3}}


def jobs_in(folder: Path, count: int) -> list[VideoJob]:
    return read_datalist(written(folder, *map(str, range(count))), folder / "out")


def summary_in(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / SUMMARY).read_text())


def test_all_done(tmp_path: Path) -> None:
    seen = []

    def segment(job: VideoJob) -> dict[str, Any]:
        seen.append((job.video.name, summary_in(tmp_path)["status"]))
        return DONE

    summary = run_jobs(jobs_in(tmp_path, 2), tmp_path / "out", segment)
    assert seen == [("0.mp4", "running"), ("1.mp4", "running")]
    assert summary == summary_in(tmp_path)
    assert summary["status"] == "complete"
    assert [video["frames"] for video in summary["videos"]] == [3, 3]


@pytest.mark.parametrize("error", [VideoError("cannot be read"), ZeroDivisionError("a bug")])
def test_one_failure_does_not_stop_the_others(error: Exception, tmp_path: Path) -> None:
    def segment(job: VideoJob) -> dict[str, Any]:
        if job.video.name == "0.mp4":
            raise error
        return DONE

    with pytest.raises(FailedJobsError, match=r"1 of 2 videos failed \(0\); see .*summary\.json"):
        run_jobs(jobs_in(tmp_path, 2), tmp_path / "out", segment)
    first, second = summary_in(tmp_path)["videos"]
    assert first == {"output": "0", "status": "failed", "error": str(error)}
    assert second == {"output": "1", "status": "complete", "frames": 3}


def test_names_are_written_only_when_asked_for(tmp_path: Path) -> None:
    def segment(job: VideoJob) -> dict[str, Any]:
        mask = job.prompts.with_name("mask.png")
        raise VideoError(f"{job.video}: is {job.video.name} elsewhere? {job.prompts}, {mask}: none")

    (tmp_path / "Doe").mkdir()
    jobs = read_datalist(written(tmp_path / "Doe", "a"), tmp_path / "out")
    for keep in (False, True):
        with pytest.raises(FailedJobsError):
            run_jobs(jobs, tmp_path / "out", segment, keep_names=keep)
        text = (tmp_path / "out" / SUMMARY).read_text()
        assert all((name in text) == keep for name in ("0.mp4", "p.json", "Doe"))
        assert "mask.png" in text


def test_a_list_as_windows_writes_it(tmp_path: Path) -> None:
    path = written(tmp_path, "a")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_datalist(path, tmp_path / "out")) == 1


@pytest.mark.parametrize("raised", [True, False])
def test_an_interrupt_stops_the_list(raised: bool, tmp_path: Path) -> None:
    def segment(job: VideoJob) -> dict[str, Any]:
        if raised:
            raise KeyboardInterrupt
        return DONE | {"status": "interrupted"}

    with pytest.raises(KeyboardInterrupt):
        run_jobs(jobs_in(tmp_path, 2), tmp_path / "out", segment)
    summary = summary_in(tmp_path)
    assert summary["status"] == "interrupted"
    assert [video["status"] for video in summary["videos"]] == ["interrupted", "waiting"]


def test_a_summary_of_something_else_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out" / SUMMARY
    path.parent.mkdir()
    path.write_text('{"mine": 1}')
    with pytest.raises(OutputError, match="not of an earlier run"):
        run_jobs(jobs_in(tmp_path, 1), tmp_path / "out", lambda job: DONE)
    assert path.read_text() == '{"mine": 1}'
    run_jobs(jobs_in(tmp_path, 1), tmp_path / "out", lambda job: DONE, overwrite=True)
    run_jobs(jobs_in(tmp_path, 1), tmp_path / "out", lambda job: DONE)
