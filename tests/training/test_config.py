"""Recipes: the published numbers, YAML in, clear refusals."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from surgsam2.errors import InputError
from surgsam2.training.config import TrainConfig, load_recipe, recipe_names
from surgsam2.training.freezing import resolve_freezing


def test_defaults_are_the_published_recipe() -> None:
    (config,) = load_recipe("finetune")
    assert config.model == "sam2.1-hiera-small-512"
    assert config.image_size == 512
    freezing = resolve_freezing(config.freeze, config.model)
    assert (freezing.image_encoder, freezing.prompt_encoder) == (True, True)
    assert (config.freeze.mask_decoder, config.freeze.memory) == (False, False)
    assert (config.loss.focal, config.loss.dice, config.loss.iou, config.loss.presence) == (
        20, 1, 1, 1,
    )  # fmt: skip
    optimizer = config.optimizer
    assert (optimizer.lr, optimizer.final_fraction, optimizer.weight_decay) == (5e-5, 0.1, 0.1)
    assert (optimizer.clip, optimizer.layer_decay) == (0.1, 0.9)
    prompts = config.prompts
    assert (prompts.points_or_box, prompts.box, prompts.corrections) == (0.5, 0.5, 7)
    assert prompts.from_truth == 0.1
    assert config.epochs == 30


@pytest.mark.parametrize("name", recipe_names())
def test_every_built_in_recipe_is_valid(name: str) -> None:
    stages = load_recipe(name)
    assert all(isinstance(stage, TrainConfig) for stage in stages)
    assert len({stage.name for stage in stages}) == len(stages)


def test_stages_state_their_differences(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "epochs: 2\noptimizer: {lr: 1e-3, clip: 1}\n"
        "data: [{kind: vos, path: a}]\n"
        "stages:\n- name: one\n- name: two\n  epochs: 3\n  optimizer: {lr: 2.0e-4}\n"
    )
    one, two = load_recipe(str(path))
    assert (one.name, one.epochs, one.optimizer.lr, one.optimizer.clip) == ("one", 2, 1e-3, 1.0)
    assert (two.name, two.epochs, two.optimizer.lr, two.optimizer.clip) == ("two", 3, 2e-4, 1.0)
    assert two.data[0].path == "a"


def test_overrides_win_in_every_stage(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("stages: [{name: one, epochs: 2}, {name: two}]\n")
    stages = load_recipe(str(path), {"epochs": 7, "prompts": {"box": 1}})
    assert [(s.epochs, s.prompts.box) for s in stages] == [(7, 1.0)] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimizer: {lrr: 1}", r"unknown setting 'optimizer\.lrr'; did you mean lr"),
        ("epochs: many", "epochs must be int, got 'many'"),
        ("epochs: 0", "epochs and steps must be at least 1"),
        ("rollout: {learned: 0}", "rollout.learned must be at least 1"),
        ("epochs: true", "epochs must be int, got True"),
        ("data: [{kind: video}]", r"data\[0\]\.kind must be one of vos, endovis17"),
        ("data: {kind: vos}", "data must be list"),
        ("augment: {flip: 2}", "flip must be a probability, got 2"),
        ("augment: {size: 64}", r"unknown setting 'augment\.size'"),
        ("loss: 3", "loss must be a table of settings, got 3"),
        ("- a", "a recipe is a table of settings"),
        ("a: [", "the recipe cannot be read"),
        ("from_scratch: true", "from_scratch needs the name of a network configuration"),
        ("stages: 3", "stages must be a list"),
        ("mean_with: {stage: a, share: 1}", "mean_with.share must be between 0 and 1, got 1"),
    ],
)
def test_refusals(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_recipe(str(path))
    with pytest.raises(InputError, match=re.escape(str(path))):
        load_recipe(str(path))


def test_unknown_recipe() -> None:
    with pytest.raises(InputError, match=r"file nor one of finetune, generated, lite"):
        load_recipe("published")
