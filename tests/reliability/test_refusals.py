"""The table of refusals in the documentation is that of the source."""

from __future__ import annotations

import re

from tests.reliability.refusals import BEGIN, DOCUMENT, END, ROOT, table

ROW = re.compile(r"\| (?P<what>`\w+` \| .*) \| (?P<test>.*) \|")


def rows(text: str) -> dict[str, str]:
    matches = [match for line in text.splitlines() if (match := ROW.fullmatch(line))]
    return {match["what"]: match["test"] for match in matches}


def documented() -> dict[str, str]:
    return rows(DOCUMENT.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0])


def test_every_refusal_is_documented() -> None:
    assert documented().keys() == rows(table({})).keys(), (
        "the messages have changed; record the tests again and run "
        "python -m tests.reliability.refusals (see there)"
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
