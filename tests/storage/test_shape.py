"""Plain data is checked before it is used."""

from __future__ import annotations

from typing import Any

import pytest

from surgsam2.storage.shape import check_shape

SUMMARY = {"status": str, "videos": [{"output": str, "frames?": int}], "seconds": float}


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ("a", str), (1, int), (1, float), (1.5, float), (True, bool), ([1, "a"], list),
        ({"a": 1}, dict), (None, None), (None, (str, None)), ("a", (str, None)), ([], [int]),
        ({}, {str: int}), ({"a": 1, "b": 2}, {str: int}),
        ({"status": "", "videos": [{"output": "a"}], "seconds": 1, "more": 2}, SUMMARY),
        ({"status": "", "videos": [{"output": "a", "frames": 3}], "seconds": 0.5}, SUMMARY),
    ],
)  # fmt: skip
def test_right_shapes(value: Any, shape: Any) -> None:
    check_shape(value, shape)


@pytest.mark.parametrize(
    ("value", "shape", "message"),
    [
        (1, str, "the content must be text, got 1"),
        (True, int, "must be a whole number, got True"),
        (1.0, int, "must be a whole number, got 1.0"),
        (float("inf"), float, "must be a number, got inf"),
        (float("nan"), float, "must be a number, got nan"),
        (0, bool, "must be true or false, got 0"),
        (1, (str, None), "must be text or null, got 1"),
        ([1, "a"], [int], "entry 1 of the content must be a whole number, got 'a'"),
        ({}, [int], "must be a list, got {}"),
        ([], SUMMARY, r"must be a table, got \[\]"),
        ({"a": "b"}, {str: int}, "'a' in the content must be a whole number"),
        ({"status": "", "videos": []}, SUMMARY, "the content has no 'seconds'"),
        (
            {"status": "", "videos": [{"output": 1}], "seconds": 1}, SUMMARY,
            "'output' in entry 0 of 'videos' in the content must be text, got 1",
        ),
        ({"status": "", "videos": [None], "seconds": 1}, SUMMARY, "entry 0 of 'videos'"),
        (["x" * 10_000], [int], f"got '{'x' * 59}\\.\\.\\.$"),
    ],
)  # fmt: skip
def test_wrong_shapes(value: Any, shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_shape(value, shape)
