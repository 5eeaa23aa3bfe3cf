"""Text of strangers is shown without effects."""

from __future__ import annotations

import pytest

from surgsam2.storage.text import one_line, printable, spreadsheet_cell, text_of_cell


def test_a_terminal_obeys_nothing() -> None:
    assert printable("a\x1b[2Jb\x07\x9b\ud880\u202ec") == r"a\x1b[2Jb\x07\x9b\ud880\u202ec"
    assert printable("Gro\u00df\n\tund") == "Gro\u00df\n\tund"


def test_a_message_is_one_line() -> None:
    assert one_line(ValueError("first\n  second\r\n\x1b]0;title")) == r"first second \x1b]0;title"


def test_a_long_message_keeps_its_ends() -> None:
    line = one_line("begin" + 5000 * "x" + "end")
    assert len(line) <= 2000
    assert line.startswith("beginx")
    assert line.endswith("xend")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_spreadsheet_finds_no_formula(text: str) -> None:
    assert spreadsheet_cell(text) == "'" + text
    assert text_of_cell(spreadsheet_cell(text)) == text


def test_other_cells_stay() -> None:
    assert spreadsheet_cell("liver = organ") == "liver = organ"
    assert spreadsheet_cell("") == ""
    assert text_of_cell("'quoted'") == "'quoted'"
