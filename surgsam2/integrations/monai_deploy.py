"""An application of the MONAI Deploy App SDK: a DICOM video in, a DICOM segmentation out.

The input folder has one DICOM video (a multi-frame file, an encapsulated video, or a series of
single frames) and the prompts, `prompts.json`. See docs/deployment.md for what was tried.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from monai.deploy.conditions import CountCondition
from monai.deploy.core import Application, Operator, OperatorSpec, init_app_context

from surgsam2.errors import InputError
from surgsam2.job.options import JobOptions
from surgsam2.job.run import segment_to_folder
from surgsam2.model.options import ModelOptions
from surgsam2.prompts import load_prompts, naming_prompt_file
from surgsam2.video import open_video
from surgsam2.video.dicom_header import is_dicom

PROMPTS = "prompts.json"
"""Name of the prompt file in the input folder."""

logger = logging.getLogger(__name__)


class DicomVideoOperator(Operator):
    """Segments the video of the application's input folder into its output folder.

    It has no ports: a DICOM video is read frame by frame from its file, so that its length does
    not count.

    Args:
        fragment: the application.
        context: the application's context, with the folders of input, output and model.
        args: for MONAI Deploy's `Operator`.
        kwargs: for MONAI Deploy's `Operator`.
    """

    def __init__(self, fragment: Any, *args: Any, context: Any, **kwargs: Any) -> None:
        self._context = context
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare no ports."""

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Segment the video.

        Raises:
            SurgSAM2Error: the input cannot be used, or the output cannot be written.
        """
        model = Path(self._context.model_path or "")
        segment_dicom(
            Path(self._context.input_path),
            Path(self._context.output_path),
            ModelOptions(model=str(model)) if (model / "configs").is_dir() else ModelOptions(),
        )


class DicomVideoApp(Application):
    """The application; `DicomVideoApp().run()` carries it out."""

    def compose(self) -> None:
        """Add the only operator, which runs once."""
        context = init_app_context(self.argv)
        once = CountCondition(self, 1)
        self.add_operator(DicomVideoOperator(self, once, context=context, name="segment"))


def segment_dicom(source: Path, output: Path, model: ModelOptions) -> dict[str, Any]:
    """Segment the DICOM video in a folder.

    Args:
        source: folder of the video and of `prompts.json`.
        output: folder that receives `segmentation.dcm` and the report.
        model: the model.

    Returns:
        The report of the run.

    Raises:
        SurgSAM2Error: there is not exactly one video with prompts, or as `segment_to_folder`.
    """
    files = sorted(path for path in source.rglob("*") if path.is_file() and is_dicom(path))
    folders = {path.parent for path in files}
    if len(folders) != 1:
        raise InputError(
            f"{source}: the input must have one DICOM video in one folder, found {len(files)} "
            f"DICOM files in {len(folders)} folders"
        )
    if not (source / PROMPTS).is_file():
        raise InputError(f"{source}: {PROMPTS} is missing, which says what to segment")
    prompts = load_prompts(source / PROMPTS)
    options = JobOptions(formats=("dicom-seg",), overwrite=True)
    video_path = files[0] if len(files) == 1 else folders.pop()
    with open_video(video_path) as video, naming_prompt_file(source / PROMPTS):
        report = segment_to_folder(model.load(), video, prompts, output, options)
    logger.info("%s: segmented %d frames", source, report["video"]["frames"])
    return report


if __name__ == "__main__":
    DicomVideoApp().run()
