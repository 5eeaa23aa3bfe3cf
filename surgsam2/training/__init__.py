"""Training: the published fine-tuning of SurgSAM2, and small networks from random weights.

`config` declares every setting, `trainer` runs the stages of a recipe on MONAI's engines,
`rollout` is the differentiable forward pass over a clip, and `prompting` simulates the user.
"""

from surgsam2.training.config import TrainConfig, load_recipe, recipe_names

__all__ = ["TrainConfig", "load_recipe", "recipe_names", "train"]


def __getattr__(name: str) -> object:
    # The trainer needs MONAI and Ignite; the settings do not.
    if name == "train":
        from surgsam2.training.trainer import train

        return train
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
