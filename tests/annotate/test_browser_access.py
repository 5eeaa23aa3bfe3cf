"""The page by keyboard alone, and what can be seen: focus and contrast, light and dark."""

from __future__ import annotations

from typing import Any

import pytest

from tests.annotate.browser import Browser, needs_chromium

pytestmark = needs_chromium

LOOK = """() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = ([r, g, b, a], below) =>
    [r, g, b].map((value, i) => value * a + below[i] * (1 - a));
  const light = (color) => color.slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const contrast = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const color = parse(getComputedStyle(element).backgroundColor);
    return color[3] === 1 ? color : over(color, behind(element.parentElement));
  };
  const low = [];
  for (const element of document.querySelectorAll("body, body *")) {
    const style = getComputedStyle(element);
    if (!element.checkVisibility() || element.disabled) continue;
    const back = behind(element);
    const says = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
      || element.matches("select, input[type=text], input[type=number]");
    const text = contrast(over(parse(style.color), back), back);
    const name = element.outerHTML.slice(0, 80);
    if (says && text < 4.5) low.push(`text of ${name}: ${text.toFixed(2)}`);
    const edged = element.matches("button, select, #objects input[type=text], .key");
    const edge = Math.max(contrast(parse(style.borderTopColor), behind(element.parentElement)),
      contrast(back, behind(element.parentElement)));
    if (edged && edge < 3) low.push(`edge of ${name}: ${edge.toFixed(2)}`);
  }
  return low;
}"""

FOCUSED = """() => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const style = getComputedStyle(element);
  return {
    what: element.id || element.dataset.tool || element.dataset.track || element.dataset.mark
      || element.dataset.part || element.value || element.tagName,
    seen: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    named: Boolean(element.getAttribute("aria-label") || element.textContent.trim()
      || element.labels?.length),
  };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_edges_have_contrast(browser: Browser, scheme: str) -> None:
    """Text differs from its background by 4.5 to 1, edges of controls by 3 to 1 (WCAG 2.2, AA)."""
    page = browser.page
    page.emulate_media(color_scheme=scheme)
    browser.press("o")
    browser.until("document.querySelectorAll('#objects li').length === 1")
    page.click("summary")
    assert page.evaluate(LOOK) == []
    page.mouse.click(*browser.at(159, 119))
    page.keyboard.press("d")
    browser.until_banner("No other frame is doubtful.")
    page.keyboard.press("?")
    assert page.evaluate(LOOK) == []


def test_every_control_can_be_reached_and_the_focus_is_seen(browser: Browser) -> None:
    page = browser.page
    browser.click(20, 60)
    page.click("summary")
    seen: dict[str, Any] = {}
    page.locator("#videos").focus()
    for _ in range(70):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused is None:
            continue
        if focused["what"] in seen and focused["what"] == "previousVideo":
            break
        seen[focused["what"]] = focused
    controls = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas, summary")]
      .filter((one) => one.checkVisibility() && !one.disabled)
      .map((one) => one.id || one.dataset.tool || one.dataset.track || one.dataset.mark
        || one.dataset.part || one.value || one.tagName)"""
    )
    assert set(controls) <= {*seen, "videos"}
    assert [one for one in seen.values() if not (one["seen"] and one["named"])] == []


def test_marking_by_keyboard_alone(browser: Browser) -> None:
    """Point, box, tracking and a range of frames need no mouse."""
    page = browser.page
    page.keyboard.press("i")
    for _ in range(2):
        page.keyboard.press("Shift+j")
    page.keyboard.press("Enter")
    browser.until("Number(document.body.dataset.pixels) > 0")
    page.keyboard.press("ArrowRight")
    browser.until_data("shown", "1")
    page.keyboard.press("b")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    for key in "llllkkkk":
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    browser.until_state(2, 2)
    page.keyboard.press("s")
    page.keyboard.press("End")
    page.keyboard.press("s")
    assert page.inner_text("#range") == "selected: 1 to 17"
    page.keyboard.press("Home")
    assert page.inner_text("#range") == "selected: 1 to 17"
    page.keyboard.press("Escape")
    assert page.inner_text("#range") == ""


def test_controls_keep_the_keys_that_are_theirs(browser: Browser) -> None:
    """Space presses the button with the focus, a list takes letters; else keys are shortcuts."""
    page = browser.page
    page.locator("#onlyRange").focus()
    page.keyboard.press("Space")
    assert page.is_checked("#onlyRange")
    page.locator("#add").focus()
    page.keyboard.press("Space")
    browser.until("document.querySelectorAll('#objects li').length === 1")
    assert page.inner_text("#play") == "Play"
    page.locator("#maskStyle").focus()
    page.keyboard.press("o")
    assert page.locator("#objects li").count() == 1
    page.locator("#objects [data-part=locked]").focus()
    page.keyboard.press("Enter")
    browser.until("document.querySelector('#objects [data-part=locked]').textContent === 'locked'")
    assert page.evaluate("() => document.activeElement.dataset.part") == "locked"
    page.locator("#objects input[type=text]").fill("target")
    page.keyboard.press("Enter")
    browser.until("document.querySelector('#objects input[type=text]').value === 'target'")
    assert browser.data("tracking") == "false"
    assert page.inner_text("#banner") == ""
    page.click("#onlyRange")  # Used by mouse, it leaves Space to the page.
    page.keyboard.press("Space")
    assert page.inner_text("#play") == "Pause"
