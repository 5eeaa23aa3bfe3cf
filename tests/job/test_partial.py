"""Runs into a folder that holds results: nothing is lost without a question."""

from __future__ import annotations

import csv
import json
import signal
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from surgsam2.errors import OutputError
from surgsam2.model.build import SurgSAM2Model
from tests.reliability.conftest import (
    FRAMES,
    HEIGHT,
    WIDTH,
    contents,
    in_child,
    kill_at,
    prompts_for_two,
    run,
)


def rows_of(folder: Path) -> dict[int, list[list[str]]]:
    """Return the rows of the table by frame."""
    rows: dict[int, list[list[str]]] = {}
    with (folder / "frames.csv").open(newline="") as file:
        for row in list(csv.reader(file))[1:]:
            rows.setdefault(int(row[0]), []).append(row)
    return rows


def annotations_of(folder: Path) -> dict[int, list[dict]]:
    """Return the annotations of the COCO file by frame, without their numbers."""
    found: dict[int, list[dict]] = {}
    data = json.loads((folder / "annotations.coco.json").read_text())
    for item in data["annotations"]:
        item.pop("id")
        found.setdefault(item["image_id"] - 1, []).append(item)
    assert [image["frame_index"] for image in data["images"]] == sorted(
        image["frame_index"] for image in data["images"]
    )
    return found


def labels(folder: Path, index: int) -> np.ndarray:
    return np.array(Image.open(folder / "masks" / f"{index:05d}.png"))


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_a_range_is_replaced_and_the_rest_is_kept(
    a_model: SurgSAM2Model, a_file: Path, a_folder: Path, direction: str
) -> None:
    before, rows, annotations = contents(a_folder), rows_of(a_folder), annotations_of(a_folder)
    report = run(a_model, a_file, prompts_for_two(), a_folder, direction=direction, start=6, stop=8)
    assert (report["status"], report["timings"]["frames"]) == ("complete", 2)
    after = contents(a_folder)
    assert after.keys() == before.keys()
    for name in before:
        if name.startswith("masks") and name not in ("masks/00006.png", "masks/00007.png"):
            assert after[name] == before[name], name
    untouched = set(range(1, FRAMES)) - {6, 7}
    assert all(rows_of(a_folder)[i] == rows[i] for i in untouched)
    assert rows_of(a_folder).keys() == rows.keys()
    assert all(annotations_of(a_folder)[i] == annotations[i] for i in untouched)
    with av.open(a_folder / "overlay.mp4") as overlay:
        assert sum(1 for _ in overlay.decode(video=0)) == FRAMES - 1
    assert not (a_folder / "INCOMPLETE").exists()


def test_frames_are_added(a_model: SurgSAM2Model, a_file: Path, tmp_path: Path) -> None:
    """Pieces give the table of one run over all frames of them."""
    out = tmp_path / "out"
    run(a_model, a_file, prompts_for_two(), out, start=1, stop=4)
    run(a_model, a_file, prompts_for_two(), out, start=9, stop=12)
    assert sorted(rows_of(out)) == [1, 2, 3, 9, 10, 11]
    assert len(list((out / "masks").iterdir())) == 6


def test_formats_are_kept_and_added(a_model: SurgSAM2Model, a_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(a_model, a_file, prompts_for_two(), out, formats=("csv",))
    run(a_model, a_file, prompts_for_two(), out, formats=("png",), start=4, stop=5)
    assert len(rows_of(out)) == len(list((out / "masks").iterdir())) == FRAMES - 1


def test_another_run_is_refused_with_the_choices(
    a_model: SurgSAM2Model, a_file: Path, a_folder: Path, tmp_path: Path
) -> None:
    before = contents(a_folder)
    other_file = tmp_path / "other.mp4"
    other_file.write_bytes(a_file.read_bytes() + b"\0\0\0\x08free")
    more = prompts_for_two().add(object_id=3, frame=2, points=[[40, 40, 1]])
    for file, prompts, options, text in (
        (other_file, prompts_for_two(), {}, "different video content"),
        (a_file, more, {}, "objects 1 object 1, 2 object 2 there"),
        (a_file, prompts_for_two(), {"min_region": 0}, "min region 0.0005 there, 0.0 here"),
    ):
        for stop in (None, 5):
            with pytest.raises(
                OutputError, match=rf"another run \({text}.*choose another folder.*--overwrite"
            ):
                run(a_model, file, prompts, a_folder, stop=stop, **options)
            assert contents(a_folder) == before
    assert run(a_model, other_file, more, a_folder, overwrite=True)["status"] == "complete"


def test_masks_changed_by_hand_are_never_lost(
    a_model: SurgSAM2Model, a_file: Path, a_folder: Path
) -> None:
    path = a_folder / "masks" / "00005.png"
    image = Image.open(path)
    pixels = np.array(image)
    pixels[:] = 0
    pixels[10:20, 10:30] = 2
    painted = Image.fromarray(pixels)
    painted.putpalette(image.getpalette())
    painted.save(path)
    before = contents(a_folder)
    for options in ({}, {"start": 4, "stop": 7}):
        with pytest.raises(
            OutputError, match=r"masks/00005\.png were changed since .*--start.*--overwrite"
        ):
            run(a_model, a_file, prompts_for_two(), a_folder, **options)
        assert contents(a_folder) == before
    run(a_model, a_file, prompts_for_two(), a_folder, start=8, stop=9)
    assert path.read_bytes() == before["masks/00005.png"]
    areas = [row[3] for row in rows_of(a_folder)[5]]
    assert areas == ["0", "200"], "the other files show the painted mask too"
    run(a_model, a_file, prompts_for_two(), a_folder, overwrite=True)
    assert not np.array_equal(labels(a_folder, 5), pixels)


def test_killed_while_a_range_is_replaced(
    a_model: SurgSAM2Model, a_file: Path, a_folder: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    run(a_model, a_file, prompts_for_two(), whole)
    run(a_model, a_file, prompts_for_two(), whole, start=4, stop=9)
    for step in (1, 3, 5):
        work = lambda step=step: run(  # noqa: E731
            a_model, a_file, prompts_for_two(), a_folder, start=4, stop=9, resume=step > 1,
            on_step=kill_at(step),
        )  # fmt: skip
        assert in_child(work) == -signal.SIGKILL
        assert len(list((a_folder / "masks").iterdir())) == FRAMES - 1
    report = run(a_model, a_file, prompts_for_two(), a_folder, start=4, stop=9, resume=True)
    assert report["timings"]["frames"] == 5
    assert contents(a_folder) == contents(whole)


def test_a_stopped_run_keeps_what_it_does_not_segment(
    a_model: SurgSAM2Model, a_file: Path, a_folder: Path
) -> None:
    """Interrupted, then another range: all frames are there."""

    def stop(steps: int) -> None:
        if steps == 2:
            raise KeyboardInterrupt

    report = run(a_model, a_file, prompts_for_two(), a_folder, start=4, stop=9, on_step=stop)
    assert report["status"] == "interrupted"
    assert len(rows_of(a_folder)) == FRAMES - 1
    run(a_model, a_file, prompts_for_two(), a_folder, start=9, stop=10)
    assert len(rows_of(a_folder)) == len(list((a_folder / "masks").iterdir())) == FRAMES - 1


def test_a_record_of_another_size_is_refused(
    a_model: SurgSAM2Model, a_file: Path, a_folder: Path
) -> None:
    record = a_folder / ".results"
    record.write_bytes(record.read_bytes()[:-40])
    before = contents(a_folder)
    with pytest.raises(OutputError, match="damaged"):
        run(a_model, a_file, prompts_for_two(), a_folder, start=4, stop=9)
    assert contents(a_folder) == before
    assert labels(a_folder, 3).shape[::-1] == (WIDTH, HEIGHT)
