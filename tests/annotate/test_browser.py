"""The page in a real browser: mark, track, correct, export; then the files are looked at."""

from __future__ import annotations

import json

from surgsam2.annotate.states import FrameState
from surgsam2.prompts import load_class_list
from tests.annotate.browser import Browser, Server, kill, needs_chromium

pytestmark = needs_chromium
FRAMES = 18


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
    browser.click(20, 60)
    pixels = browser.data("pixels")
    page.reload()
    browser.until_data("pixels", pixels)
    assert page.locator("#objects li").count() == 1


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


def test_typing_is_not_a_shortcut(browser: Browser) -> None:
    page = browser.page
    page.click("#add")
    page.locator("#objects input[type=text]").fill("target")
    page.keyboard.press("Enter")
    browser.until("document.querySelector('#objects input[type=text]').value === 'target'")
    assert browser.data("tracking") == "false"
    assert page.inner_text("#banner") == ""


def test_a_second_tab_is_told(browser: Browser) -> None:
    second = Browser(browser.page.context.new_page(), browser.folder)
    second.page.goto(browser.page.url)
    second.until_banner("open in another tab")
    second.page.close()
