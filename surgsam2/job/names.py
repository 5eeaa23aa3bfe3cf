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
    names: dict[str, str] = {}
    folders: set[str] = set()
    for path, word in words.items():
        forms = [path, path.absolute()]
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # a NUL, a loop of links
            forms.append(path.resolve())
        for form in forms:
            names[str(form)] = word
            names[form.name] = word
            folders.add(str(form.parent))
    for name in sorted(names.keys() - {"", "."}, key=len, reverse=True):
        inside = r"(?:[/\\][^:;'\"()]*[^:;'\"(),.\s])?" if Path(name).is_dir() else ""
        text = re.sub(rf"(?<!\w){_pattern(name)}{inside}(?!\w)", names[name], text)
    for folder in sorted(folders - {".", os.sep}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){_pattern(folder)}[/\\]", "", text)
    return text


def _pattern(name: str) -> str:
    """Return a pattern that finds a name also where a message has joined its white space."""
    return r"\s+".join(re.escape(part) for part in re.split(r"\s+", name))
