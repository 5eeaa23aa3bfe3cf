"""YAML files as plain data: numbers, text, true, false, null, lists and tables.

Tags, aliases, merged tables and dates are refused or stay text. A small file therefore needs
little memory, and no value raises an error of another library.
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
        return yaml.load(content.decode("utf-8"), _PlainLoader)
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: the {what} cannot be read ({reason[:_LONGEST_REASON]})"
        ) from error


class _PlainLoader(yaml.SafeLoader):
    """A loader that refuses everything that `read_yaml` does not return."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("YAML aliases are not accepted: they can grow without bound")
        if event.tag is not None:
            raise ValueError("YAML tags are not accepted")
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > LONGEST:
            raise ValueError(f"a value has more than {LONGEST} characters")
        self.depth += 1
        if self.depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} lists and tables lie within each other")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

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
