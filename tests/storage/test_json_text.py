"""JSON of strangers raises ValueError and nothing else."""

from __future__ import annotations

import pytest

from surgsam2.storage.json_text import parse_json


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"a":' * 200_000, "9" * 5000, b"\xff\xfe\x00", b"\x80", "", "{]"],
    ids=["deep list", "deep table", "digits", "UTF-16 cut", "no text", "nothing", "wrong"],
)
def test_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        parse_json(text)
    assert isinstance(caught.value, ValueError)


def test_pairs_keep_their_order() -> None:
    assert parse_json('{"b": 1, "a": 2, "b": 3}', list) == [("b", 1), ("a", 2), ("b", 3)]
