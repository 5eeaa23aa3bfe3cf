"""Every command of docs/own-data.md, in its order, on a small version of the data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from surgsam2 import cli
from tests.conftest import REPOSITORY
from tests.evaluation.conftest import write_vos_sequence
from tests.test_documentation import commands_of
from tests.video.helpers import write_video

SMALLER = {
    "image_size=384": "image_size=64",
    "steps=25": "steps=1",
    "epochs=8": "epochs=2",
    "vos=train,batch=1,frames=4,stride=2": "vos=train,batch=1,frames=2,stride=2",
}


def test_the_steps_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for side, name in (("train", "p01_a"), ("validate", "p07_a"), ("test", "p09_a")):
        write_vos_sequence(tmp_path / side, name, frames=3)
        first = tmp_path / side / "JPEGImages" / name / "00000.png"
        with Image.open(first) as picture:  # otherwise the sequences would be one
            picture.point([min(v + len(side), 255) for v in range(256)] * 3).save(first)
    write_video(tmp_path / "operation.mp4", 3)
    objects = [{"id": 1, "name": "tool", "prompts": [{"frame": 0, "points": [[30, 20, 1]]}]}]
    (tmp_path / "prompts.json").write_text(json.dumps({"version": 1, "objects": objects}))
    monkeypatch.chdir(tmp_path)
    commands = commands_of(REPOSITORY / "docs" / "own-data.md")
    assert [command[0] for command in commands] == [
        "evaluate", "train", "evaluate", "segment", "bundle",
    ]  # fmt: skip
    given = {word for command in commands for word in command}
    assert set(SMALLER) <= given
    for command in commands:
        words = [SMALLER.get(word, word) for word in command]
        words += ["--threads", "1"] if command[0] == "train" else []
        assert cli.main([*words, *(["--device", "cpu"] if command[0] != "bundle" else [])]) == 0
    for path in ("before/report.html", "after/report.html", "run/model.pt", "mine.zip"):
        assert (tmp_path / path).is_file()
    assert (tmp_path / "segmented" / "masks" / "00002.png").is_file()
    metadata = json.loads((tmp_path / "run" / "bundle" / "configs" / "metadata.json").read_text())
    assert metadata["training"]["validation"]["metrics"]
    assert "both sides" not in caplog.text
    assert "sequences that are trained on" not in caplog.text
