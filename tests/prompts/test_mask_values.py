"""Which pixels of a mask image are an object: palettes, remains of compression, label images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from surgsam2.data.label_reader import read_labels
from surgsam2.data.sequence import read_indexed
from surgsam2.errors import PromptError
from surgsam2.prompts import load_prompts
from surgsam2.storage.palette import VOC_PALETTE

HEIGHT, WIDTH = 6, 8
VOC = VOC_PALETTE.tobytes()


def pixels(**values: int) -> np.ndarray:
    """Return (6, 8) uint8 with the value of each row, such as ``r1=255``."""
    array = np.zeros((HEIGHT, WIDTH), np.uint8)
    for row, value in values.items():
        array[int(row[1:]), 2:5] = value
    return array


COLOURS = Image.fromarray(np.dstack([pixels(r1=255), pixels(r2=200), pixels()]))


def with_palette(array: np.ndarray, palette: bytes) -> Image.Image:
    image = Image.fromarray(array, "P")
    image.putpalette(palette)
    return image


def the_mask(folder: Path, image: Image.Image, **more: object) -> np.ndarray:
    image.save(folder / "m.png")
    prompt = {"frame": 0, "mask": "m.png", **more}
    path = folder / "p.json"
    path.write_text(json.dumps({"version": 1, "objects": [{"id": 1, "prompts": [prompt]}]}))
    mask = load_prompts(path).on_frame(0)[1].mask
    assert mask is not None
    return mask


def test_a_palette_that_begins_with_white_is_looked_at(tmp_path: Path) -> None:
    stored = 1 - pixels(r1=1)  # index 0, white, is the object
    image = with_palette(stored, bytes([255] * 3 + [0] * 3))
    assert np.array_equal(the_mask(tmp_path, image), stored == 0)
    assert np.array_equal(read_labels(tmp_path / "m.png").labels, 1 - stored)
    assert np.array_equal(read_indexed(tmp_path / "m.png"), 1 - stored)


@pytest.mark.parametrize(
    ("image", "listed"),
    [
        (Image.fromarray(pixels(r1=255, r2=254, r3=1)), "the values 0, 1, 254, 255"),
        (with_palette(pixels(r1=1, r3=2), VOC), "the values 0, 1, 2"),
        (Image.fromarray(np.maximum(pixels(r1=255), 9)), "the values 9, 255"),
        (
            Image.fromarray(np.dstack([pixels(r1=255), pixels(r2=200), pixels()])),
            "#00c800, #ff0000",
        ),
        (Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8)), "4, 5 and 42 more"),
    ],
)
def test_more_than_one_kind_of_pixel_is_a_question(
    tmp_path: Path, image: Image.Image, listed: str
) -> None:
    with pytest.raises(PromptError, match="it is not clear which pixels of the mask") as caught:
        the_mask(tmp_path, image)
    assert listed in str(caught.value)
    assert '"mask_value"' in str(caught.value)
    assert "--prompts FILE.png" in str(caught.value)


def test_the_question_is_answered_in_the_prompt_file(tmp_path: Path) -> None:
    remains = Image.fromarray(pixels(r1=255, r2=250, r3=2))
    assert the_mask(tmp_path, remains, mask_value="bright").sum() == 6
    assert the_mask(tmp_path, remains, mask_value=2).sum() == 3
    labels = with_palette(pixels(r1=1, r3=2), VOC)
    assert np.array_equal(the_mask(tmp_path, labels, mask_value=2), pixels(r3=1) == 1)
    assert np.array_equal(the_mask(tmp_path, COLOURS, mask_value="#FF0000"), pixels(r1=1) == 1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (-1, "must be a whole number from 0 to 65535"),
        (True, "must be a whole number"),
        ("dark", "a colour such as '#ff0000'"),
        ("#ff00", "the color must look like"),
        ("#ff0000", "it is not an image in colours"),
        (7, "the mask is empty"),
    ],
)
def test_answers_that_cannot_be_used(tmp_path: Path, value: object, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        the_mask(tmp_path, Image.fromarray(pixels(r1=255, r2=1)), mask_value=value)


def test_a_choice_of_a_value_in_an_image_of_colours(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="it is an image in colours"):
        the_mask(tmp_path, COLOURS, mask_value=255)


def test_a_value_without_a_mask(tmp_path: Path) -> None:
    prompt = {"frame": 0, "points": [[1, 1, 1]], "mask_value": 1}
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"version": 1, "objects": [{"id": 1, "prompts": [prompt]}]}))
    with pytest.raises(PromptError, match="there is no mask on this frame"):
        load_prompts(path)


def saved(folder: Path, image: Image.Image, name: str = "first_frame.png") -> Path:
    image.save(folder / name)
    return folder / name


def test_a_label_image_prompts_all_its_objects(tmp_path: Path) -> None:
    image = with_palette(pixels(r1=1, r3=2, r5=255), VOC)
    prompts = load_prompts(saved(tmp_path, image))
    assert [(o.id, o.prompts[0].frame) for o in prompts] == [(1, 0), (2, 0)]  # 255 is void
    assert np.array_equal(prompts.on_frame(0)[2].mask, pixels(r3=1) == 1)
    assert prompts.mask_files == (tmp_path / "first_frame.png",)
    assert load_prompts(tmp_path / "first_frame.png", frame=7).frames == (7,)


@pytest.mark.parametrize(
    ("image", "ids"),
    [
        (Image.fromarray(pixels(r1=255)), [1]),
        (Image.fromarray(pixels(r1=255) > 0), [1]),
        (Image.fromarray(pixels(r1=1, r2=2, r3=3)), [1, 2, 3]),
        (Image.fromarray(pixels(r1=4)), [4]),
        (Image.fromarray(pixels(r1=4).astype(np.uint16) * 100), [400]),
        (with_palette(pixels(r1=7), VOC), [7]),
        (with_palette(1 - pixels(r1=1), bytes([255] * 3 + [0] * 3)), [1]),
    ],
)
def test_label_images_of_every_kind(tmp_path: Path, image: Image.Image, ids: list[int]) -> None:
    assert [item.id for item in load_prompts(saved(tmp_path, image))] == ids


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.fromarray(pixels(r1=255, r2=254)), "it is not clear whether the pixels are labels"),
        (Image.fromarray(np.dstack([pixels(r1=9), pixels(r2=9), pixels()])), "the colours #000000"),
        (Image.fromarray(pixels()), "the label image is empty"),
    ],
)
def test_label_images_that_may_be_none(tmp_path: Path, image: Image.Image, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        load_prompts(saved(tmp_path, image))


def test_the_frame_of_a_label_image_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, with_palette(pixels(r1=1), VOC), "00080.png")
    with pytest.raises(PromptError, match="--prompt-frame 0 or --prompt-frame 80"):
        load_prompts(path)
    assert load_prompts(path, frame=80).frames == (80,)
    (tmp_path / "p.json").write_text("{}")
    with pytest.raises(PromptError, match="leave out the prompt frame"):
        load_prompts(tmp_path / "p.json", frame=1)


def test_too_many_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURGSAM2_MAX_MASK_PIXELS", "100")
    path = saved(tmp_path, Image.fromarray(pixels(r1=1, r2=2, r3=3)))
    with pytest.raises(PromptError, match="3 objects have more than 100 pixels"):
        load_prompts(path)
