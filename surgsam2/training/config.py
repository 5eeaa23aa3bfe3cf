"""Every number of a training run, as dataclasses that a YAML file fills in.

The defaults are the published fine-tuning recipe of SurgSAM2; a recipe file states what
it does differently. Unknown names and wrong types are refused with the path to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

from surgsam2.errors import InputError
from surgsam2.storage.settings import parse
from surgsam2.training.clip_cache import CacheConfig

SourceKind = Literal["vos", "endovis17", "endovis18", "images", "synthetic"]


@dataclass(frozen=True)
class SourceConfig:
    """A place that samples come from, and how they are drawn."""

    kind: SourceKind = "vos"
    path: str = ""
    """Folder of the dataset; of `synthetic`, where its clips are kept."""
    sequences: list[str] | None = None
    """Names to use (`vos` only); None for all."""
    share: int = 1
    """Batches in a row from this source before the next one has its turn."""
    batch: int = 4
    """Clips per process and step."""
    frames: int = 8
    stride: int = 1
    """Largest distance of two drawn frames, in annotated frames; 1 to this at random."""
    still: bool = False
    """Repeat one frame instead: a video in which nothing moves."""
    max_objects: int = 3
    min_objects: int = 1
    """Clips with fewer are drawn again, as long as others are found."""
    min_area: float = 0.0
    """Objects that cover less of the first frame are left out."""
    reverse: float = 0.5
    """Probability that time runs backwards."""
    synthetic: CacheConfig = field(default_factory=CacheConfig)

    def __post_init__(self) -> None:
        for name in ("share", "batch", "frames", "stride"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"{name} of a source must be at least 1, got {getattr(self, name)}"
                )


@dataclass(frozen=True)
class AugmentConfig:
    """See `surgsam2.data.Augmentation`."""

    flip: float = 0.5
    degrees: float = 25.0
    shear: float = 20.0
    zoom: float = 1.0
    brightness: float = 0.1
    contrast: float = 0.03
    saturation: float = 0.03
    grey: float = 0.05


@dataclass(frozen=True)
class PromptConfig:
    """How a user is simulated; the defaults are the published probabilities."""

    points_or_box: float = 0.5
    """Probability of points or a box; else the prompt is the full mask."""
    box: float = 0.5
    """Probability of a box where the prompt is points or a box."""
    first_points: int = 1
    """Most points of a first prompt (1 to this many at random), all inside the object."""
    box_noise: float = 0.1
    """Standard deviation of the box's corners in units of its sides."""
    box_noise_limit: float = 20.0
    """Most that a corner moves, in pixels."""
    prompted_frames: int = 2
    """Most frames with a first prompt (1 to this many at random); frame 0 always is."""
    corrected_frames: int = 2
    """Most frames with correction points, the prompted ones first among them."""
    corrections: int = 7
    """Correction points on a corrected frame, one after the other."""
    from_truth: float = 0.1
    """Probability that a correction point comes from the whole truth, not from the error."""


@dataclass(frozen=True)
class LossConfig:
    """Weights of the loss terms."""

    focal: float = 20.0
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    dice: float = 1.0
    iou: float = 1.0
    """L1 error of the estimated IoU, over all candidate masks."""
    presence: float = 1.0
    cross_entropy: float = 0.0
    """Plain cross entropy on the masks: from scratch the focal loss favours empty ones."""


@dataclass(frozen=True)
class FreezeConfig:
    """Which parts of the network stay as they are."""

    image_encoder: bool = True
    prompt_encoder: bool = True
    mask_decoder: bool = False
    memory: bool = False
    """Memory attention, memory encoder, object pointers and their projections."""


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its learning rate over the run."""

    muon: bool = False
    """Move weight matrices as Muon does, at the same rate; AdamW moves the rest."""
    lr: float = 5.0e-5
    final_fraction: float = 0.1
    """The rate falls along a cosine to this fraction of `lr`."""
    warmup: int = 0
    """Steps over which the rate rises from 0."""
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.1
    """Not on biases and norms."""
    layer_decay: float = 0.9
    """Factor per block on the rate of the image encoder's trunk, from the last one down."""
    clip: float = 0.1
    """Largest norm of the gradient."""

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise InputError(f"optimizer.lr must be above 0, got {self.lr}")


@dataclass(frozen=True)
class RolloutConfig:
    """How clips run through the network."""

    pointer_span: int | None = None
    """Frames that the age of object pointers is measured in; None: those of the clip, as
    published, up to 16. A network trained on clips of 3 frames for long videos needs 16."""
    dropout: float | None = None
    """Of the memory attention; None leaves the network's own."""
    learned: int | None = None
    """Learn from the last so many frames of a clip, and from the prompted ones; the others are
    followed without gradients, so that long clips fit. None: from all frames."""

    def __post_init__(self) -> None:
        if self.learned is not None and self.learned < 1:
            raise InputError(f"rollout.learned must be at least 1, got {self.learned}")


@dataclass(frozen=True)
class ValidationConfig:
    """What decides which weights are the best: the mean J&F over clips tracked as in use."""

    sources: list[SourceConfig] = field(default_factory=list)
    clips: int = 10
    """At most this many sequences of each source, the first ones."""
    frames: int = 30
    """At most this many frames of a sequence."""
    prompts: tuple[str, ...] = ("mask",)
    """Of mask, box, 5pt and 1pt: each object is tracked once for each."""
    every: int = 1
    """Epochs."""


@dataclass(frozen=True)
class MeanConfig:
    """Weights that a stage's last ones are averaged with."""

    stage: str = ""
    """Name of an earlier stage; the weights that it ended in are taken."""
    share: float = 0.5
    """Of the earlier stage in the mean."""

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
    """Configuration of the network; None takes the one that belongs to `model`."""
    from_scratch: bool = False
    """Start from random weights; then `network` is needed."""
    image_size: int | None = 512
    """Side of the network's square input in pixels; None for the configuration's own."""
    presence_bias: float | None = None
    """From scratch: added to the presence head, so that masks are seen before it is trained."""
    data: list[SourceConfig] = field(default_factory=list)
    augment: AugmentConfig = AugmentConfig()
    prompts: PromptConfig = PromptConfig()
    rollout: RolloutConfig = RolloutConfig()
    loss: LossConfig = LossConfig()
    freeze: FreezeConfig = FreezeConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    validation: ValidationConfig = ValidationConfig()
    mean_with: MeanConfig | None = None
    """The stage ends in the mean of its last weights and an earlier stage's."""
    epochs: int = 30
    steps: int | None = None
    """Steps of an epoch; None: as many as show every sequence once."""
    save_every: int = 100
    """Steps between two checkpoints to resume from."""
    log_every: int = 10
    """Steps between two entries in the log."""
    seed: int = 123
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Autocast format; auto is bfloat16 on CUDA and float32 elsewhere."""
    workers: int = 0
    """Processes that load data; 0 loads in the training process."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or (self.steps is not None and self.steps < 1):
            raise InputError(
                f"epochs and steps must be at least 1, got {self.epochs} and {self.steps}"
            )
        if self.from_scratch and self.network is None:
            raise InputError("from_scratch needs the name of a network configuration: network")


def load_recipe(name: str, overrides: Mapping[str, Any] | None = None) -> list[TrainConfig]:
    """The stages of a recipe; most have one.

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
    return [
        parse(TrainConfig, merge(merge(content, stage), overrides or {}), "") for stage in stages
    ]


def recipe_names() -> list[str]:
    """Built-in recipes."""
    folder = files("surgsam2.training") / "recipes"
    return sorted(p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name[-5:] == ".yaml")


def _read(name: str) -> dict[str, Any]:
    if Path(name).suffix in (".yaml", ".yml", ".json"):
        source: Any = Path(name)
    elif name in recipe_names():
        source = files("surgsam2.training") / "recipes" / f"{name}.yaml"
    else:
        raise InputError(
            f"recipe {name!r} is neither a .yaml file nor one of {', '.join(recipe_names())}"
        )
    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{name}: the recipe cannot be read ({reason})") from error
    if not isinstance(content, dict):
        raise InputError(f"{name}: a recipe is a table of settings, see docs/training.md")
    return content


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of which those of `over` win, table by table."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(old, value) if both else value  # type: ignore[arg-type]
    return merged
