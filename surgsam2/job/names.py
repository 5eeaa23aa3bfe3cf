"""Keeps the names of files out of reports: they may name a patient."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path


def hide_names(text: str, words: Mapping[Path, str]) -> str:
    """Replace paths in a message by words that say what is there.

    A path is found as it is written, as an absolute path, and by its last name alone. What lies
    in a path that is a folder, such as the frames of a video, is replaced together with it. Of
    other paths in the same folder, such as the mask images of a prompt file, the folder is
    removed.

    Args:
        text: the message.
        words: the words for each path, such as ``the video``. The path ``.`` is left out.
    """
    said = " ".join(text.split())
    names: dict[str, str] = {}
    folders: set[Path] = set()
    for path, word in words.items():
        folders.add(path.parent)
        if " ".join(path.name.split()) in said:  # a video may have a hundred thousand frames
            names |= {name: word for form in _forms(path) for name in (str(form), form.name)}
    parents = {str(form) for folder in folders for form in _forms(folder)}
    for name in sorted(names.keys() - {"", "."}, key=len, reverse=True):
        inside = r"(?:[/\\][^:;'\"()]*[^:;'\"(),.\s])?" if Path(name).is_dir() else ""
        text = re.sub(rf"(?<!\w){_pattern(name)}{inside}(?!\w)", names[name], text)
    for folder in sorted(parents - {".", os.sep}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){_pattern(folder)}[/\\]", "", text)
    return text


def _forms(path: Path) -> list[Path]:
    """Return a path as it is written, as an absolute path, and without links."""
    forms = [path, path.absolute()]
    with contextlib.suppress(OSError, ValueError, RuntimeError):  # a NUL, a loop of links
        forms.append(path.resolve())
    return forms


def _pattern(name: str) -> str:
    """Return a pattern that finds a name also where a message has joined its white space."""
    return r"\s+".join(re.escape(part) for part in re.split(r"\s+", name))
