"""The inference of a bundle: it does what `surgsam2 segment` does and writes the same files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from surgsam2.errors import CheckpointError, InputError, SurgSAM2Error, VideoError
from surgsam2.job.console import segment_with_progress
from surgsam2.job.datalist import SUMMARY, VideoJob, read_datalist, run_jobs
from surgsam2.job.options import JobOptions, VideoOptions
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.options import ModelOptions
from surgsam2.monai_bundle.inferer import VideoInferer
from surgsam2.prompts import load_prompts, naming_prompt_file
from surgsam2.storage.settings import parse_path


class VideoJobs:
    """The videos that are to be segmented: one, or those of a datalist.

    Args:
        video: the source of the frames of one video.
        prompts: the prompt file of one video.
        output_dir: the folder for the results of one video, or for the folders of all videos.
        datalist: the list of several videos; see `surgsam2.job.datalist`.
        dataset_dir: the folder that relative paths of the datalist start from; None takes the
            folder of the datalist.

    Raises:
        InputError: an argument is not text.
    """

    def __init__(
        self,
        video: str | None = None,
        prompts: str | None = None,
        output_dir: str | None = None,
        datalist: str | None = None,
        dataset_dir: str | None = None,
    ) -> None:
        given = {"video": video, "prompts": prompts, "output_dir": output_dir}
        given |= {"datalist": datalist, "dataset_dir": dataset_dir}
        self._given = {name: parse_path(value, name) for name, value in given.items()}

    def __len__(self) -> int:
        return len(self.jobs)

    def __getitem__(self, index: int) -> VideoJob:
        return self.jobs[index]

    @property
    def is_list(self) -> bool:
        """Whether there is a datalist, so that `output_dir` holds a folder per video."""
        return bool(self._given["datalist"])

    @property
    def output_dir(self) -> Path:
        """The folder for all results; `InputError` if there is none."""
        return Path(self._needed("output_dir"))

    @cached_property
    def jobs(self) -> list[VideoJob]:
        """The videos in order; `InputError` if a path is missing or the datalist is not valid."""
        given = self._given
        if self.is_list:
            if given["video"] or given["prompts"]:
                raise InputError("datalist names videos and prompts; leave out video and prompts")
            return read_datalist(
                self._needed("datalist"), self.output_dir, given["dataset_dir"] or None
            )
        return [
            VideoJob(Path(self._needed("video")), Path(self._needed("prompts")), self.output_dir)
        ]

    def _needed(self, name: str) -> str:
        value = self._given[name]
        if not value:
            other = " (or --datalist FILE)" if name == "video" else ""
            raise InputError(f"{name} is needed: add --{name} PATH{other}")
        return value


class VideoSegmentation:
    """Segments the videos as `surgsam2 segment` does.

    Args:
        dataset: the videos.
        inferer: the options of tracking.
        options: values by the names of `surgsam2.model.options.ModelOptions`,
            `surgsam2.job.options.VideoOptions` and `surgsam2.job.JobOptions`. The device may be a
            `torch.device`; formats may be a list or text with commas.

    Raises:
        InputError: an unknown name, or a value that cannot be used.
    """

    def __init__(
        self,
        dataset: VideoJobs,
        inferer: VideoInferer,
        **options: Any,
    ) -> None:
        self.dataset = dataset
        model, video = (
            {o.name: options.pop(o.name) for o in kind.described() if o.name in options}
            for kind in (ModelOptions, VideoOptions)
        )
        if "device" in model:
            model["device"] = str(model["device"])
        for name in ("model", "config"):
            if name in model:
                model[name] = parse_path(model[name], name)
        self.model_options = ModelOptions.from_mapping(model)
        self.video_options = VideoOptions.from_mapping(video)
        self.options = JobOptions.from_mapping(inferer.options.as_mapping() | options)

    def run(self) -> dict[str, Any]:
        """Segment all videos, and print what was done.

        Returns:
            The report of a single video, or the summary of a datalist.

        Raises:
            FailedJobsError: some videos of a datalist failed.
            KeyboardInterrupt: Ctrl-C was pressed. What was written is valid and marked as
                incomplete.
            SurgSAM2Error: as `surgsam2.job.segment_to_folder`.
        """
        jobs, folder = self.dataset.jobs, self.dataset.output_dir
        if self.dataset.is_list:
            model = self._load_model()
            summary = run_jobs(
                jobs,
                folder,
                lambda job: self._segment(job, model),
                overwrite=self.options.overwrite,
                keep_names=self.options.keep_names,
            )
            print(f"all {len(jobs)} videos complete; see {folder / SUMMARY}")
            return summary
        report = self._segment(jobs[0])
        if report["status"] != "complete":
            raise KeyboardInterrupt
        return report

    def _load_model(self) -> SurgSAM2Model:
        with _naming("model", CheckpointError):
            return self.model_options.load()

    def _segment(self, job: VideoJob, model: SurgSAM2Model | None = None) -> dict[str, Any]:
        with _naming("prompts", SurgSAM2Error):
            prompts = load_prompts(job.prompts)
        with _naming("video", VideoError):
            opened = self.video_options.open(job.video)
        with opened as video:
            model = model or self._load_model()
            with naming_prompt_file(job.prompts):
                return segment_with_progress(model, video, prompts, job.output, self.options)


@contextmanager
def _naming(option: str, kind: type[SurgSAM2Error]) -> Iterator[None]:
    """Let errors of a kind that are raised in the block begin with the name of an option."""
    try:
        yield
    except kind as error:
        raise type(error)(f"{option}: {error}") from error
