"""What the bundle's `train.json` names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from surgsam2.training import bundle


def test_settings_reach_the_trainer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[Any] = []

    def note(recipe: str, output: Path, **settings: Any) -> Path:
        calls.append((recipe, output, settings))
        return output / "model.pt"

    monkeypatch.setattr(bundle, "train", note)
    parser = ConfigParser(
        {
            "trainer": {
                "_target_": "surgsam2.training.bundle.RecipeTrainer",
                "recipe": "finetune",
                "output_dir": str(tmp_path),
                "dataset": [{"kind": "vos", "path": "clips"}],
                "validation": [{"kind": "vos", "path": "held-out"}],
                "max_epochs": 3,
                "settings": {"image_size": 256, "validation": {"clips": 2}},
                "device": "cpu",
            }
        }
    )
    trainer = parser.get_parsed_content("trainer")
    assert trainer.run() == tmp_path / "model.pt"
    ((recipe, output, rest),) = calls
    assert (recipe, output, rest["device"]) == ("finetune", tmp_path, "cpu")
    assert rest["overrides"] == {
        "image_size": 256,
        "epochs": 3,
        "data": [{"kind": "vos", "path": "clips"}],
        "validation": {"clips": 2, "sources": [{"kind": "vos", "path": "held-out"}]},
    }
