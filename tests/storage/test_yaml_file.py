"""YAML of strangers is plain data, costs little, and raises nothing of PyYAML's."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgsam2.errors import InputError
from surgsam2.storage.yaml_file import parse_yaml, read_yaml, yaml_text

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ALIASES = "a: &a [x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in itertools.pairwise(LETTERS)
)
STAIRS = "a: &a0 [x]\n" + "".join(f"b{k}: &a{k + 1} [*a{k}]\n" for k in range(40))
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), max_size=20)
NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False))
WRITTEN = st.sampled_from(["1e-5", "1.5", "null", "~", "yes", "0x1f", "2001-01-01", "=", "<<", ""])
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, WRITTEN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | WRITTEN, inner, max_size=3),
    max_leaves=8,
)


@given(value=PLAIN)
def test_what_is_written_is_read(value: object) -> None:
    assert parse_yaml(yaml_text(value), "text", "value") == value


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "[" * 5000,
        ALIASES,
        STAIRS,
        "a: &a [*a]",
        "!!python/name:os.system",
        "a: 1\na: 2",
        "x" * 2000,
        "{[1]: 2}",
    ],
    ids=["cut", "deep", "aliases", "stairs", "itself", "tag", "twice", "long", "list as key"],
)
def test_refused_at_once(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(InputError, match=r"recipe\.yaml: the recipe cannot be read") as caught:
        read_yaml(path, "recipe")
    assert time.process_time() - began < 2
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_dates_stay_text() -> None:
    assert parse_yaml("a: 2001-99-99", "text", "value") == {"a": "2001-99-99"}


def test_a_few_aliases_are_read() -> None:
    text = "a: &a {x: [1]}\nb: [*a, *a]"
    assert parse_yaml(text, "text", "value")["b"] == [{"x": [1]}, {"x": [1]}]
