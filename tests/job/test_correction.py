"""Corrections of results: only the objects and frames concerned change."""

from __future__ import annotations

import json
import re
import signal
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from surgsam2 import PromptSet, cli, load_prompts, open_video, segment_video
from surgsam2.errors import InputError, OutputError, PromptError
from surgsam2.job import correct_results, segment_to_folder
from surgsam2.model.build import SurgSAM2Model
from surgsam2.outputs import OverlayWriter, video_file
from surgsam2.results import prompt_advice
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage import hashing
from surgsam2.tracking.single_frame import StillFrame
from tests.conftest import disc
from tests.job.test_partial import annotations_of, labels, rows_of
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

FRAME = 6
"""The frame that is corrected."""


def a_click(label: int = 1, object_id: int = 2, x: int = 40) -> PromptSet:
    return PromptSet(corrections=True).add(
        object_id=object_id, frame=FRAME, points=[[x, 36, label]]
    )


def correct(
    model: SurgSAM2Model, file: Path, corrections: PromptSet, folder: Path, **options: Any
) -> dict[str, Any]:
    with open_video(file) as video:
        return correct_results(model, video, corrections, folder, **options)


def test_only_the_object_and_the_frames_concerned_change(
    a_model: SurgSAM2Model, a_file: Path, a_folder: Path
) -> None:
    before, rows, annotations = contents(a_folder), rows_of(a_folder), annotations_of(a_folder)
    report = correct(a_model, a_file, a_click(), a_folder, stop=9)
    assert (report["status"], report["frame_range"]) == ("complete", [FRAME, 9])
    assert report["timings"]["frames"] == 3
    after = contents(a_folder)
    assert set(before) <= set(after)
    for index in set(range(1, FRAMES)) - {6, 7, 8}:
        name = f"masks/{index:05d}.png"
        assert after[name] == before[name]
        assert annotations_of(a_folder)[index] == annotations[index]
        assert rows_of(a_folder)[index] == rows[index]
    changed = {name for name in before if name.startswith("masks") and after[name] != before[name]}
    assert changed
    with_rows = {i: [row[1] for row in found] for i, found in rows_of(a_folder).items()}
    assert with_rows == {i: [row[1] for row in found] for i, found in rows.items()}


def test_the_masks_are_those_of_the_refined_mask_and_all_prompts(
    a_model: SurgSAM2Model, a_file: Path, a_folder: Path
) -> None:
    """A click refines the mask that is there; the object is tracked from it and its prompts."""
    first = labels(a_folder, FRAME) == 2
    with open_video(a_file) as video:
        refined = StillFrame(a_model, video[FRAME], FRAME).refine(2, first, [[40, 36, 1]]).masks[0]
    prompts = PromptSet().put(prompts_for_two().for_object(2))
    prompts.add(object_id=2, frame=FRAME, mask=refined)
    expected = {
        result.frame_index: result.mask(2)
        for result in segment_video(a_model, a_file, prompts, start=FRAME)
    }
    correct(a_model, a_file, a_click(), a_folder)
    for index in range(FRAME, FRAMES):
        # The object that is tracked again gets the pixels that it shares with the other one.
        assert np.array_equal(labels(a_folder, index) == 2, expected[index]), index
    kept = load_prompts(a_folder / "prompts.json")
    assert [prompt.frame for prompt in kept.for_object(2).prompts] == [5, FRAME]
    assert [prompt.frame for prompt in kept.for_object(1).prompts] == [1, 8]


@pytest.mark.parametrize(
    ("direction", "frames"), [("forward", (6, 12)), ("backward", (1, 7)), ("both", (1, 12))]
)
def test_directions(
    a_model: SurgSAM2Model, a_file: Path, a_folder: Path, direction: str, frames: tuple[int, int]
) -> None:
    report = correct(a_model, a_file, a_click(), a_folder, direction=direction)
    assert report["frame_range"] == list(frames)
    assert len(rows_of(a_folder)) == FRAMES - 1


def test_an_object_is_added(a_model: SurgSAM2Model, a_file: Path, a_folder: Path) -> None:
    rows = rows_of(a_folder)
    more = PromptSet().add(
        object_id=7, frame=8, mask=disc(WIDTH, HEIGHT, 20, 50, 8), name="clip", color="#102030"
    )
    correct(a_model, a_file, more, a_folder)
    assert {i: len(found) for i, found in rows_of(a_folder).items()} == {
        i: len(found) + (i >= 8) for i, found in rows.items()
    }
    coco = json.loads((a_folder / "annotations.coco.json").read_text())
    assert [item["name"] for item in coco["categories"]] == ["object 1", "object 2", "clip"]
    correct(a_model, a_file, a_click(object_id=7, x=22), a_folder)  # it can be corrected, too


def test_the_video_may_be_a_path(
    a_model: SurgSAM2Model, a_file: Path, a_folder: Path, tmp_path: Path
) -> None:
    report = correct_results(a_model, str(a_file), a_click(), a_folder, stop=FRAME + 1)
    assert report["status"] == "complete"
    report = segment_to_folder(a_model, a_file, prompts_for_two(), tmp_path / "by path")
    assert report["status"] == "complete"


def test_negative_points_alone(a_model: SurgSAM2Model, a_file: Path, a_folder: Path) -> None:
    ys, xs = np.nonzero(labels(a_folder, FRAME) == 1)
    report = correct(
        a_model, a_file, a_click(0, 1, int(xs[ys == 36].max())), a_folder, stop=FRAME + 1
    )
    assert report["status"] == "complete"
    with pytest.raises(PromptError, match=r"object 9, frame 6: .*no mask there to correct"):
        correct(a_model, a_file, a_click(0, 9), a_folder)
    with pytest.raises(PromptError, match="all points are negative"):
        PromptSet().add(object_id=1, frame=0, points=[[1, 1, 0]])


def test_negative_points_beside_the_mask_are_refused(
    a_model: SurgSAM2Model, a_file: Path, a_folder: Path
) -> None:
    """They take nothing away, and a network may answer them with hardly any mask."""
    before = contents(a_folder)
    ys, xs = np.nonzero(labels(a_folder, FRAME) != 1)
    beside = PromptSet(corrections=True).add(
        object_id=1, frame=FRAME, points=[[int(xs[0]), int(ys[0]), 0]]
    )
    with pytest.raises(PromptError, match=rf"frame 6: .* mask \(\[{xs[0]}, {ys[0]}\]\), so that"):
        correct(a_model, a_file, beside, a_folder)
    assert contents(a_folder) == before


def test_a_correction_that_leaves_little_or_lies_on_black_is_said(
    a_model: SurgSAM2Model,
    a_file: Path,
    a_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mask = labels(a_folder, FRAME) == 1
    ys, xs = np.nonzero(mask)
    a_quarter = np.zeros_like(mask)
    few = slice(0, len(ys) // 4)
    a_quarter[ys[few], xs[few]] = True
    answer = FrameResult(FRAME, (1,), a_quarter[None], np.ones(1), np.ones(1))
    monkeypatch.setattr(StillFrame, "refine", lambda *_: answer)
    monkeypatch.setattr(prompt_advice, "BLACK", 255)  # all of the picture counts as black
    click = a_click(1, 1, int(xs[ys == 36].max()))
    correct(a_model, a_file, click, a_folder, stop=FRAME + 1)
    assert "object 1, frame 6: these points leave 25% of the mask" in caplog.text
    assert re.search(r"object 1, frame 6: the point \[.*\] is on black", caplog.text)


def test_masks_changed_by_hand_are_never_lost(
    a_model: SurgSAM2Model, a_file: Path, a_folder: Path
) -> None:
    path = a_folder / "masks" / "00009.png"
    pixels = np.array(Image.open(path))
    pixels[:9] = 1
    Image.fromarray(pixels).save(path)
    before = contents(a_folder)
    with pytest.raises(OutputError, match=r"masks/00009\.png were changed since .*--stop$"):
        correct(a_model, a_file, a_click(), a_folder)
    assert contents(a_folder) == before
    correct(a_model, a_file, a_click(), a_folder, stop=9)
    assert path.read_bytes() == before["masks/00009.png"]


def test_refusals(a_model: SurgSAM2Model, a_file: Path, a_folder: Path, tmp_path: Path) -> None:
    before = contents(a_folder)
    with pytest.raises(InputError, match="holds no results to correct; run surgsam2 segment first"):
        correct(a_model, a_file, a_click(), tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    other = tmp_path / "other.mp4"
    other.write_bytes(a_file.read_bytes() + b"\0\0\0\x08free")
    with pytest.raises(
        OutputError, match=r"^cannot correct .* \(different video content\); give the video and"
    ):
        correct(a_model, other, a_click(), a_folder)
    late = PromptSet().add(object_id=1, frame=FRAMES, points=[[4, 4, 1]])
    with pytest.raises(PromptError, match=f"the video has {FRAMES} frames"):
        correct(a_model, a_file, late, a_folder)
    with (
        open_video(np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8)) as array,
        pytest.raises(InputError, match="nothing tells whether it is that of the results"),
    ):
        correct_results(a_model, array, a_click(), a_folder)
    assert contents(a_folder) == before


def test_killed_and_corrected_again(
    a_model: SurgSAM2Model, a_file: Path, a_folder: Path, tmp_path: Path
) -> None:
    box = PromptSet().add(object_id=2, frame=FRAME, box=[30, 20, 60, 50])
    work = lambda: correct(  # noqa: E731
        a_model, a_file, box, a_folder, progress=lambda done, *_: kill_at(2)(done)
    )
    assert in_child(work) == -signal.SIGKILL
    assert len(list((a_folder / "masks").iterdir())) == FRAMES - 1
    correct(a_model, a_file, box, a_folder)
    run(a_model, a_file, prompts_for_two(), tmp_path / "whole")
    correct(a_model, a_file, box, tmp_path / "whole")
    found, expected = contents(a_folder), contents(tmp_path / "whole")
    assert len(decoded(a_folder)) == FRAMES - 1
    del found["overlay.mp4"], expected["overlay.mp4"]  # one was updated, one written anew
    assert found == expected


def test_large_files_are_not_read_again(
    a_model: SurgSAM2Model, a_file: Path, a_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = json.loads((a_folder / "report.json").read_text())
    read: list[Path] = []
    sha256_of = hashing.sha256_of
    monkeypatch.setattr(
        hashing, "sha256_of", lambda path, *stop: read.append(path) or sha256_of(path, *stop)
    )
    report = correct(a_model, a_file, a_click(), a_folder, stop=FRAME + 1)
    assert read == []
    assert report["video"]["sha256"] == before["video"]["sha256"] == sha256_of(a_file)
    assert report["model"]["checkpoint_sha256"] == before["model"]["checkpoint_sha256"]
    (a_folder / "report.json").unlink()  # then they are computed
    report = correct(a_model, a_file, a_click(), a_folder, stop=FRAME + 1)
    assert a_file in read
    assert report["video"]["sha256"] == before["video"]["sha256"]


def test_the_command(
    a_file: Path,
    a_folder: Path,
    demo_checkpoint: Path,
    small_config: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "more.json"
    points = [{"frame": FRAME, "points": [[58, 36, 0]]}]
    file.write_text(json.dumps({"version": 1, "objects": [{"id": 2, "prompts": points}]}))
    words = ["correct", str(a_file), str(a_folder), "--prompts", str(file), "--device", "cpu"]
    words += ["--model", str(demo_checkpoint), "--config", str(small_config)]
    assert cli.main([*words, "--stop", "8"]) == 0
    assert "complete: 2 frames" in capsys.readouterr().out
    assert cli.main([*words, "--start", "10", "--stop", "4"]) == 2
    assert "frame range start 10, stop 4 is empty" in capsys.readouterr().err


def test_a_project_of_the_page_is_not_replaced(
    a_model: SurgSAM2Model, a_file: Path, tmp_path: Path
) -> None:
    from surgsam2.annotate.project import Project

    with Project(tmp_path / "out", WIDTH, HEIGHT, FRAMES) as project:
        project.add_object()
    before = contents(tmp_path / "out")
    with pytest.raises(OutputError, match=r"a project of surgsam2 annotate.*--overwrite"):
        run(a_model, a_file, prompts_for_two(), tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_the_overlay_is_encoded_anew_only_where_it_changes(
    a_model: SurgSAM2Model, a_file: Path, a_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    write = OverlayWriter._write

    def noting(self: OverlayWriter, frame: np.ndarray, result: FrameResult) -> None:
        drawn.append(result.frame_index)
        write(self, frame, result)

    monkeypatch.setattr(OverlayWriter, "_write", noting)
    monkeypatch.setattr(video_file, "_frame_rate", lambda fps: Fraction(2))  # groups of 4
    monkeypatch.setattr(video_file, "is_regular", lambda times, rate: True)
    report = run(a_model, a_file, prompts_for_two(), a_folder, overwrite=True)
    assert report["status"] == "complete"
    assert drawn == list(range(1, FRAMES))
    before = decoded(a_folder)
    drawn.clear()
    correct(a_model, a_file, a_click(), a_folder, stop=8)
    assert {6, 7} <= set(drawn) < set(range(1, FRAMES))
    after = decoded(a_folder)
    assert len(after) == len(before) == FRAMES - 1
    differs = {i + 1 for i, pair in enumerate(zip(before, after, strict=True)) if different(*pair)}
    assert differs
    assert differs <= set(drawn)
    drawn.clear()
    painted = np.zeros((HEIGHT, WIDTH), np.uint8)
    Image.fromarray(painted).save(a_folder / "masks" / "00010.png")
    correct(a_model, a_file, a_click(), a_folder, stop=8)
    assert {6, 7, 10} <= set(drawn), "the mask that was changed by hand is shown, too"
    (a_folder / "overlay.mp4").write_bytes(b"another program wrote this")
    drawn.clear()
    correct(a_model, a_file, a_click(), a_folder, stop=8)
    assert drawn == list(range(1, FRAMES))


def different(one: np.ndarray, other: np.ndarray) -> bool:
    return not np.array_equal(one, other)


def decoded(folder: Path) -> list[np.ndarray]:
    with av.open(folder / "overlay.mp4") as video:
        return [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
