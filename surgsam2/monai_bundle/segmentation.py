"""The inference of a bundle: it does what `surgsam2 segment` does and writes the same files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from surgsam2.cluster.console import segment_list_with_progress
from surgsam2.cluster.options import ListOptions
from surgsam2.cluster.tasks import Settings
from surgsam2.errors import CheckpointError, InputError, SurgSAM2Error, VideoError
from surgsam2.job.console import correct_with_progress, segment_with_progress
from surgsam2.job.datalist import VideoJob, read_datalist
from surgsam2.job.options import JobOptions, VideoOptions
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.options import ModelOptions
from surgsam2.monai_bundle.inferer import VideoInferer
from surgsam2.prompts import load_prompts, naming_prompt_file
from surgsam2.storage.places import Place
from surgsam2.storage.settings import parse, parse_path


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
    def output_dir(self) -> Place:
        """The folder for all results; `InputError` if there is none."""
        return Place.of(self._needed("output_dir"))

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
            VideoJob(
                Place.of(self._needed("video")),
                Place.of(self._needed("prompts")),
                self.output_dir,
            )
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
        correct: whether the prompts correct results that the output folder holds; see
            `surgsam2.job.correct_results`. Of the options of tracking, direction, start and stop
            count then.
        options: values by the names of `surgsam2.model.options.ModelOptions`,
            `surgsam2.job.options.VideoOptions`, `surgsam2.job.JobOptions` and
            `surgsam2.cluster.options.ListOptions`. The device may be a `torch.device`; formats may
            be a list or text with commas.

    Raises:
        InputError: an unknown name, or a value that cannot be used.
    """

    def __init__(
        self,
        dataset: VideoJobs,
        inferer: VideoInferer,
        *,
        correct: bool = False,
        **options: Any,
    ) -> None:
        self.dataset = dataset
        self.correct: bool = parse(bool, correct, "correct")
        model, video, listed = (
            {o.name: options.pop(o.name) for o in kind.described() if o.name in options}
            for kind in (ModelOptions, VideoOptions, ListOptions)
        )
        if "device" in model:
            model["device"] = str(model["device"])
        for name in ("model", "config"):
            if name in model:
                model[name] = parse_path(model[name], name)
        self.model_options = ModelOptions.from_mapping(model)
        self.video_options = VideoOptions.from_mapping(video)
        self.list_options = ListOptions.from_mapping(listed | _shard_of_torchrun())
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
        jobs = self.dataset.jobs
        if self.dataset.is_list:
            if self.correct:
                raise InputError("correct works on one video; leave out datalist")
            settings = Settings(
                self.model_options,
                self.options,
                self.video_options,
                cache_bytes=self.list_options.cache_bytes,
            )
            with _naming("model", CheckpointError):
                return segment_list_with_progress(
                    jobs, self.dataset.output_dir, settings, self.list_options
                )
        report = self._segment(jobs[0])
        if report["status"] != "complete":
            raise KeyboardInterrupt
        return report

    def _load_model(self) -> SurgSAM2Model:
        with _naming("model", CheckpointError):
            return self.model_options.load()

    def _segment(self, job: VideoJob) -> dict[str, Any]:
        with _naming("prompts", SurgSAM2Error):
            prompts = load_prompts(job.prompts.path, corrections=self.correct)
        with _naming("video", VideoError):
            opened = self.video_options.open(job.video.path)
        with opened as video:
            model = self._load_model()
            with naming_prompt_file(job.prompts.path):
                if self.correct:
                    chosen = self.options.tracking
                    return correct_with_progress(
                        *(model, video, prompts, job.output.path),
                        direction=chosen.direction,
                        start=chosen.start,
                        stop=chosen.stop,
                    )
                return segment_with_progress(model, video, prompts, job.output.path, self.options)


def _shard_of_torchrun() -> dict[str, str]:
    """Return the part of a list for this process of `torchrun`; empty for a single process."""
    rank, count = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    return {"shard": f"{int(rank) + 1}/{count}"} if count != "1" else {}


@contextmanager
def _naming(option: str, kind: type[SurgSAM2Error]) -> Iterator[None]:
    """Let errors of a kind that are raised in the block begin with the name of an option."""
    try:
        yield
    except kind as error:
        raise type(error)(f"{option}: {error}") from error
