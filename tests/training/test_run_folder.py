"""The settings of a run belong to its folder: others are refused or recorded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from surgsam2.errors import InputError, OutputError
from surgsam2.model.checkpoint import read_checkpoint
from surgsam2.training import checkpoints
from surgsam2.training.checkpoints import read_progress, save_atomically
from surgsam2.training.config import OptimizerConfig, SourceConfig, TrainConfig, ValidationConfig
from surgsam2.training.run_folder import (
    HISTORY,
    LAST,
    PROGRESS,
    add_to_history,
    check_settings,
    differences,
    remove_run,
    write_settings,
)
from surgsam2.training.stage import StageTrainer
from surgsam2.training.trainer import train

from .conftest import a_config, cpu


@pytest.fixture
def a_recipe(some_settings: dict[str, Any], tmp_path: Path) -> str:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(some_settings))
    return str(path)


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / HISTORY).read_text().splitlines()]


def a_stage(folder: Path, config: TrainConfig, file: str) -> None:
    write_settings(folder / config.name, config)
    (folder / config.name / file).touch()


CONFIG = TrainConfig(name="one")
FASTER = replace(CONFIG, optimizer=OptimizerConfig(lr=1e-3))


def test_differences_have_the_names_of_settings() -> None:
    other = replace(FASTER, epochs=3, log_every=77, workers=5)
    assert differences(CONFIG, other) == {"optimizer.lr": (5e-5, 1e-3), "epochs": (30, 3)}


def test_sources_are_compared_one_by_one(some_settings: dict[str, Any]) -> None:
    one = a_config(some_settings)
    some_settings["data"][0]["path"] = "elsewhere"
    (name,) = differences(one, a_config(some_settings))
    assert name == "data[0].path"


def test_a_source_that_only_one_run_has_is_one_difference() -> None:
    held = ValidationConfig(sources=[SourceConfig(path="held")])
    assert differences(replace(CONFIG, validation=held), CONFIG) == {
        "validation.sources[0]": ("vos=held", None)
    }
    two = [SourceConfig(path="a"), SourceConfig(kind="images", path="b")]
    assert differences(replace(CONFIG, data=two[:1]), replace(CONFIG, data=two)) == {
        "data[1]": (None, "images=b")
    }


@pytest.mark.parametrize("file", [LAST, PROGRESS])
def test_other_settings_are_refused_with_their_names(file: str, tmp_path: Path) -> None:
    a_stage(tmp_path, CONFIG, file)
    assert check_settings(tmp_path, [CONFIG]) == ({} if file == LAST else {"one": {}})
    with pytest.raises(InputError) as caught:
        check_settings(tmp_path, [replace(FASTER, seed=7)])
    assert "one: optimizer.lr is 5e-05 there and 0.001 now" in str(caught.value)
    assert "one: seed is 123 there and 7 now" in str(caught.value)
    assert "--overwrite" in str(caught.value)


def test_an_interrupted_stage_may_continue_with_other_settings(tmp_path: Path) -> None:
    a_stage(tmp_path, CONFIG, PROGRESS)
    change = {"optimizer": {"lr": 1e-3}}
    assert check_settings(tmp_path, [FASTER], change) == {"one": {"optimizer.lr": (5e-5, 1e-3)}}
    with pytest.raises(InputError, match="seed is 123 there and 7 now"):
        check_settings(tmp_path, [replace(FASTER, seed=7)], change)
    with pytest.raises(InputError, match=r"freeze\.memory cannot change within a run"):
        check_settings(tmp_path, [FASTER], {"freeze": {"memory": True}})


def test_a_finished_stage_does_not_change(tmp_path: Path) -> None:
    a_stage(tmp_path, CONFIG, LAST)
    change = {"optimizer": {"lr": 1e-3}}
    with pytest.raises(InputError, match=r"optimizer\.lr is 5e-05 there"):
        check_settings(tmp_path, [FASTER], change)
    # but the stage after it may
    two = replace(FASTER, name="two")
    assert check_settings(tmp_path, [FASTER, two], change) == {}


def test_settings_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    a_stage(tmp_path, CONFIG, LAST)
    (tmp_path / "one" / "settings.yaml").write_text("epochs: many")
    with pytest.raises(InputError, match=r"settings\.yaml: .*epochs must be int"):
        check_settings(tmp_path, [CONFIG])


def test_only_what_a_run_wrote_is_removed(tmp_path: Path) -> None:
    a_stage(tmp_path, CONFIG, LAST)
    (tmp_path / "model.pt").touch()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").touch()
    remove_run(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes"]
    remove_run(tmp_path / "absent")


def test_a_finished_run_ignores_nothing(a_recipe: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    short = {"epochs": 1, "steps": 1}
    model = train(a_recipe, out, overrides=short, device="cpu")
    assert train(a_recipe, out, overrides=short, device="cpu") == model
    missing = {"data": [{"kind": "vos", "path": "nowhere"}]}
    with pytest.raises(InputError, match=r"data\[0\]\.path is .* there and nowhere now"):
        train(a_recipe, out, overrides=short | missing, device="cpu")
    before = read_checkpoint(out / "tiny" / LAST)
    train(a_recipe, out, overrides=short | {"seed": 9}, overwrite=True, device="cpu")
    after = read_checkpoint(out / "tiny" / LAST)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert [entry["event"] for entry in history(out / "tiny")] == ["started", "ended"]


def test_a_changed_rate_counts_from_the_step_of_the_change(
    some_settings: dict[str, Any], a_recipe: str, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    out = tmp_path / "out"
    run = StageTrainer(a_config(some_settings), out / "tiny", cpu())
    forward = run._forward

    def killed_in_step_3(clips: Any, step: int) -> Any:
        if step == 2:
            raise Killed
        return forward(clips, step)

    run._forward = killed_in_step_3  # type: ignore[method-assign]
    with pytest.raises(Killed):
        run.run()
    assert read_progress(out / "tiny" / PROGRESS)["step"] == 2
    changed = {"optimizer": {"lr": 1e-3, "final_fraction": 1.0}}
    with pytest.raises(InputError, match=r"optimizer\.lr is 5e-05 there and 0.001 now"):
        train(a_recipe, out, overrides=changed, device="cpu")
    train(a_recipe, out, continue_with=changed, device="cpu")
    started, resumed, ended = history(out / "tiny")
    assert (started["event"], resumed["event"], ended["event"]) == ("started", "resumed", "ended")
    assert (resumed["step"], ended["step"]) == (2, 6)
    assert resumed["changes"]["optimizer.lr"] == [5e-5, 1e-3]
    saved = yaml.safe_load((out / "tiny" / "settings.yaml").read_text())
    assert saved["optimizer"]["lr"] == 1e-3


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch makes a RuntimeError of it."""

    def full(content: Any, file: Any) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:664] unexpected pos 64 vs 0")

    path = tmp_path / "weights.pt"
    save_atomically({"a": torch.zeros(1)}, path)
    before = path.read_bytes()
    monkeypatch.setattr(checkpoints.torch, "save", full)
    with pytest.raises(OutputError, match=r"cannot write .*weights\.pt: \[enforce fail"):
        save_atomically({"a": torch.ones(1)}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_equal_weights_are_equal_files(tmp_path: Path) -> None:
    for name in ("one.pt", "two.pt"):
        save_atomically({"a": torch.arange(9.0)}, tmp_path / name)
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


def test_the_history_grows_by_lines(tmp_path: Path) -> None:
    add_to_history(tmp_path, "started", step=0)
    add_to_history(tmp_path, "ended", step=6)
    assert [(h["event"], h["step"]) for h in history(tmp_path)] == [("started", 0), ("ended", 6)]
    with pytest.raises(OutputError, match="cannot write"):
        add_to_history(tmp_path / "absent", "started")
