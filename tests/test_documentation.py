"""Links, paths and commands in the documentation are right."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from surgsam2 import cli
from tests.conftest import REPOSITORY

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "surgsam2/bundle/docs/*.md")
    for path in REPOSITORY.glob(pattern)
)
_FENCE = re.compile(r"^ *```\w*\n(.*?)^ *```", re.M | re.S)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_PATH = re.compile(r"`((?:surgsam2|docs|tests|SurgSAM2Extension)/[\w./-]+)`")


def _name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def _anchors(page: Path) -> set[str]:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.*)$", text, re.M)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    wrong = []
    for link in _LINK.findall(text):
        if "://" in link or link.startswith("mailto:"):
            continue
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            wrong.append(link)
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_paths_in_the_repository_exist(page: Path) -> None:
    roots = REPOSITORY, REPOSITORY / "surgsam2" / "bundle"  # a bundle has a folder docs, too
    paths = _PATH.findall(page.read_text(encoding="utf-8"))
    assert not [p for p in paths if not any((root / p).exists() for root in roots)]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_commands_are_accepted(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argparse.ArgumentParser, "exit", _refuse)
    for command in commands_of(page):
        try:
            cli.build_parser().parse_args(command)
        except ValueError as error:
            pytest.fail(f"surgsam2 {shlex.join(command)}: {error}")


def _refuse(parser: argparse.ArgumentParser, status: int, message: str) -> None:
    raise ValueError(message)


def commands_of(page: Path) -> list[list[str]]:
    """Arguments of each `surgsam2` command in a block of code; those with `...` left out."""
    commands = []
    for block in _FENCE.findall(page.read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.strip(), comments=True) if "surgsam2 " in line else []
            if words[:1] == ["surgsam2"] and not any(w in ("...", "…") for w in words):
                commands.append([_without_brackets(word) for word in words[1:]])
    return commands


def _without_brackets(word: str) -> str:
    """Remove the brackets of optional arguments, and keep those of lists such as ``a=[1,2]``."""
    word = word.lstrip("[")
    return word.rstrip("]") if word.count("]") > word.count("[") else word
