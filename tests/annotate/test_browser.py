"""The page in a real browser: mark, track, correct, export; then the files are looked at."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgsam2.annotate.export import EXPORTS
from surgsam2.annotate.project import Project
from surgsam2.annotate.states import FrameState
from surgsam2.model.options import ModelOptions
from surgsam2.prompts import load_class_list
from surgsam2.storage.image_file import read_pixels
from tests.annotate.browser import TIMEOUT, Browser, Server, kill, needs_chromium
from tests.conftest import REPOSITORY

pytestmark = needs_chromium
FRAMES = 18


def masks(folder: Path) -> np.ndarray:
    """Return the (T, H, W) label images of a folder."""
    return np.stack([read_pixels(p).values for p in sorted((folder / "masks").glob("*.png"))])


def test_click_track_correct_export(browser: Browser) -> None:
    page = browser.page
    browser.click(20, 60)
    browser.track()
    browser.until_state(FrameState.PROMPTED, 1)
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    browser.until_data("shown", "11")
    before = browser.data("pixels")
    page.keyboard.press("r")
    browser.drag((120, 20), (140, 30))
    browser.until(f"document.body.dataset.pixels !== '{before}'")
    page.keyboard.press("Control+z")
    browser.until_data("pixels", before)
    page.keyboard.press("Control+Shift+z")
    browser.until(f"document.body.dataset.pixels !== '{before}'")
    browser.until_state(FrameState.CORRECTED, 1)
    browser.export()
    coco = json.loads((browser.folder / "annotations.coco.json").read_text())
    assert {image["frame_index"] for image in coco["images"]} == set(range(FRAMES))
    assert (browser.folder / "frames.csv").is_file()
    assert (browser.folder / "masks" / "00011.png").is_file()


def test_every_format_equals_the_command_s(
    browser: Browser, video_file: Path, model_options: ModelOptions, tmp_path: Path
) -> None:
    """The page writes what `surgsam2 segment` writes of the same prompts."""
    browser.click(20, 60)
    browser.track()
    browser.saved()
    page = browser.page
    page.click("summary")
    boxes = page.locator("#formats input, #moreFormats input").all()
    for box in boxes:
        box.check()
    offered = [box.get_attribute("value") for box in boxes]
    assert set(offered) == {*EXPORTS} - {"dicom-seg"}  # The video is none of DICOM.
    written = browser.export()
    out = tmp_path / "out"
    command = [sys.executable, "-m", "surgsam2", "segment", str(video_file), "--output", str(out)]
    command += ["--prompts", str(browser.folder / "prompts.json"), "--model", model_options.model]
    command += ["--config", str(model_options.config), "--device", "cpu"]
    subprocess.run([*command, "--formats", ",".join(("png", *offered))], check=True, cwd=REPOSITORY)
    own = {"report.json", "prompts.json", "masks"}
    names = {path.name for path in out.iterdir() if not path.name.startswith(".")} - own
    assert all(name in written for name in names), written
    assert np.array_equal(masks(browser.folder), masks(out))
    for name in ("annotations.coco.json", "polygons.coco.json"):
        ours, theirs = (json.loads((f / name).read_text()) for f in (browser.folder, out))
        for key in ("annotations", "categories", "images"):
            assert drop(ours[key]) == drop(theirs[key])


def drop(records: Any) -> Any:
    """Return COCO records without what only a run of the command knows."""
    return [
        {k: v for k, v in r.items() if k not in ("score", "presence", "iou_score", "file_name")}
        for r in records
    ]


def first_masks(browser: Browser, point: tuple[float, float], wrong: int) -> int:
    """Go the way from a click to exported masks with one correction; return the actions it took.

    Args:
        browser: the page.
        point: a pixel of the object on frame 0.
        wrong: the frame whose mask is corrected.
    """
    browser.click(*point)
    browser.track()
    browser.show_by_timeline(wrong)
    browser.press("r")
    before = browser.data("pixels")
    browser.drag((point[0] + 40, point[1]), (point[0] + 60, point[1] + 5))
    browser.until(f"document.body.dataset.pixels !== '{before}'")
    browser.track()
    browser.export()
    return browser.actions


def test_first_masks_take_seven_actions(browser: Browser) -> None:
    """Click, track, look, take the brush, paint, track, export: docs/annotate.md counts them."""
    assert first_masks(browser, (20, 60), 9) == 7
    browser.until_state(FrameState.CORRECTED, 1)
    assert "7 actions" in (REPOSITORY / "docs" / "annotate.md").read_text()


def test_a_class_is_the_category_of_the_export(browser: Browser) -> None:
    chosen = next(iter(load_class_list("general")))
    page = browser.page
    browser.click(20, 60)
    offered = page.locator("#classes option").first.get_attribute("value")
    assert offered == chosen.name
    page.locator("#objects input[type=text]").fill(offered)
    page.keyboard.press("Enter")
    browser.until(
        f"document.querySelector('#objects input[type=color]').value === '{chosen.color}'"
    )
    assert browser.saved()["objects"][0]["object_class"]["name"] == chosen.name
    browser.export()
    coco = json.loads((browser.folder / "annotations.coco.json").read_text())
    assert [category["name"] for category in coco["categories"]] == [chosen.name]


def test_next_and_previous_video(browser: Browser) -> None:
    """The engine stays: the next video is ready at once, and each keeps its objects."""
    page = browser.page
    browser.click(20, 60)
    first, pixels = page.title(), browser.data("pixels")
    page.keyboard.press("PageDown")
    browser.until(f"document.title !== {json.dumps(first)}")
    browser.until_data("status", "ready")
    assert page.locator("#objects li").count() == 0
    page.click("#previousVideo")
    browser.until(f"document.title === {json.dumps(first)}")
    browser.until_data("pixels", pixels)
    assert page.locator("#objects li").count() == 1
    browser.until_data("status", "ready")
    browser.track()
    assert browser.saved()


def test_a_reload_loses_nothing(browser: Browser) -> None:
    page = browser.page
    browser.go(5)
    browser.click(20, 60)
    pixels = browser.data("pixels")
    page.reload()
    browser.until_data("pixels", pixels)
    assert page.locator("#objects li").count() == 1
    assert browser.data("shown") == "5"


def test_the_mask_of_a_first_click_is_shown_before(browser: Browser) -> None:
    page = browser.page
    page.mouse.move(*browser.at(20, 60))
    page.mouse.move(*browser.at(21, 60))
    browser.until("document.body.dataset.hovered === 'true'")
    assert page.locator("#objects li").count() == 0


def test_what_the_status_says_moves_nothing(browser: Browser) -> None:
    """A click must not miss because the picture has just become smaller."""
    page = browser.page
    for width in (1100, 1280, 1600):
        page.set_viewport_size({"width": width, "height": 700})
        places = []
        for text in ("ready", "the engine is started anew, because it did not answer " * 3):
            page.evaluate(
                "(text) => { document.getElementById('status').textContent = text; }", text
            )
            places.append([page.locator(one).bounding_box() for one in ("#view", "#helpButton")])
        assert places[0] == places[1]
        ends = [box["x"] + box["width"] for _, box in places]
        assert min(ends) > width - 20


def test_the_names_of_many_objects_can_be_read(browser: Browser) -> None:
    """The timeline has a row for each, high enough for its name, as long as there is room."""
    page = browser.page
    for _ in range(12):
        page.keyboard.press("o")
    browser.until("document.querySelectorAll('#objects li').length === 12")
    browser.drawn()
    assert page.locator("#timeline").bounding_box()["height"] >= 12 * 15
    page.set_viewport_size({"width": 1280, "height": 500})
    browser.drawn()
    assert page.locator("#view").bounding_box()["height"] > 200


def test_the_next_doubtful_frame_begins_a_stretch(browser: Browser, server: Server) -> None:
    """Nobody wants to go through a long stretch frame by frame."""
    with Project(server.folder / "37-annotated", 160, 120, FRAMES) as project:
        object_id = project.add_object().id
        for frame in (3, 4, 5, 6, 11):
            project.timelines[object_id].put(frame, FrameState.TRACKED, 0.2)
        project.save()
    page = browser.page
    page.select_option("#videos", "37.mp4")
    browser.until("document.title.startsWith('37.mp4')")
    browser.until_data("shown", "0")
    for frame in (3, 11, 3):
        page.keyboard.press("d")
        browser.until_data("shown", str(frame))
    browser.go(5)
    page.click("#doubtful")
    browser.until_data("shown", "11")


def test_a_crash_of_the_engine_loses_nothing(browser: Browser, server: Server) -> None:
    page = browser.page
    browser.click(20, 60)
    pixels = browser.data("pixels")
    kill(server.engine())
    browser.until_banner("the engine stopped unexpectedly")
    browser.until_data("status", "ready")
    assert browser.data("pixels") == pixels
    browser.track()
    assert page.inner_text("#speed") == "complete"


def test_absent_range_by_dragging_the_timeline(browser: Browser) -> None:
    page = browser.page
    browser.click(20, 60)
    browser.track()
    box = page.locator("#timeline").bounding_box()
    step = (box["width"] - 90) / FRAMES
    page.mouse.move(box["x"] + 90 + 6.5 * step, box["y"] + 8)
    page.mouse.down()
    page.mouse.move(box["x"] + 90 + 9.5 * step, box["y"] + 8, steps=4)
    page.mouse.up()
    assert page.inner_text("#range") == "selected: 6 to 9"
    page.click("[data-mark=absent]")
    browser.until("document.getElementById('undo').title === 'Undo: mark as absent'")
    browser.until_state(FrameState.ABSENT, 4)
    browser.track()
    browser.until_state(FrameState.ABSENT, 4)


def test_preview_and_cancel_while_tracking(tab: Any, server: Server) -> None:
    """Masks appear as they are made; a click can be tried, and the track ended, meanwhile."""
    browser = Browser(tab, server.folder / "long-annotated")
    browser.until_data("status", "ready")
    tab.select_option("#videos", "long.mp4")
    browser.until("document.title.startsWith('long.mp4')")
    browser.until_data("status", "ready")
    browser.until_data("shown", "0")
    browser.click(20, 60)
    browser.press("t")
    browser.until("document.getElementById('progress').value > 2")
    browser.until("Number(document.body.dataset.shown) > 0")  # It follows the track.
    assert "per second" in tab.inner_text("#speed")
    tab.keyboard.press("End")
    browser.until_data("shown", "599")
    tab.mouse.move(*browser.at(30, 60))
    tab.mouse.move(*browser.at(32, 60))
    browser.until("document.body.dataset.hovered !== undefined")
    assert browser.data("tracking") == "true"
    assert browser.data("shown") == "599"  # The user has gone there; it does not follow.
    tab.keyboard.press("Escape")
    browser.until_data("tracking", "false")
    assert tab.inner_text("#speed") == "cancelled"
    browser.until("document.getElementById('undo').title === 'Undo: track'")
    end = time.monotonic() + TIMEOUT
    while (done := 600 - browser.states()[-1][1]) <= 2:  # It was saved during the track, too.
        assert time.monotonic() < end
        time.sleep(0.1)
    assert browser.states()[-1] == [FrameState.NONE, 600 - done]
    assert (browser.folder / "masks" / f"{done - 1:05d}.png").is_file()
    assert not browser.problems


def test_locked_and_hidden_objects(browser: Browser) -> None:
    page = browser.page
    browser.click(20, 60)
    pixels = browser.data("pixels")
    page.click("#objects [data-part=locked]")
    browser.until("document.querySelector('#objects [data-part=locked]').textContent === 'locked'")
    page.mouse.click(*browser.at(120, 20))
    browser.until_banner("is locked")
    assert browser.data("pixels") == pixels
    browser.drawn()
    shown = colours(browser)
    page.click("#objects [data-part=visible]")
    browser.until("document.querySelector('#objects [data-part=visible]').textContent === 'hidden'")
    browser.drawn()
    assert colours(browser) < shown
    assert browser.saved()["objects"][0]["locked"]


def colours(browser: Browser) -> int:
    """Return how many pixels of the drawn frame are near the colour of the first object."""
    return int(
        browser.page.evaluate(
            """() => {
      const canvas = document.getElementById("view");
      const [r, g, b] = [1, 3, 5].map((at) =>
        parseInt(document.querySelector("#objects input[type=color]").value.slice(at, at + 2), 16));
      const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
      let count = 0;
      for (let i = 0; i < data.length; i += 4) {
        count += Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 12;
      }
      return count;
    }"""
        )
    )


@pytest.mark.parametrize("color", ["#000000", "#ffffff", "#767676"])
def test_outlines_are_seen_on_any_colour(browser: Browser, color: str) -> None:
    """Beside the line in the object's colour there is one that differs from it by 4.5 to 1."""
    page = browser.page
    browser.click(20, 60)
    page.locator("#objects input[type=color]").fill(color)
    browser.until(f"document.querySelector('#objects input[type=color]').value === '{color}'")
    page.keyboard.press("m")
    page.keyboard.press("m")
    assert page.input_value("#maskStyle") == "outline"
    browser.drawn()
    row = page.evaluate(
        """() => {
      const canvas = document.getElementById("view");
      const context = canvas.getContext("2d");
      const rows = [];
      for (let y = 0; y < canvas.height; y += 5) {
        rows.push(Array.from(context.getImageData(0, y, canvas.width, 1).data));
      }
      return rows;
    }"""
    )
    pixels = np.array(row, np.float64).reshape(len(row), -1, 4)[..., :3]
    own = [int(color[at : at + 2], 16) for at in (1, 3, 5)]
    rim = 0 if luminance(np.array(own, float)) > 0.179 else 255
    assert contrast(np.array(own, float), np.full(3, float(rim))) > 4.5
    near = np.abs(pixels - own).max(axis=2) < 24
    beside = np.abs(pixels - rim).max(axis=2) < 24
    crossings = 0
    for line, other in zip(near, beside, strict=True):
        starts = [i for i in range(1, len(line)) if line[i] and not line[i - 1]]
        crossings += sum(bool(other[max(0, i - 3) : i].any()) for i in starts)
    assert crossings >= 2, "no line of two colours was found"


def luminance(color: np.ndarray) -> float:
    linear = np.where(
        color / 255 <= 0.04045, color / 255 / 12.92, ((color / 255 + 0.055) / 1.055) ** 2.4
    )
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_outlines_enclose_what_fills_cover(browser: Browser) -> None:
    """The path of a mask's outline, filled, has exactly the mask's pixels."""
    width = 12
    rng = np.random.default_rng(4)
    image = (rng.random((9, width)) < 0.5).astype(int) * rng.integers(1, 3, (9, width))
    runs = [n for value, group in groupby(image.ravel().tolist()) for n in (value, len([*group]))]
    crossings = browser.page.evaluate(
        """async ([runs, width, height]) => {
      const { shapesOf } = await import("/static/masks.js");
      const shapes = shapesOf(runs, width);
      const context = document.createElement("canvas").getContext("2d");
      context.lineWidth = 0.2;
      const hit = (shape, x, y) => context.isPointInStroke(shape.outline, x, y);
      const found = [];
      for (const [value, shape] of shapes) {
        for (let y = 0; y < height; y++) {
          let inside = false;
          for (let x = 0; x < width; x++) {
            if (hit(shape, x, y + 0.5)) inside = !inside;
            if (inside) found.push([value, y, x]);
          }
        }
        for (let x = 0; x < width; x++) {
          let inside = false;
          for (let y = 0; y < height; y++) {
            if (hit(shape, x + 0.5, y)) inside = !inside;
            if (inside) found.push([value, y, x]);
          }
        }
      }
      return found;
    }""",
        [runs, width, len(image)],
    )
    expected = [[int(image[y, x]), int(y), int(x)] for y, x in zip(*np.nonzero(image), strict=True)]
    assert sorted(crossings) == sorted(expected * 2)
