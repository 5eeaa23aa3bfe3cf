"""The training task of MONAI Label: fine-tuning on the final labels of the datastore."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.utils.others.generic import device_list
from PIL import Image

from surgsam2.data.label_reader import read_labels
from surgsam2.errors import DatasetError, InputError
from surgsam2.integrations.monai_label.models import Models
from surgsam2.integrations.monai_label.requests import device_of, refusing
from surgsam2.results.saved_masks import open_saved_masks
from surgsam2.storage.archive import unpacked
from surgsam2.storage.label_image import label_name, write_labels
from surgsam2.training.facts import training_facts
from surgsam2.training.trainer import train
from surgsam2.video import open_video

logger = logging.getLogger(__name__)

_RECIPE = "finetune"
_DATA = "data"
"""Name of the folder, inside the folder of a training, with the frames and labels."""
_DEFAULTS: dict[str, Any] = {"max_epochs": 10, "steps": 25, "lr": 2e-4, "val_split": 0.2}


class FineTuning(TrainTask):
    """Fine-tunes the current model on all pictures and videos that have a final label.

    The label of a picture is a PNG, that of a video a zip archive as `VideoTask` writes it. A
    share of the videos is held out and chooses the best weights, which may be those of the start;
    with fewer than two videos the last weights are used. The server segments with the new model
    as soon as the training is complete.
    """

    def __init__(self, models: Models) -> None:
        super().__init__("Fine-tunes the model on the final labels")
        self._models = models

    def config(self) -> dict[str, Any]:
        """Return the options of a request, with their default values."""
        return {"device": device_list(), **_DEFAULTS}

    def stats(self) -> dict[str, Any]:
        """Return facts about the training of the current model; none before the first training."""
        stage = Path(self._models.current()).parent / _RECIPE
        return training_facts(stage) if stage.is_dir() else {}

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Train, and return facts about it.

        Raises:
            HTTPException: an option is wrong, or there are no labels to train on (422).
        """
        folder = self._models.next_folder()
        with refusing():
            held_out = _option(request, "val_split")
            sources = write_dataset(datastore.datalist(), folder / _DATA, held_out)
            train(
                _RECIPE,
                folder,
                overrides={
                    "model": self._models.current(),
                    "image_size": None,
                    "data": sources["train"],
                    "validation": {"sources": sources["validate"], "prompts": ["mask", "1pt"]},
                    "epochs": int(_option(request, "max_epochs")),
                    "steps": int(_option(request, "steps")),
                    "optimizer": {"lr": _option(request, "lr")},
                },
                device=device_of(request),
            )
        return self.stats()


def write_dataset(
    pairs: list[dict[str, str]], folder: Path, held_out: float
) -> dict[str, list[dict[str, Any]]]:
    """Write labelled pictures and videos in the layout of DAVIS.

    Args:
        pairs: the paths of an `image` and its `label`.
        folder: the folder to write into.
        held_out: share of the videos, from 0 to 1, that is not trained on; the last ones by name.
            One video at least is trained on.

    Returns:
        Sources for `data` (under `train`) and for the validation (under `validate`).

    Raises:
        InputError: `held_out` is no share.
        DatasetError: there are no labels, or some cannot be used; the message names all of these.
    """
    if not 0 <= held_out <= 1:
        raise InputError(f"val_split must be from 0 to 1, got {held_out}")
    stills: list[str] = []
    videos: list[str] = []
    problems: list[str] = []
    for pair in sorted(pairs, key=lambda p: p["image"]):
        image, label = Path(pair["image"]), Path(pair["label"])
        try:
            still = label.suffix.lower() != ".zip"
            (_write_still if still else _write_video)(image, label, folder)
            (stills if still else videos).append(image.stem)
        except (OSError, ValueError) as error:
            problems.append(str(error))
    if problems:
        raise DatasetError(f"labels that cannot be used: {'; '.join(problems)}")
    if not stills and not videos:
        raise DatasetError("no picture or video has a final label; save labels, then train")
    count = max(len(videos) - math.ceil(len(videos) * held_out), 1)
    learned, kept = videos[:count], videos[count:]
    common = {"kind": "vos", "path": str(folder), "batch": 1}
    sources = []
    if learned:
        sources.append({**common, "sequences": learned, "frames": 4})
    if stills:
        sources.append({**common, "sequences": stills, "frames": 2, "still": True})
    validation = [{**common, "sequences": kept}] if kept else []
    logger.info("training on %s, validation on %s", learned + stills, kept or "nothing")
    return {"train": sources, "validate": validation}


def _write_still(image: Path, label: Path, folder: Path) -> None:
    labels = read_labels(label)
    if labels.labels is None:
        raise InputError(f"{label}: {labels.message}")
    _write_sequence(image, {0: labels.labels}, folder)


def _write_video(image: Path, label: Path, folder: Path) -> None:
    with unpacked(label) as files:
        saved = open_saved_masks(files)
        labels = {}
        for frame in saved.frames:
            masks = saved.read(frame)
            if masks:
                labels[frame] = np.sum([m * np.uint16(i) for i, m in masks.items()], axis=0)
    _write_sequence(image, labels, folder)


def _write_sequence(image: Path, labels: Mapping[int, np.ndarray], folder: Path) -> None:
    """Write the frames of a video up to the last labelled one, and its labels."""
    frames, annotations = folder / "JPEGImages" / image.stem, folder / "Annotations" / image.stem
    for place in (frames, annotations):
        place.mkdir(parents=True, exist_ok=True)
    if not labels:
        raise InputError(f"{image}: its label has no object")
    with open_video(image) as video:
        if max(labels) >= len(video):
            raise InputError(f"{image}: {len(video)} frames, and its label has one {max(labels)}")
        for index, frame in video.frames(stop=max(labels) + 1):
            Image.fromarray(frame).save(frames / label_name(index), compress_level=1)
    for index, values in labels.items():
        if values.shape != (video.height, video.width):
            raise InputError(
                f"{image}: {video.width}x{video.height} pixels, and its label has "
                f"{values.shape[1]}x{values.shape[0]}"
            )
        write_labels(annotations / label_name(index), values.astype(np.uint16), None)


def _option(request: Mapping[str, Any], name: str) -> float:
    value = request.get(name, _DEFAULTS[name])
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name} must be a number, got {value!r}")
    return value
