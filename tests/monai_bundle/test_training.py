"""`train.json` and `multi_gpu_train.json` train as the command does and write a bundle."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import monai.bundle
import pytest
import torch
import yaml

import surgsam2
from surgsam2.model.bundle import OWN
from surgsam2.model.checkpoint import weights_sha256
from surgsam2.monai_bundle import training as workflow
from surgsam2.monai_bundle.training import RecipeTrainer
from surgsam2.training import trainer as training
from surgsam2.training.trainer import train
from tests.evaluation.conftest import write_vos_sequence
from tests.monai_bundle.conftest import CONFIGS, run_words

SETTINGS = {"prompts": {"corrections": 1}, "save_every": 2, "log_every": 1}


@pytest.fixture(scope="module")
def some_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two sequences of four frames in the layout of DAVIS."""
    folder = tmp_path_factory.mktemp("clips")
    for name in ("a", "b"):
        write_vos_sequence(folder, name, frames=4)
    return folder


def options(bundle: Path, clips: Path, output: Path) -> dict[str, Any]:
    """Return options for two steps with one clip of two frames."""
    return {
        "bundle_root": str(bundle),
        "dataset_dir": str(clips),
        "output_dir": str(output),
        "image_size": 64,
        "batch": 1,
        "frames": 2,
        "epochs": 1,
        "steps": 2,
        "learning_rate": 1e-3,
        "device": "cpu",
        "settings": SETTINGS,
    }


@pytest.fixture(scope="module")
def a_run(a_bundle: Path, some_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the output folder of `train.json`."""
    output = tmp_path_factory.mktemp("run") / "out"
    monai.bundle.run(
        config_file=str(a_bundle / "configs" / "train.json"),
        logging_file=False,
        validation_dir=str(some_clips),
        **options(a_bundle, some_clips, output),
    )
    return output


def test_the_options_reach_the_training(a_run: Path, a_bundle: Path, some_clips: Path) -> None:
    settings = yaml.safe_load((a_run / "finetune" / "settings.yaml").read_text())
    assert settings["model"] == str(a_bundle)
    assert (settings["network"], settings["image_size"]) == ("demo", 64)
    assert (settings["epochs"], settings["steps"], settings["seed"]) == (1, 2, 123)
    assert settings["optimizer"]["lr"] == 1e-3
    assert settings["optimizer"]["clip"] == 0.1
    (source,) = settings["data"]
    assert (source["path"], source["batch"], source["frames"]) == (str(some_clips), 1, 2)
    assert source["max_objects"] == 3
    assert settings["validation"]["sources"][0]["path"] == str(some_clips)
    assert (a_run / "finetune" / "best.pt").is_file()


def test_a_run_leaves_a_bundle(a_run: Path, demo_weights: dict[str, torch.Tensor]) -> None:
    model = surgsam2.load_model(a_run / "bundle", device="cpu")
    assert (model.name, model.image_size) == ("demo at 64", 64)
    trained = torch.load(a_run / "model.pt", weights_only=True)
    changed = set()
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, trained[name].float()), name
        if not torch.equal(trained[name], demo_weights[name].half()):
            changed.add(name.partition(".")[0])
    assert "memory_attention" in changed
    assert "image_encoder" in changed  # the default for networks that are not SAM 2's
    assert "sam_prompt_encoder" not in changed
    card = (a_run / "bundle" / "docs" / "README.md").read_text()
    assert "`demo` at 64x64 pixels" in card
    assert card != (OWN / "docs" / "README.md").read_text()
    metadata = json.loads((a_run / "bundle" / "configs" / "metadata.json").read_text())
    facts = metadata["training"]
    assert (facts["recipe"], facts["seed"], facts["steps"]) == ("finetune", 123, 2)
    assert facts["data"] == [{"kind": "vos"}]
    assert set(metadata["eval_metrics"]) == set(facts["validation"]["metrics"])
    assert 0 <= metadata["eval_metrics"]["J&F on the validation clips"] <= 1
    assert metadata["data_type"].startswith("to be stated")
    assert metadata["weights_sha256"] == weights_sha256(trained)


def test_the_same_weights_as_the_command(
    a_run: Path, a_bundle: Path, some_clips: Path, tmp_path: Path
) -> None:
    settings = SETTINGS | {
        "model": str(a_bundle),
        "image_size": 64,
        "data": [{"kind": "vos", "path": str(some_clips), "batch": 1, "frames": 2}],
        "epochs": 1,
        "steps": 2,
        "optimizer": {"lr": 1e-3},
        "validation": {"sources": [{"kind": "vos", "path": str(some_clips)}]},
    }
    path = train("finetune", tmp_path / "out", overrides=settings, device="cpu")
    ours = torch.load(a_run / "model.pt", weights_only=True)
    theirs = torch.load(path, weights_only=True)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_several_processes(a_bundle: Path, some_clips: Path, tmp_path: Path) -> None:
    configs = [str(a_bundle / "configs" / n) for n in ("train.json", "multi_gpu_train.json")]
    words = run_words(a_bundle, "train.json")
    words[2] = str(configs)
    for name, value in options(a_bundle, some_clips, Path("out")).items():
        words += [f"--{name}", str(value)] if name != "bundle_root" else []
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1",
         "-m", "monai.bundle", *words],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert surgsam2.load_model(tmp_path / "out" / "bundle", device="cpu").image_size == 64


def test_several_processes_need_torchrun(a_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as caught:
        monai.bundle.run(
            config_file=[str(CONFIGS / "train.json"), str(CONFIGS / "multi_gpu_train.json")],
            logging_file=False,
            **options(a_bundle, tmp_path, tmp_path / "out"),
        )
    assert "start it with torchrun" in str(caught.value.__cause__)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"dataset_dir": ""}, "dataset_dir is needed: add --dataset_dir FOLDER"),
        ({"output_dir": ""}, "output_dir is needed: add --output_dir FOLDER"),
        ({"recipe": "nothing"}, "neither a .yaml file nor one of builtin, builtin-next, finetune"),
        ({"epochs": "many"}, "epochs must be int, got 'many'"),
        ({"batch": "two"}, r"data\[0\].batch must be int, got 'two'"),
        ({"settings": {"epoch": 1}}, "unknown setting 'epoch'; did you mean epochs"),
        ({"settings": 3}, "settings must be a table as in a recipe, got 3"),
        ({"settings": {"validation": 3}}, "validation must be a table of settings, got 3"),
        ({"batch": 0}, "batch of a source must be at least 1, got 0"),
        ({"learning_rate": -1}, r"optimizer\.lr must be above 0, got -1"),
        ({"image_size": 0}, "image_size must be a multiple of 32 from 32 to 2048, got 0"),
        ({"output_dir": __file__}, "cannot write .*: Not a directory"),
        ({"kind": "film"}, r"data\[0\].kind must be one of vos, endovis17"),
    ],
)
def test_wrong_values_are_refused_by_name(
    override: dict[str, Any], message: str, a_bundle: Path, some_clips: Path, tmp_path: Path
) -> None:
    given = options(a_bundle, some_clips, tmp_path / "out") | override
    with pytest.raises(RuntimeError) as caught:
        monai.bundle.run(
            config_file=str(a_bundle / "configs" / "train.json"), logging_file=False, **given
        )
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, surgsam2.SurgSAM2Error):
        error = error.__cause__
    assert error is not None
    assert re.search(message, str(error))
    assert not (tmp_path / "out").exists()


def settings_of(monkeypatch: pytest.MonkeyPatch, **given: Any) -> dict[str, Any]:
    """Return the settings that a trainer with these arguments passes to the training."""
    calls: list[Any] = []
    monkeypatch.setattr(workflow, "train", lambda *place, **rest: calls.append((place, rest)))
    RecipeTrainer("finetune", Path("run"), device=torch.device("cpu"), **given).run()
    (((recipe, output), rest),) = calls
    assert (recipe, output, rest["device"]) == ("finetune", "run", "cpu")
    return rest["overrides"]


def test_a_trainer_as_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    found = settings_of(
        monkeypatch,
        dataset=[{"kind": "vos", "path": "clips"}],
        validation=[{"kind": "vos", "path": "held-out"}],
        max_epochs=3,
        learning_rate=1e-4,
        model="demo",
        settings={"seed": 1, "validation": {"clips": 2}, "optimizer": {"warmup": 5}},
    )
    assert found == {
        "epochs": 3,
        "model": "demo",
        "seed": 1,
        "optimizer": {"lr": 1e-4, "warmup": 5},
        "data": [{"kind": "vos", "path": "clips"}],
        "validation": {"clips": 2, "sources": [{"kind": "vos", "path": "held-out"}]},
    }


def test_a_bundle_is_trained_at_its_own_size(
    a_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings_of(monkeypatch, model=str(a_bundle))["image_size"] == 128
    assert settings_of(monkeypatch, model=str(a_bundle), image_size=64)["image_size"] == 64
    assert "image_size" not in settings_of(monkeypatch, model="sam2.1-hiera-small")


def test_data_of_ones_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [{"kind": "vos", "path": "mine"}]
    unused = [{"kind": "vos", "path": ""}]
    assert settings_of(monkeypatch, dataset=unused, settings={"data": own})["data"] == own


def test_the_bundle_of_a_run_is_replaced_by_the_next(a_run: Path) -> None:
    """A finished training is not repeated, but its model and bundle are written again."""
    before = (a_run / "bundle" / "models" / "model.pt").stat().st_mtime_ns
    path = a_run / "finetune" / "settings.yaml"
    settings = yaml.safe_load(path.read_text())
    # runs of earlier versions have this
    path.write_text(yaml.safe_dump(settings | {"network": None}))
    training.train("finetune", a_run, overrides=settings, device="cpu")
    assert (a_run / "bundle" / "models" / "model.pt").stat().st_mtime_ns > before
    assert surgsam2.load_model(a_run / "bundle", device="cpu").name == "demo at 64"
