"""Whole runs: what changes, what must not, and that a killed run loses nothing."""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import surgsam2
from surgsam2.commands import train as command
from surgsam2.errors import CheckpointError, InputError, SurgSAM2Error
from surgsam2.model.checkpoint import read_checkpoint
from surgsam2.training.checkpoints import read_progress
from surgsam2.training.run_folder import BEST, HISTORY, LAST, MEAN, PROGRESS
from surgsam2.training.stage import DivergedError, StageTrainer
from surgsam2.training.trainer import train

from .conftest import CACHE, SIZE, a_config, a_source, cpu

FROZEN = ("image_encoder.", "sam_prompt_encoder.")


def a_recipe(settings: dict[str, Any], folder: Path) -> str:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(settings))
    return str(path)


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)


def test_only_the_published_modules_change(
    some_settings: dict[str, Any], demo_weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    some_settings["freeze"] = {"image_encoder": True}
    StageTrainer(a_config(some_settings), tmp_path, cpu()).run()
    after = read_checkpoint(tmp_path / LAST)
    frozen = [name for name in demo_weights if name.startswith(FROZEN)]
    assert len(frozen) > 100
    assert all(torch.equal(after[name], demo_weights[name]) for name in frozen)
    for name in (
        "memory_attention.layers.0.linear1.weight",
        "memory_encoder.out_proj.weight",
        "sam_mask_decoder.iou_token.weight",
        "obj_ptr_proj.layers.0.weight",
    ):
        assert not torch.equal(after[name], demo_weights[name]), name


class Killed(BaseException):
    """As SIGKILL: nothing catches it, nothing is cleaned up."""


def test_a_killed_run_reaches_the_same_weights(
    some_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in step 5 of 6, after the progress of step 4 was saved."""
    some_settings["validation"] = {"sources": some_settings["data"], "clips": 1, "frames": 3}
    config = a_config(some_settings)
    whole = StageTrainer(config, tmp_path / "whole", cpu())
    whole.run()

    run = StageTrainer(config, tmp_path / "killed", cpu())
    update = run._iteration

    def killed_in_step_5(engine: Any, batch: Any) -> Any:
        output = update(engine, batch)
        if engine.state.iteration == 5:
            raise Killed
        return output

    run._process_function = killed_in_step_5
    with pytest.raises(Killed):
        run.run()
    assert read_progress(tmp_path / "killed" / PROGRESS)["step"] == 4
    assert not (tmp_path / "killed" / LAST).exists()
    torch.manual_seed(99)  # another process has another state
    resumed = StageTrainer(config, tmp_path / "killed", cpu())
    resumed.run()
    assert same(
        read_checkpoint(tmp_path / "killed" / LAST), read_checkpoint(tmp_path / "whole" / LAST)
    )
    assert not (tmp_path / "killed" / PROGRESS).exists()
    assert resumed.evaluator is not None
    assert whole.evaluator is not None
    assert resumed.evaluator.state.best_metric == whole.evaluator.state.best_metric
    assert same(
        read_checkpoint(tmp_path / "killed" / BEST), read_checkpoint(tmp_path / "whole" / BEST)
    )


def test_a_stage_ends_early(
    some_settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At a rate of almost 0 no validation is better than that of the start."""
    caplog.set_level(logging.INFO)
    some_settings |= {"epochs": 5, "steps": 1, "optimizer": {"lr": 1e-30, "weight_decay": 0.0}}
    some_settings["validation"] = {
        "sources": some_settings["data"], "clips": 1, "frames": 2, "patience": 2,
    }  # fmt: skip
    run = StageTrainer(a_config(some_settings), tmp_path, cpu())
    run.run()
    assert run.state.iteration == 2
    assert "ends early" in caplog.text
    ended = json.loads((tmp_path / HISTORY).read_text().splitlines()[-1])
    assert (ended["event"], ended["step"]) == ("ended", 2)
    assert (tmp_path / LAST).is_file()


def test_steps_reduce_the_loss_of_a_fixed_clip(
    some_settings: dict[str, Any], tmp_path: Path
) -> None:
    some_settings |= {
        "augment": {"flip": 0, "degrees": 0, "shear": 0, "grey": 0},
        "prompts": {"points_or_box": 0, "prompted_frames": 1},
        "optimizer": {"lr": 1e-3},
        "epochs": 1,
        "steps": 12,
    }
    some_settings["data"][0] |= {"still": True, "synthetic": {**CACHE, "clips": 1}}
    some_settings["data"][0] |= {"max_objects": 16, "synthetic": {**CACHE, "clips": 1, "frames": 1}}
    run = StageTrainer(a_config(some_settings), tmp_path, cpu())
    losses = []
    update = run._iteration

    def note(engine: Any, batch: Any) -> Any:
        output = update(engine, batch)
        losses.append(output[0]["loss"])
        return output

    run._process_function = note
    run.run()
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])


def test_stages_continue_from_each_other_and_the_model_loads(
    some_settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = some_settings["data"][0]
    settings = some_settings | {
        "epochs": 1,
        "steps": 1,
        "validation": {"sources": [source], "clips": 2, "frames": 3, "prompts": ["mask", "1pt"]},
        "stages": [{"name": "one"}, {"name": "two", "data": [source | {"frames": 1}]}],
    }
    recipe = a_recipe(settings, tmp_path)
    with caplog.at_level(logging.INFO, "surgsam2.training"):
        path = train(recipe, tmp_path / "out", device="cpu")
    assert path == tmp_path / "out" / "model.pt"
    assert {t.dtype for t in torch.load(path, weights_only=True).values()} == {torch.float16}
    model = surgsam2.load_model(path, config="demo", device="cpu")
    assert model.checkpoint == path
    one = tmp_path / "out" / "one"
    assert {p.name for p in one.iterdir()} == {BEST, LAST, HISTORY, "settings.yaml", "tensorboard"}
    assert list((one / "tensorboard").iterdir())
    assert "J&F" in caplog.text
    assert f"demo from {one / LAST}" in caplog.text
    assert yaml.safe_load((one / "settings.yaml").read_text())["image_size"] == SIZE

    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*/*.pt")}
    train(recipe, tmp_path / "out", device="cpu")  # finished stages are not run again
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*/*.pt")} == before


def test_a_stage_may_end_in_a_mean(
    some_settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stages = [
        {"name": "one"},
        {"name": "two", "mean_with": {"stage": "one", "share": 0.75}},
        {"name": "three", "mean_with": {"stage": "two"}},
    ]
    recipe = a_recipe(some_settings | {"epochs": 1, "steps": 1, "stages": stages}, tmp_path)
    out = tmp_path / "out"
    with caplog.at_level(logging.INFO, "surgsam2.training"):
        model = torch.load(train(recipe, out, device="cpu"), weights_only=True)
    one, two, three = (
        torch.load(out / name / LAST, weights_only=True) for name in ("one", "two", "three")
    )
    assert any(not torch.equal(one[name], two[name]) for name in one)
    assert f"demo from {out / 'two' / MEAN}" in caplog.text  # what stage three began with
    for name, weights in model.items():
        mean = 0.75 * one[name] + 0.25 * two[name]
        torch.testing.assert_close(weights, (0.5 * mean + 0.5 * three[name]).half())


def test_a_mean_with_an_unknown_stage_is_refused(
    some_settings: dict[str, Any], tmp_path: Path
) -> None:
    stages = [{"name": "a", "mean_with": {"stage": "b"}}, {"name": "b"}]
    settings = some_settings | {"stages": stages}
    with pytest.raises(InputError, match=r"mean_with\.stage 'b' is no stage before a"):
        train(a_recipe(settings, tmp_path), tmp_path / "out")


def test_stages_of_one_name_are_refused(some_settings: dict[str, Any], tmp_path: Path) -> None:
    settings = some_settings | {"stages": [{}, {}]}
    with pytest.raises(InputError, match="stages need different names, got tiny, tiny"):
        train(a_recipe(settings, tmp_path), tmp_path / "out")


def test_gradients_that_are_not_finite_are_left_out(
    some_settings: dict[str, Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("surgsam2.training.stage._MOST_BAD_STEPS", 2)
    run = StageTrainer(a_config(some_settings), tmp_path, cpu())
    before = {k: v.clone() for k, v in run.network.state_dict().items()}
    run.network.sam_mask_decoder.iou_token.weight.register_hook(lambda g: g * float("nan"))
    with pytest.raises(DivergedError, match="no finite gradient in 2 steps"):
        run.run()
    assert "step 0: the gradient is not finite" in caplog.text
    assert same(before, run.network.state_dict())


def test_progress_of_another_network_is_refused(
    some_settings: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / PROGRESS).write_bytes(b"damaged")
    run = StageTrainer(a_config(some_settings), tmp_path, cpu())
    with pytest.raises(CheckpointError, match="cannot be resumed"):
        run.run()


def test_two_processes(some_settings: dict[str, Any], tmp_path: Path) -> None:
    """Both see clips of their own and end with the same weights."""
    recipe = a_recipe(some_settings | {"epochs": 1, "steps": 1}, tmp_path)
    script = tmp_path / "script.py"
    script.write_text(
        "import pathlib, torch\n"
        "from surgsam2.training import load_recipe\n"
        "from surgsam2.training.distributed import find_place, process_group\n"
        "from surgsam2.training.stage import StageTrainer\n"
        "place = find_place('cpu')\n"
        "with process_group(place):\n"
        f"    (config,) = load_recipe({recipe!r})\n"
        f"    run = StageTrainer(config, pathlib.Path({str(tmp_path)!r}), place)\n"
        "    torch.save(run.batches[0].images, f'{run.folder}/images{place.rank}')\n"
        "    run.run()\n"
        "    torch.save(run.network.state_dict(), f'{run.folder}/weights{place.rank}')\n"
    )
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    subprocess.run([sys.executable, *command], check=True, timeout=300)
    images = [torch.load(tmp_path / f"images{rank}", weights_only=True) for rank in range(2)]
    assert not torch.equal(*images)
    weights = [torch.load(tmp_path / f"weights{rank}", weights_only=True) for rank in range(2)]
    assert same(*weights)
    assert same(read_checkpoint(tmp_path / LAST), weights[0])


@pytest.mark.nightly
def test_two_processes_that_are_killed_reach_the_same_weights(
    some_settings: dict[str, Any], tmp_path: Path
) -> None:
    """Both are killed in step 4 of 4, after the progress of step 2 was saved."""
    recipe = a_recipe(some_settings | {"epochs": 1, "steps": 4, "save_every": 2}, tmp_path)
    script = tmp_path / "script.py"
    script.write_text(
        "import os, pathlib, sys\n"
        "from surgsam2.training import load_recipe\n"
        "from surgsam2.training.distributed import find_place, process_group\n"
        "from surgsam2.training.stage import StageTrainer\n"
        "place = find_place('cpu')\n"
        "with process_group(place):\n"
        f"    (config,) = load_recipe({recipe!r})\n"
        "    run = StageTrainer(config, pathlib.Path(sys.argv[1]), place)\n"
        "    update = run._iteration\n"
        "    def step(engine, batch):\n"
        "        if len(sys.argv) > 2 and engine.state.iteration == 4:\n"
        "            os._exit(9)\n"
        "        return update(engine, batch)\n"
        "    run._process_function = step\n"
        "    run.run()\n"
    )

    def launch(*arguments: str) -> int:
        words = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
        command = [sys.executable, *words, *arguments]
        return subprocess.run(command, check=False, timeout=600).returncode

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert launch(str(whole)) == 0
    assert launch(str(killed), "kill") != 0
    assert read_progress(killed / PROGRESS)["step"] == 2
    assert launch(str(killed)) == 0
    assert same(read_checkpoint(killed / LAST), read_checkpoint(whole / LAST))


def test_two_processes_learn_what_one_does(some_settings: dict[str, Any], tmp_path: Path) -> None:
    """With the same clips in all, and objects and prompts that do not depend on the process."""
    some_settings |= {
        "prompts": {"points_or_box": 0, "prompted_frames": 1},
        "rollout": {"dropout": 0.0},
        "epochs": 1,
        "steps": 2,
    }
    some_settings["data"][0] |= {"max_objects": 1, "batch": 1}
    two = tmp_path / "two"
    command = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node=2",
        "-m",
        "surgsam2",
    ]
    recipe = a_recipe(some_settings, tmp_path)
    words = ["train", recipe, "--device", "cpu", "--threads", "1", "--output", str(two)]
    subprocess.run([sys.executable, *command, *words], check=True, timeout=600)
    some_settings["data"][0]["batch"] = 2
    run = StageTrainer(a_config(some_settings), tmp_path / "one", cpu())
    start = {name: value.clone() for name, value in run.network.state_dict().items()}
    run.run()
    ones, twos = run.network.state_dict(), read_checkpoint(two / "tiny" / LAST)

    def norm(values: list[torch.Tensor]) -> float:
        return float(torch.cat([v.flatten().float() for v in values]).norm())

    change = norm([ones[name] - start[name] for name in start])
    difference = norm([ones[name] - twos[name] for name in start])
    assert change > 0
    assert difference < 0.02 * change


def test_from_scratch(some_settings: dict[str, Any], tmp_path: Path) -> None:
    """All parts are trained, and the presence head begins by seeing everything."""
    some_settings |= {
        "from_scratch": True,
        "presence_bias": 4.0,
        "freeze": {"image_encoder": False, "prompt_encoder": False},
        "epochs": 1,
        "steps": 1,
    }
    run = StageTrainer(a_config(some_settings), tmp_path, cpu())
    assert all(p.requires_grad for p in run.network.parameters())
    bias = run.network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias
    assert bias.item() == pytest.approx(4.0, abs=0.5)
    run.run()
    assert (tmp_path / LAST).is_file()


def parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers(required=True))
    return parser.parse_args(arguments)


def test_the_command(
    a_cache: Path, some_settings: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = some_settings | {"data": [a_source(a_cache)], "epochs": 1, "steps": 1}
    args = parsed([
        "train", a_recipe(settings, tmp_path), "--output", str(tmp_path / "out"),
        "--device", "cpu", "--set", "optimizer.lr=1e-6", "--set", "prompts.box=0",
    ])  # fmt: skip
    assert args.run(args) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out" / "model.pt")
    saved = yaml.safe_load((tmp_path / "out" / "tiny" / "settings.yaml").read_text())
    assert (saved["optimizer"]["lr"], saved["prompts"]["box"]) == (1e-6, 0.0)


def test_lists_are_settings_of_sources() -> None:
    args = parsed(["train", "finetune", "--data", "vos=D,sequences=[a,b],batch=2", "--output", "o"])
    assert command.overrides(args)["data"] == [
        {"kind": "vos", "path": "D", "sequences": ["a", "b"], "batch": 2}
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["finetune", "--set", "epochs"], "--set takes NAME=VALUE, got 'epochs'"),
        (["finetune", "--data", "clips"], "data is given as KIND=PATH"),
        (["finetune", "--data", "vos=clips,4"], "settings such as batch=2, got '4'"),
        (["finetune", "--data", "vos=clips,batches=4"], "did you mean batch"),
        (["finetune", "--data", "film=clips"], "must be one of vos, endovis17"),
        (["finetune", "--model", "demo"], "data is empty"),
        (["nothing"], "neither a .yaml file nor one of"),
        (["finetune", "--threads", "0"], "--threads must be at least 1"),
        (["finetune", "--continue-with", "lr"], "--continue-with takes NAME=VALUE, got 'lr'"),
        (["finetune", "--continue-with", "seed=1"], "seed cannot change within a run"),
        (["finetune", "--model", "demo", "--data", "vos=none"], "none has no folder JPEGImages"),
    ],
)
def test_refusals(arguments: list[str], message: str, tmp_path: Path) -> None:
    args = parsed(["train", *arguments, "--output", str(tmp_path / "out")])
    with pytest.raises(SurgSAM2Error, match=message):
        args.run(args)
    assert not (tmp_path / "out").exists()
