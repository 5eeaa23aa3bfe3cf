"""The settings of a training run, as dataclasses that a YAML file fills in.

The defaults are the published fine-tuning of SurgSAM2; a recipe states only what differs.
Unknown names and wrong types are refused with the path to the setting.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from surgsam2.data.augment import AugmentStrengths
from surgsam2.errors import InputError
from surgsam2.storage.settings import parse
from surgsam2.storage.yaml_file import read_yaml
from surgsam2.training.clip_cache import CacheConfig
from surgsam2.training.real_clips import RealClipsConfig

_RECIPES = Path(__file__).with_name("recipes")

SourceKind = Literal[
    "vos",
    "endovis17",
    "endovis18",
    "images",
    "synthetic",
    "real",
    "cholecseg8k",
    "dsad",
    "robust-mis",
    "sar-rarp50",
    "endoscapes",
]


@dataclass(frozen=True)
class SourceConfig:
    """A dataset that samples are drawn from, and how they are drawn."""

    kind: SourceKind = "vos"
    path: str = ""
    """Folder of the dataset; for `synthetic` and `real`, where their clips are stored."""
    sequences: list[str] | None = None
    """Names of the sequences to use (`vos` only); None uses all."""
    share: int = 1
    """Number of batches in a row from this source before the next source has its turn."""
    batch: int = 4
    """Number of clips per process and step."""
    frames: int = 8
    """Number of frames of a clip."""
    stride: int = 1
    """Largest distance of two drawn frames in annotated frames; the distance is random from 1."""
    still: bool = False
    """Whether one frame is repeated, which makes a video in which nothing moves."""
    max_objects: int = 3
    """Largest number of objects of a clip; of more, some are drawn."""
    min_objects: int = 1
    """Clips with fewer objects are drawn again as long as others are found."""
    min_area: float = 0.0
    """Smallest share of the first frame that an object must cover to be used."""
    reverse: float = 0.5
    """Probability that a clip runs backward in time."""
    away: float = 0.0
    """Probability that an object is made to be out of sight in some frames of a clip."""
    synthetic: CacheConfig = field(default_factory=CacheConfig)
    real: RealClipsConfig | None = None
    """For the kind `real`: the frames that clips are made of."""

    def __post_init__(self) -> None:
        for name in ("share", "batch", "frames", "stride"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"{name} of a source must be at least 1, got {getattr(self, name)}"
                )


@dataclass(frozen=True)
class PromptConfig:
    """Simulation of the user; the defaults are the published probabilities."""

    points_or_box: float = 0.5
    """Probability of points or a box; otherwise the prompt is the full mask."""
    box: float = 0.5
    """Probability of a box where the prompt is points or a box."""
    first_points: int = 1
    """Largest number of points of a first prompt (random from 1), all inside the object."""
    box_points: int = 0
    """Largest number of points beside a box (random from 0), half of them inside the object and
    half of them near it."""
    box_noise: float = 0.1
    """Standard deviation of the corners of a box in units of its sides."""
    box_noise_limit: float = 20.0
    """Largest displacement of a corner in pixels."""
    prompted_frames: int = 2
    """Largest number of frames with a first prompt (random from 1); frame 0 always has one."""
    corrected_frames: int = 2
    """Largest number of frames with correction points; prompted frames come first."""
    corrections: int = 7
    """Number of correction points on a corrected frame, given one after the other."""
    from_truth: float = 0.1
    """Probability that a correction point is drawn from the whole truth, not from the error."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss terms."""

    focal: float = 20.0
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    dice: float = 1.0
    iou: float = 1.0
    """Weight of the L1 error of the estimated IoU over all candidate masks."""
    presence: float = 1.0
    cross_entropy: float = 0.0
    """Weight of the cross entropy of the masks; from random weights the focal loss favours empty
    masks."""
    absent: float = 0.0
    """Weight of the cross entropy of the masks of objects out of sight, which are to be empty."""


@dataclass(frozen=True)
class FreezeConfig:
    """Which parts of the network keep their weights."""

    image_encoder: bool | None = None
    """None freezes the image encoder of SAM 2's networks, which was trained on many videos, and
    trains that of others."""
    prompt_encoder: bool = True
    mask_decoder: bool = False
    memory: bool = False
    """Memory attention, memory encoder, and object pointers with their projections."""
    memory_encoder: bool = False
    """The memory encoder, where the rest of the memory is trained."""
    trunk: bool = False
    """The trunk of the image encoder, where the rest of the encoder is trained."""


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its learning rate."""

    muon: bool = False
    """Whether weight matrices move by Muon's steps at the same rate; AdamW moves the rest."""
    lr: float = 5.0e-5
    final_fraction: float = 0.1
    """Fraction of `lr` to which the learning rate falls along a cosine."""
    warmup: int = 0
    """Number of steps over which the learning rate rises from 0."""
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.1
    """Weight decay; biases and norms have none."""
    layer_decay: float = 0.9
    """Factor per block on the learning rate of the image encoder's trunk, from the last block."""
    clip: float = 0.1
    """Norm of the gradient to which larger ones are scaled down."""

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise InputError(f"optimizer.lr must be above 0, got {self.lr}")


@dataclass(frozen=True)
class RolloutConfig:
    """The forward pass over clips."""

    pointer_span: int | None = None
    """Unit of the age of object pointers, in frames. None takes the length of the clip, at most
    16, as published. A network for long videos that is trained on clips of 3 frames needs 16."""
    dropout: float | None = None
    """Dropout of the memory attention; None keeps the network's own."""
    learned: int | None = None
    """Number of last frames of a clip that are learned from, besides the prompted ones. The
    others are tracked without gradients, so that long clips fit in memory. None learns from all
    frames."""
    disturbed: float = 0.0
    """Probability that the memories of frames that are not learned from hold wrong masks."""

    def __post_init__(self) -> None:
        if self.learned is not None and self.learned < 1:
            raise InputError(f"rollout.learned must be at least 1, got {self.learned}")
        if not 0 <= self.disturbed <= 1:
            raise InputError(
                f"rollout.disturbed must be a probability from 0 to 1, got {self.disturbed}"
            )


@dataclass(frozen=True)
class ValidationConfig:
    """Validation: the mean J&F over clips, tracked as in use, decides which weights are best."""

    sources: list[SourceConfig] = field(default_factory=list)
    clips: int = 10
    """Largest number of sequences of each source; the first ones are used."""
    frames: int = 30
    """Largest number of frames of a sequence."""
    prompts: tuple[str, ...] = ("mask",)
    """Kinds of prompts (mask, box, 5pt, 1pt); each object is tracked once for each of them."""
    every: int = 1
    """Number of epochs between two validations."""
    patience: int | None = None
    """Number of validations in a row without a better J&F after which the stage ends early."""

    def __post_init__(self) -> None:
        if self.every < 1 or (self.patience is not None and self.patience < 1):
            raise InputError(
                "validation.every and validation.patience must be at least 1, got "
                f"{self.every} and {self.patience}"
            )


@dataclass(frozen=True)
class MeanConfig:
    """Earlier weights with which the last weights of a stage are averaged."""

    stage: str = ""
    """Name of an earlier stage, whose final weights are used."""
    share: float = 0.5
    """Share of the earlier stage in the mean."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise InputError(f"mean_with.share must be between 0 and 1, got {self.share}")


@dataclass(frozen=True)
class TrainConfig:
    """One training run, or one stage of several."""

    name: str = "finetune"
    model: str = "demo"
    """Weights to start from: a known model or a checkpoint file."""
    network: str | None = None
    """Configuration of the network; None uses the one that belongs to `model`."""
    from_scratch: bool = False
    """Whether to start from random weights; `network` is then needed."""
    image_size: int | None = 512
    """Side of the network's square input in pixels; None uses the configuration's own."""
    pretrained_trunk: str = ""
    """From scratch: checkpoint file of the image classifier that the trunk starts from."""
    presence_bias: float | None = None
    """Value added to the random presence head, so that masks are not blanked at first."""
    data: list[SourceConfig] = field(default_factory=list)
    augment: AugmentStrengths = field(default_factory=AugmentStrengths)
    prompts: PromptConfig = PromptConfig()
    rollout: RolloutConfig = RolloutConfig()
    loss: LossConfig = LossConfig()
    freeze: FreezeConfig = FreezeConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    validation: ValidationConfig = ValidationConfig()
    patient: str = ""
    """Regular expression; what it matches in the name of a sequence is the patient. A run warns of
    patients that are trained on and validated on. Empty text compares no patients."""
    mean_with: MeanConfig | None = None
    """If given, the stage ends in the mean of its last weights and an earlier stage's."""
    epochs: int = 30
    steps: int | None = None
    """Number of steps of an epoch; None takes as many as show every sequence once."""
    save_every: int = 100
    """Number of steps between two checkpoints for resuming."""
    log_every: int = 10
    """Number of steps between two entries in the log."""
    seed: int = 123
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of autocast; auto is bfloat16 on CUDA and float32 elsewhere."""
    workers: int = 0
    """Number of processes that load data; 0 loads in the training process."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or (self.steps is not None and self.steps < 1):
            raise InputError(
                f"epochs and steps must be at least 1, got {self.epochs} and {self.steps}"
            )
        try:
            re.compile(self.patient)
        except re.error as error:
            raise InputError(
                f"patient must be a regular expression, got {self.patient!r} ({error})"
            ) from error
        if self.from_scratch and self.network is None:
            raise InputError("from_scratch needs the name of a network configuration: network")


def load_recipe(name: str, overrides: Mapping[str, Any] | None = None) -> list[TrainConfig]:
    """Read the stages of a recipe; most recipes have one.

    Args:
        name: a built-in recipe (see `recipe_names`) or a YAML file. Its top level holds the
            settings of `TrainConfig`; `stages`, where present, lists what each stage does
            differently.
        overrides: settings that win over the file's, in every stage.

    Raises:
        InputError: no such recipe, or a setting that does not exist or has a wrong type.
    """
    content = _read(name)
    stages = content.pop("stages", None) or [{}]
    if not isinstance(stages, list) or not all(isinstance(s, dict) for s in stages):
        raise InputError(f"{name}: stages must be a list of settings")
    tables = [merge(merge(content, stage), overrides or {}) for stage in stages]
    try:
        return [parse(TrainConfig, table, "") for table in tables]
    except InputError as error:
        raise InputError(f"recipe {name}: {error}") from error


def recipe_names() -> list[str]:
    """Return the names of the built-in recipes."""
    return sorted(path.stem for path in _RECIPES.glob("*.yaml"))


def _read(name: str) -> dict[str, Any]:
    """Read the settings of a built-in recipe or of a file.

    Raises:
        InputError: there is no such recipe, or it is no table of settings.
    """
    if Path(name).suffix in (".yaml", ".yml", ".json"):
        source = Path(name)
    elif name in recipe_names():
        source = _RECIPES / f"{name}.yaml"
    else:
        raise InputError(
            f"recipe {name!r} is neither a .yaml file nor one of {', '.join(recipe_names())}"
        )
    content = read_yaml(source, "recipe")
    if not isinstance(content, dict):
        raise InputError(f"{name}: a recipe is a table of settings, see docs/training.md")
    return content


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two tables of settings, at every level; values of `over` win."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged
