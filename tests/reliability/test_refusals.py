"""The table of refusals in the documentation is that of the source."""

from __future__ import annotations

import re

from tests.reliability.refusals import ROOT, documented, key, refusals


def test_every_refusal_is_documented() -> None:
    assert documented().keys() == {key(item) for item in refusals()}, (
        "the messages have changed; run python -m tests.reliability.refusals (see there)"
    )


def test_the_tests_that_it_names_exist() -> None:
    for test in documented().values():
        if test == "none":
            continue
        match = re.fullmatch(r"`(.*\.py)` (?:(\w+)\.)?(\w+)", test)
        assert match is not None, test
        file, group, function = match.groups()
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert re.search(rf"^\s*def {function}\(", source, re.M), test
        assert group is None or f"class {group}" in source, test
