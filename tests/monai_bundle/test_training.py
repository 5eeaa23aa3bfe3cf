"""`train.json` and `multi_gpu_train.json` train as the command does and write a bundle."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import monai.bundle
import pytest
import torch
import yaml
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow, create_workflow
from monai.bundle.utils import DEFAULT_HANDLERS_ID
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems
from monai.fl.utils.exchange_object import ExchangeObject
from monai.handlers import from_engine

import surgsam2
from surgsam2.model.bundle import OWN
from surgsam2.model.checkpoint import weights_sha256
from surgsam2.monai_bundle.training import ClipDataset, recipe_settings
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
        ({"recipe": "nothing"}, "neither a .yaml file nor one of finetune, generated, lite"),
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


def test_options_become_settings() -> None:
    found = recipe_settings(
        dataset=[{"kind": "vos", "path": "clips"}],
        validation=ClipDataset([{"kind": "vos", "path": "held-out"}]),
        max_epochs=3,
        optimizer={"lr": 1e-4, "clip": None},
        model="demo",
        amp=True,
        settings={"seed": 1, "validation": {"clips": 2}, "optimizer": {"warmup": 5}},
    )
    assert found == {
        "epochs": 3,
        "model": "demo",
        "seed": 1,
        "dtype": "bfloat16",
        "optimizer": {"lr": 1e-4, "warmup": 5},
        "data": [{"kind": "vos", "path": "clips"}],
        "validation": {"clips": 2, "sources": [{"kind": "vos", "path": "held-out"}]},
    }


def test_a_bundle_is_trained_at_its_own_size(a_bundle: Path) -> None:
    assert recipe_settings(model=str(a_bundle))["image_size"] == 128
    assert recipe_settings(model=str(a_bundle), image_size=64)["image_size"] == 64
    assert "image_size" not in recipe_settings(model="sam2.1-hiera-small")


def test_data_of_ones_own_settings() -> None:
    own = [{"kind": "vos", "path": "mine"}]
    unused = [{"kind": "vos", "path": ""}]
    assert recipe_settings(dataset=unused, settings={"data": own})["data"] == own


def test_a_recipe_of_several_stages(a_bundle: Path, some_clips: Path, tmp_path: Path) -> None:
    """The trainer is that of the last stage, which begins where the first one ended."""
    given = options(a_bundle, some_clips, tmp_path / "out")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"stages": [{"name": "one"}, {"name": "two", "epochs": 1}]}))
    monai.bundle.run(
        config_file=str(a_bundle / "configs" / "train.json"),
        logging_file=False,
        recipe=str(recipe),
        **given | {"steps": 1},
    )
    one, two = (
        torch.load(tmp_path / "out" / n / "last.pt", weights_only=True) for n in ("one", "two")
    )
    assert any(not torch.equal(one[name], two[name]) for name in one)
    separate = tmp_path / "separate"
    settings = yaml.safe_load((tmp_path / "out" / "two" / "settings.yaml").read_text())
    train(str(recipe), separate, overrides={k: v for k, v in settings.items() if k != "name"})
    again = torch.load(separate / "two" / "last.pt", weights_only=True)
    assert all(torch.equal(again[name], two[name]) for name in two)


def a_workflow(bundle: Path, clips: Path, output: Path, **more: Any) -> ConfigWorkflow:
    return create_workflow(
        config_file=str(bundle / "configs" / "train.json"),
        workflow_type="train",
        logging_file=False,
        validation_dir=str(clips),
        **options(bundle, clips, output) | more,
    )


def test_monais_engines(a_bundle: Path, some_clips: Path, tmp_path: Path) -> None:
    """Overrides and tracking as in other bundles of the model zoo."""
    marks = tmp_path / "marks"
    tracking = {
        "handlers_id": DEFAULT_HANDLERS_ID,
        "configs": {
            "save_execute_config": False,
            "trainer": {"_target_": "tests.monai_bundle.test_training.Mark", "folder": str(marks)},
            "validator": {
                "_target_": "tests.monai_bundle.test_training.Mark",
                "folder": str(marks),
            },
        },
    }
    settings = tmp_path / "tracking.json"
    settings.write_text(json.dumps(tracking))
    made = a_workflow(
        a_bundle, some_clips, tmp_path / "out",
        **{"optimizer#lr": 2e-4, "train#handlers#1#_disabled_": True, "tracking": str(settings)},
    )  # fmt: skip
    made.initialize()
    assert isinstance(made.trainer, SupervisedTrainer)
    assert isinstance(made.evaluator, SupervisedEvaluator)
    assert made.train_dataset_data[0]["path"] == str(some_clips)
    assert made.check_properties() == []
    made.run()
    assert made.trainer.evaluator is made.evaluator
    assert made.evaluator.network is made.trainer.network
    loss = from_engine(["loss"], first=True)(made.trainer.state.output)
    assert isinstance(loss, float)  # as handlers of MONAI take it
    for name in made.evaluator.state.metrics:
        assert re.fullmatch(r"[\w\-. :/]+", name), f"MLflow refuses the name {name}"
    assert sorted(p.name for p in marks.iterdir()) == ["RecipeEvaluator", "RecipeTrainer"]
    saved = yaml.safe_load((tmp_path / "out" / "finetune" / "settings.yaml").read_text())
    assert saved["optimizer"]["lr"] == 2e-4
    assert (tmp_path / "out" / "finetune" / "best.pt").is_file()


class Mark:
    """A handler that leaves a file with the name of the engine when it starts."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.STARTED, self._mark)

    def _mark(self, engine: Engine) -> None:
        self._folder.mkdir(exist_ok=True)
        (self._folder / type(engine).__name__).touch()


def test_monai_labels_app_for_bundles_is_told_of_the_other_one(
    a_bundle: Path, some_clips: Path, tmp_path: Path
) -> None:
    """It overrides the data with pairs and adds a `CheckpointLoader` for `@network`."""
    made = a_workflow(
        a_bundle, some_clips, tmp_path / "out",
        **{
            "train#dataset#data": [{"image": "a.png", "label": "b.png"}],
            "train#trainer#max_epochs": 1,
            "train#handlers": [{
                "_target_": "CheckpointLoader",
                "load_path": str(a_bundle / "models" / "model.pt"),
                "load_dict": {"model": "$@network"},
            }],
        },
    )  # fmt: skip
    with pytest.raises(RuntimeError) as caught:
        made.run()
    assert "train with the app in deploy/monailabel" in "".join(
        traceback.format_exception(caught.value)
    )


def test_two_sites_learn_together(a_bundle: Path, some_clips: Path, tmp_path: Path) -> None:
    """One round of federated learning: each site trains, their mean is evaluated."""
    sites = []
    for number, name in enumerate(("one", "two")):
        given = options(a_bundle, some_clips, tmp_path / name) | {"seed": number, "steps": 1}
        del given["bundle_root"], given["epochs"]
        kwargs = given | {"validation_dir": str(some_clips), "tracking": None}
        site = MonaiAlgo(
            bundle_root=str(a_bundle), train_kwargs=dict(kwargs), eval_kwargs=dict(kwargs)
        )
        site.initialize({ExtraItems.CLIENT_NAME: name})
        sites.append(site)
    assert sites[0].trainer is not None
    shared = {k: v.clone() for k, v in sites[0].trainer.network.state_dict().items()}
    for site in sites:
        site.train(ExchangeObject(weights={k: v.numpy() for k, v in shared.items()}))
    changes = [site.get_weights().weights for site in sites]
    assert any(not torch.equal(changes[0][k], changes[1][k]) for k in changes[0])
    mean = {k: (v + (changes[0][k] + changes[1][k]) / 2).numpy() for k, v in shared.items()}
    metrics = sites[0].evaluate(ExchangeObject(weights=mean)).metrics
    assert 0 <= metrics["J and F"] <= 1


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
