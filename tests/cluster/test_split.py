"""Videos that are divided among workers, by objects and by time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from surgsam2 import PromptSet
from surgsam2.cluster import driver
from surgsam2.cluster.driver import segment_list
from surgsam2.cluster.manifest import Manifest, Manifests, job_key, settings_key
from surgsam2.cluster.options import ListOptions
from surgsam2.cluster.tasks import Event, Joined, RunRecord, Task
from surgsam2.errors import InputError, OutputError, PromptError
from surgsam2.job.chunks import Chunk
from surgsam2.job.datalist import FailedJobsError
from surgsam2.job.fingerprint import ModelRecord
from surgsam2.job.options import JobOptions
from surgsam2.job.split import Split, plan_split
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import save_prompts
from surgsam2.prompts.prompt import VideoShape
from surgsam2.storage.places import Place
from tests.cluster.helpers import (
    CRASHES,
    FragileWorker,
    InThisProcess,
    files_of,
    jobs_of,
    local,
    serial,
    settings_for,
    write_list,
)
from tests.conftest import disc
from tests.reliability.conftest import HEIGHT, WIDTH

BOX = [10, 10, 40, 40]


def prompts_on(**frames: list[int]) -> PromptSet:
    """Objects a, b, … with ids 1, 2, … and boxes on their frames."""
    prompts = PromptSet()
    for number, (name, numbers) in enumerate(frames.items()):
        for frame in numbers:
            prompts.add(object_id=number + 1, frame=frame, box=BOX, name=name)
    return prompts


def on_frames_1_and_7() -> PromptSet:
    """Two objects whose masks overlap, both prompted on both frames."""
    prompts = PromptSet()
    for frame in (1, 7):
        for object_id, x in ((1, 30), (2, 44)):
            mask = disc(WIDTH, HEIGHT, x, 36, 12)
            prompts.add(object_id=object_id, frame=frame, mask=mask)
    return prompts


class TwoWorkers:
    """Two workers that are free and must get nothing to do."""

    def __init__(self) -> None:
        self.news: list[Event] = [Joined(name, "here", "cpu", ("track",), 1) for name in "ab"]

    def poll(self, seconds: float) -> list[Event]:
        news, self.news = self.news, []
        return news

    def assign(self, worker: str, task: Task) -> None:
        raise AssertionError("a task of a video whose folder cannot be written")

    def stop(self) -> None: ...

    def close(self) -> None: ...


def test_a_folder_that_cannot_be_written_fails_once_for_all_parts(
    demo_checkpoint: Path, small_config: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def full(output: Place, overwrite: bool) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(driver, "prepare_place", full)
    path, settings = write_list(tmp_path, ["a"]), settings_for(demo_checkpoint, small_config)
    with pytest.raises(FailedJobsError):
        segment_list(
            jobs_of(path, tmp_path / "out"), Place.of(tmp_path / "out"), settings,
            ListOptions(split="objects"), executor=TwoWorkers,
        )  # fmt: skip
    assert [record.message for record in caplog.records] == ["a: the disk is full"]


@pytest.mark.parametrize("direction", ["forward", "both"])
def test_by_objects_the_files_are_those_of_one_run(
    a_model: SurgSAM2Model, demo_checkpoint: Path, small_config: Path, tmp_path: Path,
    direction: str,
) -> None:  # fmt: skip
    path, out = write_list(tmp_path, ["a"]), Place.of(tmp_path / "out")
    tracking = {"direction": direction}
    settings = settings_for(demo_checkpoint, small_config, **tracking)
    options = ListOptions(chunk=4, split="objects")
    jobs = jobs_of(path, tmp_path / "out")
    segment_list(
        jobs, out, settings, options, executor=lambda: InThisProcess(settings, tmp_path / "scratch")
    )
    report = json.loads((tmp_path / "out/a/report.json").read_text())
    assert report["split"] == {"by": "objects", "parts": [[1], [2]], "approximate": False}
    expected = serial(a_model, path, tmp_path / "serial", **tracking)["a"]
    assert files_of(tmp_path / "out/a") == expected


def test_by_time_each_part_begins_at_prompts(
    a_model: SurgSAM2Model, demo_checkpoint: Path, small_config: Path, tmp_path: Path
) -> None:
    path, out = write_list(tmp_path, ["a"]), Place.of(tmp_path / "out")
    prompts = on_frames_1_and_7()
    prompts.add(object_id=3, frame=9, box=BOX)  # it is not there at the cut
    save_prompts(prompts, tmp_path / "in" / "prompts.json")
    settings = settings_for(demo_checkpoint, small_config)
    segment_list(
        jobs_of(path, tmp_path / "out"), out, settings,
        ListOptions(chunk=4, split="time", split_parts=3),
        executor=lambda: InThisProcess(settings, tmp_path / "scratch"),
    )  # fmt: skip
    serial(a_model, path, tmp_path / "serial")
    report = json.loads((tmp_path / "out/a/report.json").read_text())
    split, identity = report["split"], report["identity"]
    assert (split["by"], split["approximate"], split["first_frames"]) == ("time", True, [7])
    assert identity["split at"] == "7"
    (overlap,) = split["overlaps"]
    assert (overlap["frame"], overlap["frames"]) == (7, 5)
    assert set(overlap["iou"]) == {"1", "2", "3"}
    own, whole = (labels(tmp_path / folder / "a") for folder in ("out", "serial"))
    assert np.array_equal(own[:7], whole[:7])  # from there on the memories differ
    assert not np.array_equal(own[7:], whole[7:])
    # the earlier part went on as the whole run does, so the report says what the cut has changed
    ious = [iou(own[7:] == 1, whole[7:] == 1, frame) for frame in range(4)]
    assert overlap["iou"]["1"] == pytest.approx(np.mean(ious), abs=0.02)


def iou(a: np.ndarray, b: np.ndarray, frame: int) -> float:
    union = (a[frame] | b[frame]).sum()
    return float((a[frame] & b[frame]).sum() / union) if union else 1.0


def labels(folder: Path) -> np.ndarray:
    """The label images of an output folder, (T, H, W)."""
    paths = sorted((folder / "masks").iterdir())
    return np.stack([np.array(Image.open(path)) for path in paths])


def test_a_divided_video_goes_on_after_kills(
    a_model: SurgSAM2Model, demo_checkpoint: Path, small_config: Path, tmp_path: Path
) -> None:
    """The driver is stopped once; a crash in one part quarantines its video alone."""
    path, out = write_list(tmp_path, ["a", CRASHES]), Place.of(tmp_path / "out")
    settings = settings_for(demo_checkpoint, small_config)
    options = ListOptions(chunk=3, split="objects", retries=1)

    def attempt(should_stop: Any) -> None:
        segment_list(
            jobs_of(path, tmp_path / "out"), out, settings, options,
            executor=local(settings, 2, FragileWorker), should_stop=should_stop,
        )  # fmt: skip

    with pytest.raises(KeyboardInterrupt):
        attempt(lambda: bool(list((tmp_path / "out").rglob("state.pt"))))
    assert json.loads((tmp_path / "out/summary.json").read_text())["status"] == "interrupted"
    with pytest.raises(RuntimeError, match="1 of 2 videos failed"):
        attempt(lambda: False)
    rows = json.loads((tmp_path / "out/summary.json").read_text())["videos"]
    assert [row["status"] for row in rows] == ["complete", "quarantined"]
    assert files_of(tmp_path / "out/a") == serial(a_model, path, tmp_path / "serial")["a"]


def test_a_manifest_of_another_number_of_parts_is_one_line(
    demo_checkpoint: Path, small_config: Path, tmp_path: Path
) -> None:
    (job,) = jobs_of(write_list(tmp_path, ["a"]), tmp_path / "out")
    settings = settings_for(demo_checkpoint, small_config)
    job.output.make_folder()
    key = job_key(job, settings_key(settings), Split(objects=((1,), (2,))))
    for steps, part in (((11,), 1), ((11, 11), 2)):
        run = RunRecord({}, ModelRecord({}, None, ""), steps)
        chunk = Chunk("0", 0, 4, 1.0, {}, part)
        Manifests().write(job.output, Manifest(key, run=run, chunks=(chunk,)), first=True)
        with pytest.raises(InputError, match=r"manifest\.json: is damaged .*; delete it"):
            segment_list(
                [job], Place.of(tmp_path / "out"), settings, ListOptions(split="objects"),
                executor=lambda: pytest.fail("a worker was started"),
            )  # fmt: skip


@pytest.mark.parametrize(
    ("prompts", "options", "cuts"),
    [
        (prompts_on(a=[0, 50], b=[0, 50]), {}, (50,)),
        (prompts_on(a=[0, 50], b=[0, 60]), {}, None),
        (prompts_on(a=[0, 50], b=[70, 90]), {}, (50,)),
        (prompts_on(a=[0, 10, 20, 30, 40, 50]), {"parts": 3}, (20, 40)),
        (prompts_on(a=[0, 10, 20, 30, 40, 50]), {"parts": 30}, (10, 20, 30, 40, 50)),
        (prompts_on(a=[0, 10, 20, 30]), {"frames": 100}, (30,)),
        (prompts_on(a=[0, 10, 20, 30]), {"start": 10, "stop": 30}, (20,)),
        (prompts_on(a=[0, 10, 20, 30]), {"stride": 5, "frames": 40}, (4,)),
        (prompts_on(a=[0]), {}, None),
    ],
)
def test_where_a_video_is_cut(
    prompts: PromptSet, options: dict[str, int], cuts: tuple[int, ...] | None
) -> None:
    given = dict(options)
    if "frames" in given:
        prompts.video = VideoShape(96, 72, given.pop("frames"))
    parts = given.pop("parts", 2)
    split = plan_split("time", parts, prompts, JobOptions.from_mapping(given))
    assert (split and split.cuts) == cuts


def test_how_objects_are_divided() -> None:
    prompts = prompts_on(a=[0], b=[0], c=[9])
    for parts, expected in ((2, ((1, 3), (2,))), (5, ((1,), (2,), (3,)))):
        assert plan_split("objects", parts, prompts, JobOptions()) == Split(objects=expected)
    assert plan_split("objects", 2, prompts_on(a=[0]), JobOptions()) is None


def test_divisions_that_are_refused(
    demo_checkpoint: Path, small_config: Path, tmp_path: Path
) -> None:
    jobs = jobs_of(write_list(tmp_path, ["a"]), tmp_path / "out")
    settings = settings_for(demo_checkpoint, small_config, direction="both")
    with pytest.raises(InputError, match="split time needs direction forward, got both"):
        segment_list(jobs, Place.of(tmp_path / "out"), settings, ListOptions(split="time"))
    with pytest.raises(PromptError, match="a stride of 2 leaves out"):
        plan_split("time", 2, prompts_on(a=[0, 5]), JobOptions(stride=2))
    with pytest.raises(InputError, match="split must be one of objects, time"):
        ListOptions(split="frames")
