"""The identity of a run: the parts of its inputs and options that decide its results."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from surgsam2.engine.remote_model import RemoteModel
from surgsam2.errors import InputError
from surgsam2.job.options import JobOptions
from surgsam2.model.build import SurgSAM2Model
from surgsam2.prompts import PromptSet
from surgsam2.prompts.file import prompts_as_text
from surgsam2.storage.hashing import quick_fingerprint
from surgsam2.tracking.options import TrackingOptions
from surgsam2.tracking.plan import TrackingPlan
from surgsam2.version import __version__
from surgsam2.video import Video

Identity = dict[str, Any]
"""Values by a description in plain words; equal for runs that give the same results."""


@dataclass(frozen=True)
class ModelRecord:
    """What a report and an identity say about a model. It outlives the model."""

    facts: dict[str, Any]
    """The section ``model`` of a report, but for the hash of the file."""
    weights: str | None
    """SHA-256 of the tensors."""
    config: str
    """SHA-256 of the configuration."""
    file_sha256: str | None = None
    """SHA-256 of the file of the weights, where a run without the model has to report it."""
    warnings: tuple[str, ...] = ()
    """Sentences about prompts of which the network sees little."""

    @classmethod
    def of(cls, model: SurgSAM2Model | RemoteModel) -> ModelRecord:
        """Describe a model."""
        if isinstance(model, RemoteModel):
            options = model.options
            facts: dict[str, Any] = {
                "config": model.name,
                "checkpoint": None,
                "trained": model.trained,
                "device": model.device,
                "dtype": model.dtype,
                "pruning": {"form": options.pruning, "prune": options.prune},
                "engine": model.address,
            }
            return cls(facts, model.weights, hashlib.sha256(model.name.encode()).hexdigest())
        facts = {
            "config": model.name,
            "checkpoint": model.checkpoint and model.checkpoint.name,
            "trained": model.checkpoint is not None,
            "device": str(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "pruning": asdict(model.pruning),
        }
        config = OmegaConf.to_yaml(model.config, resolve=True)
        return cls(facts, model.weights_sha256, hashlib.sha256(config.encode()).hexdigest())


def identity_of(
    model: ModelRecord,
    video: Video,
    prompts: PromptSet,
    plan: TrackingPlan,
    options: JobOptions,
    corrected: Iterable[int] = (),
) -> Identity:
    """Return the identity of a run. It holds hashes and settings, no names of files.

    The video is told by its quick fingerprint, and the model by its tensors: neither waits for
    a whole file to be read.

    Args:
        model: the model.
        video: the video.
        prompts: the prompts.
        plan: the frames to be tracked.
        options: the options of the run.
        corrected: ids of the objects that a correction tracks again.

    Raises:
        InputError: a file of the video cannot be read.
    """
    facts = model.facts
    return {
        "video content": quick_fingerprint(video.files) if video.files else None,
        "video stream": video.stream,
        "video size": f"{video.width}x{video.height}",
        "video frame rate": float(video.fps),
        "objects": ", ".join(f"{item.id} {item.name}" for item in prompts),
        "prompts": _hash_of_prompts(prompts),
        "corrected objects": ", ".join(map(str, corrected)),
        "model weights": model.weights,
        "model config": model.config,
        "device": facts["device"].partition(":")[0],
        "dtype": facts["dtype"],
        "pruning": f"{facts['pruning']['form']} {facts['pruning']['prune']}",
        "direction": plan.direction,
        "frame range": f"{plan.start} to {plan.stop}",
        "formats": ",".join(sorted(options.formats)),
        **_tracking_settings(options.tracking),
        "keep names": options.keep_names,
        **({"stride": options.stride} if options.stride > 1 else {}),
        "surgsam2 version": __version__,
        "torch version": importlib.metadata.version("torch"),
    }


def _tracking_settings(options: TrackingOptions) -> Identity:
    """Return the options of tracking that the plan does not hold already."""
    settings = options.as_mapping()
    for planned in ("direction", "start", "stop"):
        del settings[planned]
    return {name.replace("_", " "): value for name, value in settings.items()}


def check_same(saved: Identity, now: Identity, folder: Path) -> None:
    """Check that two runs are the same.

    Args:
        saved: the identity of the run that was interrupted or completed.
        now: the identity of the present run.
        folder: the output folder, for the message.

    Raises:
        InputError: some of their inputs or options differ; the message says which.
    """
    different = differences(saved, now)
    if different:
        raise InputError(
            f"cannot resume {folder}: it holds another run ({different}); give what that run was "
            "given, or start anew without resume"
        )


def differences(saved: Identity, now: Identity) -> str:
    """Return in which parts of `now` two runs differ, in words; empty if in none."""
    different = [name for name in now if saved.get(name) != now[name]]
    return "; ".join(_difference(name, saved.get(name), now[name]) for name in different)


def _difference(name: str, before: Any, now: Any) -> str:
    if any(isinstance(value, str) and len(value) == 64 for value in (before, now)):
        return f"different {name}"  # A hash tells a reader nothing.
    there, here = ("none" if value in ("", None) else value for value in (before, now))
    return f"{name} {there} there, {here} here"


def _hash_of_prompts(prompts: PromptSet) -> str:
    text, masks = prompts_as_text(prompts, "prompts")
    digest = hashlib.sha256(text.encode())
    for mask in masks.values():
        digest.update(str(mask.shape).encode())
        digest.update(np.packbits(mask).tobytes())
    return digest.hexdigest()
