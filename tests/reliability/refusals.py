"""Every message with which the package refuses something, found in its source.

The table in ``docs/notes/refusals.md`` is made from it. After messages have changed, write
the table again:

    python -m tests.reliability.refusals [RECORD.json ...]

A message that was in the table keeps its test. The tests of new messages come from records
of test runs:

    python -m pytest -p tests.reliability.refusals --record-refusals RECORD.json TESTS
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surgsam2 import errors

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "surgsam2"
DOCUMENT = ROOT / "docs" / "notes" / "refusals.md"
PACKAGES = ("video", "prompts", "model", "tracking", "outputs", "job", "storage")
BEGIN, END = "<!-- refusals: begin -->", "<!-- refusals: end -->"
_CLASSES = {
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.SurgSAM2Error)
}
_REFUSE = "refuse"  # prompts.checks: (place, text)


@dataclass(frozen=True)
class Refusal:
    """One place in the source that makes an error."""

    file: Path
    first: int
    last: int
    """Lines of the call."""
    error: str
    """Name of the class."""
    message: str
    """With ``…`` for what is filled in."""


def refusals() -> Iterator[Refusal]:
    """All of them, in the order of files and lines; messages that only pass another on left out."""
    for path in (p for name in PACKAGES for p in sorted((PACKAGE / name).rglob("*.py"))):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            name, text = node.func.id, None
            if name in _CLASSES and node.args:
                text = node.args[0]
            elif name == _REFUSE and len(node.args) == 2:
                name, text = "PromptError", node.args[1]
            message = _template(text) if text is not None else ""
            if re.search(r"[a-z]{2}", message):
                yield Refusal(path, node.lineno, node.end_lineno or 0, name, message)


def _template(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return re.sub("…+", "…", "".join(_template(part) for part in node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _template(node.left) + _template(node.right)
    return "…"


def table(tests: dict[str, str]) -> str:
    """The rows of the document: error, message, test; each message once."""
    rows = ["| error | message | test |", "|---|---|---|"]
    seen = set()
    for item in refusals():
        if (item.error, item.message) not in seen:
            seen.add((item.error, item.message))
            text = " ".join(item.message.split()).replace("|", "\\|")
            rows.append(f"| `{item.error}` | {text} | {tests.get(key(item), 'none')} |")
    return "\n".join(rows)


def key(item: Refusal) -> str:
    """Names a refusal in a record of tests."""
    return f"{item.error}: {' '.join(item.message.split())}"


def documented() -> dict[str, str]:
    """Test of each refusal of the document, by its key."""
    text = DOCUMENT.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", text, re.M)
    return {f"{error}: {what}".replace("\\|", "|"): test for error, what, test in rows}


# as a pytest plugin


def pytest_addoption(parser: Any) -> None:
    parser.addoption("--record-refusals", metavar="FILE")


def pytest_configure(config: Any) -> None:
    target = config.getoption("--record-refusals")
    if target:
        config.pluginmanager.register(_Recorder(Path(target)))


class _Recorder:
    """Notes for each message the first test in which it is made."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.current = ""
        self.found: dict[str, str] = {}
        self.places = {
            (str(item.file), line): key(item)
            for item in refusals()
            for line in range(item.first, item.last + 1)
        }
        kinds = [getattr(errors, name) for name in _CLASSES]
        # all looked up before the first is replaced: they inherit from each other
        originals = [kind.__new__ for kind in kinds]
        for kind, original in zip(kinds, originals, strict=True):
            kind.__new__ = self._watching(original)

    def _watching(self, original: Any) -> Any:
        def make(cls: type, *arguments: object) -> object:
            frame = sys._getframe(1)
            while frame.f_code.co_name == _REFUSE and frame.f_back is not None:
                frame = frame.f_back
            place = self.places.get((frame.f_code.co_filename, frame.f_lineno))
            if place is not None and self.current:
                self.found.setdefault(place, self.current)
            return original(cls, *arguments)

        return make

    def pytest_runtest_call(self, item: Any) -> None:
        self.current = item.nodeid.partition("[")[0]

    def pytest_sessionfinish(self) -> None:
        self.target.write_text(json.dumps(self.found, indent=1, ensure_ascii=False))


def main() -> None:
    """Write the table into the document."""
    tests = documented()
    for name in sys.argv[1:]:
        for message, test in json.loads(Path(name).read_text()).items():
            file, _, function = test.partition("::")
            tests[message] = f"`{file.removeprefix('tests/')}` {function.replace('::', '.')}"
    text = DOCUMENT.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    DOCUMENT.write_text(f"{head}{BEGIN}\n\n{table(tests)}\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
