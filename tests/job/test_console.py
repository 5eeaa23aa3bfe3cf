"""What a run shows in the terminal."""

from __future__ import annotations

import logging

import pytest

from surgsam2.job import console
from surgsam2.job.console import ProgressDisplay


class _Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def a_clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr(console, "time", clock)
    return clock


def test_without_a_terminal_progress_is_logged_every_ten_seconds(
    a_clock: _Clock, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO, "surgsam2")
    with ProgressDisplay() as display:
        for done in range(1001, 1100):  # a run that was resumed
            a_clock.now += 0.5
            display.update(done, 5000)
    assert [record.getMessage() for record in caplog.records] == [
        "1020 of 5000 frames, 2.0 frames/s, 0:33:10 left",
        "1040 of 5000 frames, 2.0 frames/s, 0:33:00 left",
        "1060 of 5000 frames, 2.0 frames/s, 0:32:50 left",
        "1080 of 5000 frames, 2.0 frames/s, 0:32:40 left",
    ]
    assert capsys.readouterr().err == ""


def test_a_new_label_begins_a_new_count(a_clock: _Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "surgsam2")
    with ProgressDisplay() as display:
        for label in ("one", "two"):
            for done in range(1, 7):
                a_clock.now += 2
                display.update_labelled(label, done, 6)
    assert [record.getMessage() for record in caplog.records] == [
        "one: 5 of 6 frames, 0.5 frames/s, 0:00:02 left",
        "two: 4 of 6 frames, 0.5 frames/s, 0:00:04 left",
    ]


def test_in_a_terminal_there_is_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console.sys.stderr, "isatty", lambda: True)
    with ProgressDisplay() as display:
        display.update(3, 4)
        display.update(4, 4)
    assert "4/4" in capsys.readouterr().err
