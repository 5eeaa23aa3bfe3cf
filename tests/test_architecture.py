"""docs/architecture.md and the contracts of import-linter say the same."""

from __future__ import annotations

import re
import sys

import pytest

from tests.conftest import REPOSITORY

if sys.version_info < (3, 11):
    pytest.skip("tomllib is part of Python from 3.11 on", allow_module_level=True)

import tomllib

PAGE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
SETTINGS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_table_of_packages_is_the_contract() -> None:
    contracts = SETTINGS["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["id"] == "layers")
    table = PAGE.partition("| package |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`[^|]*`) \|", table, re.M)
    assert [re.findall(r"`(\w+)`", row) for row in rows] == [layer.split(" | ") for layer in layers]


def test_every_package_has_its_place() -> None:
    contracts = SETTINGS["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["id"] == "layers")
    placed = {name for layer in layers for name in layer.split(" | ")}
    package = REPOSITORY / "surgsam2"
    modules = {path.stem for path in package.glob("*.py")} - {"__init__"}
    packages = {path.parent.name for path in package.glob("*/__init__.py")}
    assert placed == modules | packages
