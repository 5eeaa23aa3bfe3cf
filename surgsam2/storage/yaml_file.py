"""YAML files as plain data: numbers, text, true, false, null, lists and tables.

Tags, merged tables and dates are refused or stay text, and what aliases repeat is counted. A small
file therefore needs little memory, and no value raises an error of another library.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from surgsam2.errors import InputError

MOST_BYTES = 2**16
"""Largest size of a file in bytes. Reading it takes two seconds at worst."""
DEEPEST = 32
"""Largest number of lists and tables within each other."""
LONGEST = 1000
"""Largest number of characters of one value or key."""
MOST_VALUES = 50_000
"""Largest number of values, lists and tables, those that aliases repeat included."""
_LONGEST_REASON = 300  # number of characters of a reason in a message


def read_yaml(path: Path, what: str) -> Any:
    """Return the content of a YAML file.

    Args:
        path: the file.
        what: the word for such a file in messages, for example "config".

    Returns:
        `dict`, `list`, `str`, `int`, `float`, `bool` or None, nested at most `DEEPEST` deep.

    Raises:
        InputError: the file is missing, too long, not UTF-8 or not plain YAML; the message
            names the file and the reason.
    """
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait
            raise ValueError("it is not a file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES} bytes")
    except (OSError, ValueError) as error:
        raise _refused(path, what, error) from error
    return parse_yaml(content, path, what)


def parse_yaml(content: str | bytes, where: object, what: str) -> Any:
    """Return the content of YAML text of which at most `MOST_BYTES` are given.

    Args:
        content: the text, or its bytes in UTF-8.
        where: the place of the text for messages, such as its file.
        what: the word for such a text in messages.

    Returns:
        The same as `read_yaml`.

    Raises:
        InputError: the text is not UTF-8 or not plain YAML.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        return yaml.load(text, _PlainLoader)
    except (ValueError, yaml.YAMLError) as error:
        raise _refused(where, what, error) from error


def yaml_text(value: Any) -> str:
    """Return plain data as YAML text from which `parse_yaml` makes equal data.

    Args:
        value: `dict`, `list`, `str`, `int`, `float`, `bool` or None, nested.
    """
    return yaml.dump(value, Dumper=_PlainDumper, sort_keys=False)


def _refused(where: object, what: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:_LONGEST_REASON]
    return InputError(f"{where}: the {what} cannot be read ({reason})")


class _PlainLoader(yaml.SafeLoader):
    """A loader that refuses everything that `read_yaml` does not return."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._deepest = 0  # of what the node that is being read holds so far
        self._count = 0  # of values, lists and tables so far
        self._anchors: dict[str, tuple[int, int]] = {}  # their number and depth for each anchor

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise ValueError(f"the alias {event.anchor[:50]!r} stands for nothing before it")
            self._add(*self._anchors[event.anchor])
            return super().compose_node(parent, index)
        if event.tag is not None:
            raise ValueError("YAML tags are not accepted")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > LONGEST:
            raise ValueError(f"a value has more than {LONGEST} characters")
        count, deepest = self._count, self._deepest
        self._depth, self._deepest = self._depth + 1, 0
        self._add(1, 0)
        node = super().compose_node(parent, index)
        if event.anchor is not None:
            self._anchors[event.anchor] = self._count - count, self._deepest - self._depth + 1
        self._depth, self._deepest = self._depth - 1, max(deepest, self._deepest)
        return node

    def _add(self, count: int, depth: int) -> None:
        """Count values that lie up to `depth` lists and tables below the present one."""
        self._count += count
        self._deepest = max(self._deepest, self._depth + depth)
        if self._count > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES} values, repeated ones included")
        if self._deepest > DEEPEST:
            raise ValueError(f"more than {DEEPEST} lists and tables lie within each other")

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            raise ValueError("a table has the same key twice")
        return super().construct_mapping(node, deep)


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in forms if tag.rpartition(":")[2] in ("null", "bool", "int")]
    for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# Unlike PyYAML's own resolver this one takes 1e-6 for a number, as sam2's configurations do.
_PlainLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"[-+]?(\d[\d_]*\.[\d_]*|\.\d[\d_]*|\d[\d_]*(?=[eE]))([eE][-+]?\d+)?$"
        r"|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$",
        re.ASCII,
    ),
    list("-+0123456789."),
)


class _PlainDumper(yaml.SafeDumper):
    """A dumper that quotes each text that `_PlainLoader` would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write what occurs several times as often as it occurs."""
        return True


_PlainDumper.yaml_implicit_resolvers = _PlainLoader.yaml_implicit_resolvers
