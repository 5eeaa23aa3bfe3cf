"""The training of a bundle: it does what `surgsam2 train` does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from surgsam2.errors import InputError
from surgsam2.model.bundle import read_bundle
from surgsam2.storage.settings import parse, parse_path
from surgsam2.training.config import merge
from surgsam2.training.trainer import train


class RecipeTrainer:
    """A recipe that waits for `run`.

    Where an argument is None the recipe's value counts.

    Args:
        recipe: a built-in recipe or a YAML file.
        output_dir: folder of the run.
        dataset: sources to train on, as in a recipe's `data`; in them, None is the default of
            `SourceConfig`.
        validation: sources to choose the best weights on.
        max_epochs: of every stage.
        steps: of an epoch.
        model: weights to start from.
        image_size: side of the network's square input in pixels; None is that of `model`
            where it is a bundle.
        learning_rate, seed: as `optimizer.lr` and `seed` in a recipe.
        settings: any settings, as in a recipe; they win over the arguments above.

    Raises:
        InputError, CheckpointError: an argument of a wrong type, or `model` is a folder that is
            no bundle.
    """

    def __init__(
        self,
        recipe: str,
        output_dir: str | Path,
        *,
        dataset: list[dict[str, Any]] | None = None,
        validation: list[dict[str, Any]] | None = None,
        max_epochs: int | None = None,
        steps: int | None = None,
        model: str | None = None,
        image_size: int | None = None,
        learning_rate: float | None = None,
        seed: int | None = None,
        settings: Mapping[str, Any] | None = None,
        device: str | torch.device = "auto",
    ) -> None:
        self.recipe: str = parse(str, recipe, "recipe")
        self.output_dir = str(output_dir)
        self.device = str(device)
        if not isinstance(settings, Mapping | None):
            raise InputError(f"settings must be a table as in a recipe, got {settings!r}")
        model = parse_path(model, "model")
        if image_size is None and model and Path(model).is_dir():
            image_size = read_bundle(Path(model)).image_size
        own = settings or {}
        self._dataset = parse(list[dict] | None, None if "data" in own else dataset, "data")
        options = {
            "data": dataset,
            "validation": None if validation is None else {"sources": validation},
            "epochs": parse(int | None, max_epochs, "epochs"),
            "steps": steps,
            "model": model,
            "image_size": image_size,
            "optimizer": None if learning_rate is None else {"lr": learning_rate},
            "seed": seed,
        }
        given = {name: value for name, value in options.items() if value is not None}
        self.settings = merge(given, own)

    def run(self) -> Path:
        """Train, or go on with an interrupted run.

        Returns:
            Path of the model; the folder `bundle` beside it is the same model as a bundle.

        Raises:
            InputError: no folder for the run, or a source without its path.
        """
        if not self.output_dir:
            raise InputError("output_dir is needed: add --output_dir FOLDER")
        if not all(source.get("path") for source in self._dataset or []):
            raise InputError("dataset_dir is needed: add --dataset_dir FOLDER")
        return train(self.recipe, self.output_dir, overrides=self.settings, device=self.device)
