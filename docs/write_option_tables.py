"""Write the tables of options in the pages of this folder.

Run it after a change of one of the classes in `GROUPS`:

    python docs/write_option_tables.py

A table stands between ``<!-- options: GROUP as STYLE -->`` and ``<!-- end of options -->``. The
style is ``command`` (``--min-region SHARE``), ``bundle`` (``--min_region``) or ``python``
(``min_region``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from surgsam2.cluster.options import ListOptions
from surgsam2.commands.arguments import default_text, flag
from surgsam2.job import JobOptions
from surgsam2.job.options import VideoOptions
from surgsam2.model.options import ModelOptions
from surgsam2.storage.options import Option, Options
from surgsam2.tracking.options import TrackingOptions

FOLDER = Path(__file__).parent
PAGES = ("bundle.md", "command-line.md", "many-videos.md", "python.md")
GROUPS: dict[str, type[Options]] = {
    kind.__name__: kind
    for kind in (ModelOptions, TrackingOptions, JobOptions, VideoOptions, ListOptions)
}
_TABLE = re.compile(r"(<!-- options: (\w+) as (\w+) -->\n).*?(<!-- end of options -->)", re.DOTALL)


def _command(option: Option) -> str:
    return flag(option) if option.is_flag else f"{flag(option)} {option.metavar or 'VALUE'}"


STYLES: dict[str, Callable[[Option], str]] = {
    "command": _command,
    "bundle": lambda option: f"--{option.name}",
    "python": lambda option: option.name,
}


def table(group: str, style: str) -> str:
    """Return the table of a group of options in Markdown.

    Args:
        group: a key of `GROUPS`.
        style: a key of `STYLES`.
    """
    lines = ["| option | default | meaning |", "|---|---|---|"]
    for option in GROUPS[group].described():
        name = STYLES[style](option).replace("|", r"\|")
        default = repr(option.default) if style == "python" else default_text(option)
        meaning = option.help
        if option.choices:
            meaning += ": " + ", ".join(f"`{choice}`" for choice in option.choices)
        lines.append(f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |")
    return "\n".join(lines) + "\n"


def current(text: str) -> str:
    """Return the text of a page with its tables written anew."""
    return _TABLE.sub(lambda found: found[1] + table(found[2], found[3]) + found[4], text)


def main() -> None:
    """Write the tables in all pages."""
    for name in PAGES:
        path = FOLDER / name
        path.write_text(current(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
