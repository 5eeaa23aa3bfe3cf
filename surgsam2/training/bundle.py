"""The object that the MONAI bundle's `train.json` names; it holds no logic of its own.

One process or, under `torchrun`, several: `train` finds out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from surgsam2.training.trainer import train


class RecipeTrainer:
    """A recipe that waits for `run`.

    Args:
        recipe: a built-in recipe or a YAML file.
        output_dir: folder of the run.
        dataset: list of sources to train on, as in a recipe's `data`; None for the recipe's.
        validation: list of sources to choose the best weights on.
        max_epochs: of every stage; None for the recipe's.
        settings: any other settings, as in a recipe.
    """

    def __init__(
        self,
        recipe: str,
        output_dir: str | Path,
        *,
        dataset: list[dict[str, Any]] | None = None,
        validation: list[dict[str, Any]] | None = None,
        max_epochs: int | None = None,
        settings: Mapping[str, Any] | None = None,
        device: str = "auto",
    ) -> None:
        self.recipe = recipe
        self.output_dir = Path(output_dir)
        self.device = device
        self.settings: dict[str, Any] = dict(settings or {})
        if dataset is not None:
            self.settings["data"] = dataset
        if validation is not None:
            scored = {**self.settings.get("validation", {}), "sources": validation}
            self.settings["validation"] = scored
        if max_epochs is not None:
            self.settings["epochs"] = max_epochs

    def run(self) -> Path:
        """Train, or go on with an interrupted run; returns the model's path."""
        return train(self.recipe, self.output_dir, overrides=self.settings, device=self.device)
