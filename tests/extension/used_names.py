"""Finds the names of Slicer, Qt, CTK and VTK that the files of the extension use."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

REPOSITORY = Path(__file__).parents[2]
ROOTS = ("slicer", "qt", "ctk", "vtk", "PyTorchUtils")


def used_names() -> dict[str, str]:
    """Return every dotted name with a file that uses it. A name ends at a call or an index."""
    found: dict[str, str] = {}
    extension = REPOSITORY / "SurgSAM2Extension"
    for path in sorted([*extension.rglob("*.py"), *(REPOSITORY / "surgsam2/mrml").rglob("*.py")]):
        for name in _names_in(ast.parse(path.read_text(encoding="utf-8"))):
            found.setdefault(name, path.name)
    for path in sorted(extension.rglob("*.ui")):
        for name in _classes_in(path):
            found.setdefault(name, path.name)
    return found


def _names_in(tree: ast.AST) -> Iterator[str]:
    aliases = {root: root for root in ROOTS}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                if _is_ours(item.name):
                    yield item.name
                    if item.asname:
                        aliases[item.asname] = item.name
        elif isinstance(node, ast.ImportFrom) and _is_ours(node.module or ""):
            for item in node.names:
                name = node.module if item.name == "*" else f"{node.module}.{item.name}"
                assert name is not None
                yield name
                aliases[item.asname or item.name] = name
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            name = _dotted(node, aliases)
            if name:
                yield name


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in ROOTS


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str:
    """Return the longest chain of plain names below a node; empty when it starts elsewhere."""
    parts: list[str] = []
    while True:
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        elif isinstance(node, ast.Name):
            start = aliases.get(node.id)
            return ".".join([start, *reversed(parts)]) if start and parts else ""
        else:  # what follows a call or an index is a method of some object
            return ""


def _classes_in(path: Path) -> Iterator[str]:
    for element in ElementTree.parse(path).getroot().iter():
        name = element.get("class", "")
        if element.tag in ("widget", "layout") and name:
            prefix = {"q": "slicer", "c": "ctk"}.get(name[0], "qt")
            yield f"{prefix}.{name}"
