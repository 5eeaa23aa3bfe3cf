"""The tasks of MONAI Label that segment a frame, and follow objects through a video."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.utils.others.generic import device_list

from surgsam2.errors import InputError
from surgsam2.integrations.monai_label.models import Models
from surgsam2.integrations.monai_label.requests import OBJECT, device_of, prompts_of, refusing
from surgsam2.model.build import SurgSAM2Model
from surgsam2.outputs import OutputContext, label_map
from surgsam2.prompts import PromptSet
from surgsam2.results.frame_result import FrameResult
from surgsam2.storage.archive import pack
from surgsam2.storage.label_image import label_name, label_palette, write_labels
from surgsam2.storage.temporary import TemporaryFolder
from surgsam2.tracking.options import DIRECTIONS
from surgsam2.tracking.segment import segment_video
from surgsam2.tracking.tracker import Tracker
from surgsam2.video import Video, open_video


class _Task(InferTask):
    """A task that opens the image of a request as a video and writes a file of labels."""

    def __init__(self, models: Models, description: str, dimension: int, **config: Any) -> None:
        super().__init__(
            type=InferType.DEEPGROW,
            labels={OBJECT: 1},
            dimension=dimension,
            description=description,
            config={"device": device_list(), **config},
        )
        self._models = models

    def is_valid(self) -> bool:
        """Return True: there is always a model."""
        return True

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Segment the image of a request.

        Returns:
            The path of the labels, and facts about them.

        Raises:
            HTTPException: the request cannot be carried out (422).
        """
        began = time.monotonic()
        with refusing(), open_video(request["image"]) as video:
            model = self._models.load(device_of(request))
            path, facts = self._segment(model, video, request)
        seconds = round(time.monotonic() - began, 2)
        return str(path), {**facts, "latencies": {"total": seconds}}

    def _segment(
        self, model: SurgSAM2Model, video: Video, request: Mapping[str, Any]
    ) -> tuple[Path, dict[str, Any]]:
        raise NotImplementedError


class FrameTask(_Task):
    """Segments a picture, or one frame of a video, from clicks and a box.

    The result is a PNG whose pixels are object ids.
    """

    def __init__(self, models: Models) -> None:
        super().__init__(models, "Segments a picture from clicks and a box", 2)

    def _segment(
        self, model: SurgSAM2Model, video: Video, request: Mapping[str, Any]
    ) -> tuple[Path, dict[str, Any]]:
        index = _whole(request, "frame", 0)
        assert index is not None
        if not 0 <= index < len(video):
            raise InputError(f"frame must be from 0 to {len(video) - 1}, got {index}")
        prompts = prompts_of(request, index)
        tracker = Tracker(model, video.width, video.height, first_frame=index)
        result = tracker.step(video[index], prompts)
        with tempfile.NamedTemporaryFile(suffix=".png", delete=False) as file:  # noqa: TID251  (the server deletes it)
            path = Path(file.name)
        _write(result, video, prompts, path)
        return path, _facts(prompts) | {"predicted_iou": [float(v) for v in result.iou_scores]}


class VideoTask(_Task):
    """Follows objects through a video from clicks and boxes on any of its frames.

    A request has all clicks that were made so far; a further click is a further request. The
    result is a zip archive with one label PNG for each frame (``00000.png``), whose pixels are
    object ids.
    """

    def __init__(self, models: Models) -> None:
        super().__init__(
            models, "Follows objects through a video from clicks and boxes", 3,
            direction=list(DIRECTIONS),
        )  # fmt: skip

    def _segment(
        self, model: SurgSAM2Model, video: Video, request: Mapping[str, Any]
    ) -> tuple[Path, dict[str, Any]]:
        prompts = prompts_of(request)
        direction = request.get("direction") or "forward"
        results = segment_video(
            model, video, prompts,
            start=_whole(request, "start"), stop=_whole(request, "stop"),
            direction=direction if isinstance(direction, str) else direction[0],  # type: ignore[arg-type]
        )  # fmt: skip
        frames = 0
        with TemporaryFolder() as images:
            for result in results:
                _write(result, video, prompts, images / label_name(result.frame_index))
                frames += 1
            path = Path(tempfile.mkdtemp(), "labels.zip")  # noqa: TID251  (the server deletes it)
            pack(images, path)
        return path, _facts(prompts) | {"frames": frames}


def _write(result: FrameResult, video: Video, prompts: PromptSet, path: Path) -> None:
    labels = label_map(result, OutputContext(video.width, video.height, video.fps, prompts.objects))
    write_labels(path, labels, label_palette({obj.id: obj.rgb for obj in prompts.objects}))


def _facts(prompts: PromptSet) -> dict[str, Any]:
    return {"label_names": {obj.name: obj.id for obj in prompts.objects}}


def _whole(request: Mapping[str, Any], name: str, default: int | None = None) -> int | None:
    value = request.get(name, default)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise InputError(f"{name} must be a whole number, got {value!r}")
    return value
