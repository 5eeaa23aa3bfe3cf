"""Whether two runs are the same run: what of video, prompts, model and settings decides it."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from surgsam2.errors import InputError
from surgsam2.job.options import JobOptions
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import PromptSet
from surgsam2.prompts.file import prompts_as_text
from surgsam2.tracking.plan import TrackingPlan
from surgsam2.version import __version__
from surgsam2.video import Video
from surgsam2.video.images import find_images

Identity = dict[str, Any]
"""Plain words -> value; equal for runs that give the same results."""


def input_files(video: Video, model: SurgSAM2Model) -> dict[str, list[Path]]:
    """The files that are told apart by their hashes; none for a video that is not a file."""
    source = Path(video.source)
    frames = [source] if source.is_file() else find_images(source) if source.is_dir() else []
    return {"checkpoint": [model.checkpoint] if model.checkpoint else [], "video": frames}


def identity_of(
    model: SurgSAM2Model,
    video: Video,
    prompts: PromptSet,
    plan: TrackingPlan,
    options: JobOptions,
    hashes: Mapping[str, str | None],
) -> Identity:
    """What a run is. Holds hashes and settings, no names of files."""
    config = OmegaConf.to_yaml(model.config, resolve=True)
    return {
        "video content": hashes["video"],
        "video size": f"{video.width}x{video.height}",
        "video frame rate": float(video.fps),
        "prompts": _hash_of_prompts(prompts),
        "model weights": hashes["checkpoint"],
        "model config": hashlib.sha256(config.encode()).hexdigest(),
        "device": model.device.type,
        "dtype": str(model.dtype).removeprefix("torch."),
        "pruning": f"{model.pruning.form} {model.pruning.prune}",
        "direction": plan.direction,
        "frame range": f"{plan.start} to {plan.stop}",
        "formats": ",".join(sorted(options.formats)),
        "allow overlap": options.allow_overlap,
        "fill holes": options.fill_holes,
        "keep names": options.keep_names,
        "surgsam2 version": __version__,
        "torch version": importlib.metadata.version("torch"),
    }


def check_same(saved: Identity, now: Identity, folder: Path) -> None:
    """Raises `InputError` that says which of the two runs' inputs and settings differ."""
    different = [name for name in now if saved.get(name) != now[name]]
    if different:
        said = "; ".join(_difference(name, saved.get(name), now[name]) for name in different)
        raise InputError(
            f"cannot resume {folder}: it holds another run ({said}); give what that run was given, "
            "or start anew without resume"
        )


def _difference(name: str, before: Any, now: Any) -> str:
    if any(isinstance(value, str) and len(value) == 64 for value in (before, now)):
        return f"different {name}"  # hashes tell people nothing
    return f"{name} {before} there, {now} here"


def _hash_of_prompts(prompts: PromptSet) -> str:
    text, masks = prompts_as_text(prompts, "prompts")
    digest = hashlib.sha256(text.encode())
    for mask in masks.values():
        digest.update(str(mask.shape).encode())
        digest.update(np.packbits(mask).tobytes())
    return digest.hexdigest()
