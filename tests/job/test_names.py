"""Messages without the names of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from surgsam2.job.names import hide_names


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
