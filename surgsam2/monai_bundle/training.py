"""The training of a bundle with MONAI's engines; it does what `surgsam2 train` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import Dataset

from surgsam2.errors import InputError
from surgsam2.model.build import load_model
from surgsam2.model.bundle import read_bundle
from surgsam2.storage.settings import parse, parse_path
from surgsam2.training.config import TrainConfig, merge
from surgsam2.training.distributed import find_place
from surgsam2.training.stage import StageTrainer
from surgsam2.training.trainer import load_stages, run_recipe
from surgsam2.training.validation import ClipEvaluator


class ClipDataset(Dataset):
    """The sources of clips as MONAI's dataset; the trainer draws the clips.

    Args:
        data: sources, as `data` in a recipe, for example `{"kind": "vos", "path": FOLDER}`.
            None as a value means the default of `SourceConfig`.

    Raises:
        InputError: `data` is no list of tables, or lists pictures as MONAI Label's app for bundles
            does.
    """

    def __init__(self, data: list[dict[str, Any]]) -> None:
        if any("image" in source for source in parse(list[dict], data, "data")):
            raise InputError(
                "data has pictures with labels one by one, as MONAI Label's app for bundles gives "
                "them; train with the app in deploy/monailabel (docs/monai-label.md), or give a "
                "folder with --dataset_dir"
            )
        super().__init__(data=data)


Sources = ClipDataset | list[dict[str, Any]] | None


def recipe_settings(
    *,
    dataset: Sources = None,
    validation: Sources = None,
    max_epochs: int | None = None,
    steps: int | None = None,
    model: str | None = None,
    image_size: int | None = None,
    optimizer: Mapping[str, Any] | None = None,
    seed: int | None = None,
    amp: bool | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the settings of a recipe that the options of a bundle give.

    Where an option is None the recipe's value counts.

    Args:
        dataset: sources to train on.
        validation: sources to choose the best weights on.
        max_epochs: number of epochs of every stage.
        steps: number of steps of an epoch.
        model: weights to start from.
        image_size: side of the network's square input in pixels; None is that of `model`
            where it is a bundle.
        optimizer: settings of the optimizer, as `optimizer` in a recipe.
        seed: decides every random number.
        amp: whether to compute in bfloat16 by autocast.
        settings: any settings, as in a recipe; they win over the options above.

    Raises:
        InputError, CheckpointError: an option has a wrong type, or `model` is a folder that is
            no bundle.
    """
    if not isinstance(settings, Mapping | None):
        raise InputError(f"settings must be a table as in a recipe, got {settings!r}")
    model = parse_path(model, "model")
    if image_size is None and model and Path(model).is_dir():
        image_size = read_bundle(Path(model)).image_size
    held_out = _sources(validation)
    precise = parse(bool | None, amp, "amp")
    options = {
        "data": _sources(dataset),
        "validation": {"sources": held_out} if held_out else None,
        "epochs": parse(int | None, max_epochs, "epochs"),
        "steps": steps,
        "model": model,
        "image_size": image_size,
        "optimizer": {k: v for k, v in (optimizer or {}).items() if v is not None} or None,
        "seed": seed,
        "dtype": None if precise is None else "bfloat16" if precise else "float32",
    }
    given = {name: value for name, value in options.items() if value is not None}
    return merge(given, settings or {})


def _sources(dataset: Sources) -> list[dict[str, Any]] | None:
    return list(dataset.data) if isinstance(dataset, ClipDataset) else dataset


class RecipeTrainer(StageTrainer):
    """MONAI's trainer for a recipe: `run` does what `surgsam2 train` does.

    Where a recipe has several stages this is the trainer of the last one; `run` runs the
    others before it. A validation is run by a `ValidationHandler` with a `ClipEvaluator`, such
    as a `RecipeEvaluator`, among the handlers.

    Args:
        recipe: a built-in recipe or a YAML file.
        output_dir: folder of the run.
        train_handlers: handlers of MONAI or Ignite.
        device: `auto`, `cpu`, `cuda:0` or `mps`.
        overwrite: whether to remove an earlier run in `output_dir` first.
        continue_with: settings with other values than an interrupted run in `output_dir` had.
        **options: see `recipe_settings`.

    Raises:
        InputError, CheckpointError: an option is wrong, or the weights cannot be loaded.
    """

    def __init__(
        self,
        recipe: str,
        output_dir: str | Path,
        *,
        train_handlers: Sequence[Any] | None = None,
        device: str | torch.device = "auto",
        overwrite: bool = False,
        continue_with: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.output_dir = str(output_dir)
        self.overwrite = parse(bool, overwrite, "overwrite")
        self.continue_with = continue_with or {}
        settings = merge(recipe_settings(**options), self.continue_with)
        self.stages = load_stages(parse(str, recipe, "recipe"), settings)
        stage = self.stages[-1]
        folder = Path(self.output_dir) / stage.name
        super().__init__(stage, folder, find_place(device), train_handlers=train_handlers)

    def run(self) -> None:  # type: ignore[override]
        """Train all stages, or resume an interrupted run, and write the model and its bundle.

        The model is `model.pt` in the folder of the run, the bundle is the folder `bundle`.

        Raises:
            InputError: no folder for the run, a source without its path, or the folder holds a
                run with other settings.
            DatasetError, DivergedError, OutputError: as `surgsam2.training.train`.
        """
        if not self.output_dir:
            raise InputError("output_dir is needed: add --output_dir FOLDER")
        if not all(source.path for source in self.config.data):
            raise InputError("dataset_dir is needed: add --dataset_dir FOLDER")
        run_recipe(
            self.stages,
            Path(self.output_dir),
            self.place,
            overwrite=self.overwrite,
            continue_with=self.continue_with,
            last=self,
        )


class RecipeEvaluator(ClipEvaluator):
    """MONAI's evaluator for the validation clips of a recipe; its key metric is J&F.

    In a training the trainer has it evaluate its own network. Alone it evaluates `model`.

    Args:
        recipe: a built-in recipe or a YAML file, whose settings for the validation count.
        model: weights to evaluate.
        val_handlers: handlers of MONAI or Ignite.
        device: `auto`, `cpu`, `cuda:0` or `mps`.
        **options: see `recipe_settings`.

    Raises:
        InputError, CheckpointError: an option is wrong, or the weights cannot be loaded.
    """

    def __init__(
        self,
        recipe: str,
        model: str,
        *,
        val_handlers: Sequence[Any] | None = None,
        device: str | torch.device = "auto",
        **options: Any,
    ) -> None:
        settings = recipe_settings(model=model, **options)
        config: TrainConfig = load_stages(parse(str, recipe, "recipe"), settings)[-1]
        loaded = load_model(config.model, config=config.network, device=str(device))
        super().__init__(config.validation, loaded, val_handlers=val_handlers)
