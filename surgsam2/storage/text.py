"""Makes text from files safe to show: names and messages may hold anything."""

from __future__ import annotations

from surgsam2.errors import LONGEST_MESSAGE, without_middle


def printable(text: str) -> str:
    r"""Replace characters that a terminal might obey by escapes such as ``\x1b``.

    Line ends and tabs stay. Bytes of file names that are not text are escaped too.
    """
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def one_line(text: object, most: int = LONGEST_MESSAGE) -> str:
    """Return a text on one line, in which each run of white space is one space.

    Args:
        text: a text or an error.
        most: the largest number of characters; of a longer text the middle is left out.
    """
    return without_middle(printable(" ".join(str(text).split())), most)


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def spreadsheet_cell(text: str) -> str:
    """Return a text that spreadsheets do not take for a formula.

    A text that begins with ``=``, ``+``, ``-``, ``@`` or a control character gets an apostrophe
    before it. `text_of_cell` takes it away.
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def text_of_cell(cell: str) -> str:
    """Return the text of which `spreadsheet_cell` made a cell."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell
