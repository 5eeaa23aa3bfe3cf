"""Messages without the names of files."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from surgsam2.errors import OutputError
from surgsam2.job import JobOptions, segment_to_folder
from surgsam2.job.names import hide_names
from surgsam2.model.build import SurgSAM2Model
from surgsam2.outputs import LabelPngWriter
from surgsam2.prompts import PromptSet
from surgsam2.video import open_video
from tests.video.helpers import write_video


@pytest.mark.parametrize(
    "text",
    [
        "{folder}/Doe John.mp4: cannot be read",
        "Doe John.mp4: cannot be read",
        "{folder}/Doe  John.mp4: cannot be read",
        "[Errno 2] No such file: '{folder}/Doe John.mp4'",
    ],
)
def test_a_file_is_replaced_by_words(text: str, tmp_path: Path) -> None:
    shown = hide_names(text.format(folder=tmp_path), {tmp_path / "Doe John.mp4": "the video"})
    assert "the video" in shown
    assert "Doe" not in shown
    assert str(tmp_path) not in shown


def test_relative_paths_are_found_in_absolute_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = {Path("Doe/prompts.json"): "the prompt file"}
    text = f"{tmp_path}/Doe/prompts.json: the mask {tmp_path}/Doe/mask.png and Doe/mask.png"
    assert hide_names(text, words) == "the prompt file: the mask mask.png and mask.png"


def test_files_in_a_folder_are_replaced_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "Doe"
    folder.mkdir()
    text = f"{folder}/Doe 1.png: damaged; see {folder}."
    assert hide_names(text, {folder: "the video"}) == "the video: damaged; see the video."


def test_a_path_that_no_file_can_have(tmp_path: Path) -> None:
    assert hide_names("a\0b: embedded null byte", {Path("a\0b"): "x"}) == "x: embedded null byte"


def test_other_text_is_left_alone() -> None:
    text = "a clip of 3 frames / 2"
    assert hide_names(text, {Path(): "the video", Path("lip"): "the video"}) == text


def test_the_frames_of_a_long_video_cost_little(tmp_path: Path) -> None:
    words = {tmp_path / "Doe" / f"{i}.png": "a frame" for i in range(50_000)}
    began = time.process_time()
    assert hide_names(f"{tmp_path}/Doe/777.png: damaged", words) == "a frame: damaged"
    assert time.process_time() - began < 5


def test_a_report_after_a_failure_names_no_file(
    a_model: SurgSAM2Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "Doe"
    place.mkdir()
    write_video(place / "Doe John.mp4", 3)
    prompts = PromptSet().add(object_id=1, frame=0, points=[[30, 20, 1]])
    out = place / "out"

    def fail(self: LabelPngWriter, frame: object, result: object) -> None:
        raise OutputError(f"cannot write {out}/masks/00000.png of {place}/Doe John.mp4")

    monkeypatch.setattr(LabelPngWriter, "_write", fail)
    for keep in (False, True):
        with (
            open_video(place / "Doe John.mp4") as video,
            pytest.raises(OutputError),
        ):
            segment_to_folder(a_model, video, prompts, out, JobOptions(keep_names=keep))
        status = json.loads((out / "report.json").read_text())["status"]
        assert ("Doe" in status) == keep, status
    assert status.startswith("failed: cannot write ")
