"""What a run is to do, checked before anything is touched."""

from __future__ import annotations

import os
from pathlib import Path

from surgsam2.errors import InputError, OutputError
from surgsam2.job.fingerprint import Identity, identity_of, input_files
from surgsam2.job.options import JobOptions
from surgsam2.model.build import SurgSAM2Model
from surgsam2.outputs import FORMATS, OutputContext
from surgsam2.prompts import PromptSet
from surgsam2.tracking.encoded_frame import refuse_vanishing_masks
from surgsam2.tracking.plan import plan_tracking
from surgsam2.tracking.postprocess import MaskOptions
from surgsam2.video import Video


class Task:
    """The inputs of a run and what follows from them.

    Raises:
        PromptError, InputError, VideoError: they cannot be used, or not together.
        OutputError: an input lies in the output folder.
    """

    def __init__(
        self,
        model: SurgSAM2Model,
        video: Video,
        prompts: PromptSet,
        folder: Path | str,
        options: JobOptions,
    ) -> None:
        self.model, self.video, self.prompts, self.options = model, video, prompts, options
        self.plan = plan_tracking(video, prompts, options.start, options.stop, options.direction)
        refuse_vanishing_masks(model, prompts)
        self.masks = MaskOptions(not options.allow_overlap, options.fill_holes)
        _keep_inputs(folder, video, prompts)
        self.inputs = input_files(video, model)
        self.can_resume = bool(self.inputs["video"])
        if options.resume and not self.can_resume:
            raise InputError(
                f"cannot resume {folder}: the video is not a file or folder, so nothing tells "
                "whether it is the same; start anew without resume"
            )
        self.name = ""
        """Of the video, for people; empty unless the user wants it in the results."""
        if options.keep_names:
            self.name = os.fsencode(Path(video.source).name).decode(errors="replace")
        self.context = OutputContext(
            video.width,
            video.height,
            video.fps,
            prompts.objects,
            self.name,
            frame_count=self.plan.frames,
        )
        for name in options.formats:
            FORMATS[name].check_run(Path(folder), self.context)

    def identity(self, hashes: dict[str, str | None]) -> Identity:
        """Tells this run from others; `hashes` are those of `inputs`."""
        return identity_of(self.model, self.video, self.prompts, self.plan, self.options, hashes)


def _keep_inputs(folder: Path | str, video: Video, prompts: PromptSet) -> None:
    """Refuse an output folder whose files from an earlier run are this run's input."""
    output = Path(folder).resolve()
    for path in (Path(video.source), *prompts.mask_files):
        if path.exists() and path.resolve().is_relative_to(output) and str(folder):
            raise OutputError(
                f"{path} is an input of this run and lies in the output folder {folder}, which is "
                "emptied first; choose another output folder"
            )
