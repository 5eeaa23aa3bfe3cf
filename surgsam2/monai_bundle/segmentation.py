"""The main job for `inference.json`: the same code, the same files, as `surgsam2 segment`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from surgsam2.commands.interrupt import stop_on_interrupt
from surgsam2.commands.segment import progress_bar, summarise
from surgsam2.errors import CheckpointError, InputError, SurgSAM2Error, VideoError
from surgsam2.job import JobOptions, segment_to_folder
from surgsam2.job.datalist import SUMMARY, VideoJob, read_datalist, run_jobs
from surgsam2.model.build import SurgSAM2Model, load_model
from surgsam2.model.pruning import EFP, Form
from surgsam2.monai_bundle.inferer import VideoInferer
from surgsam2.outputs import DEFAULT_FORMATS
from surgsam2.prompts import load_prompts, naming_prompt_file
from surgsam2.storage.settings import parse, parse_path
from surgsam2.tracking.options import TrackingOptions
from surgsam2.video import open_video


class VideoJobs:
    """What is to be segmented: one video, or those of a datalist.

    Args:
        video, prompts: source of the frames and prompt file, for one video.
        output_dir: folder for its results; with a datalist, for those of all videos.
        datalist: see `surgsam2.job.datalist`.
        dataset_dir: where the datalist's relative paths start; None is its own folder.

    Raises:
        InputError: an argument that is not text.
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
        """Where all results go."""
        return Path(self._needed("output_dir"))

    @cached_property
    def jobs(self) -> list[VideoJob]:
        """In order.

        Raises:
            InputError: something is missing, or the datalist is not valid.
        """
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
    """`surgsam2 segment` with values as a bundle configuration gives them.

    Args:
        dataset: what to segment.
        inferer: how it is tracked.
        model: as `load_model` takes it; so are config, device, dtype and compile.
        pruning, prune: form of Efficient Frame Pruning and how many memories it leaves out.
        formats: names of outputs, comma-separated or as a list.
        fps: frame rate of images that carry none.
        overwrite: write into a folder that holds other files too.
        resume, checkpoint_every: see `JobOptions`.
        keep_names: write the videos' file names into the results.

    Raises:
        InputError: an argument of a wrong type or value.
    """

    def __init__(
        self,
        dataset: VideoJobs,
        inferer: VideoInferer,
        *,
        model: str = "demo",
        config: str | None = None,
        device: str | torch.device = "auto",
        dtype: str = "auto",
        pruning: str = "capped",
        prune: int = 2,
        compile: bool = False,
        formats: str | list[str] | tuple[str, ...] = DEFAULT_FORMATS,
        fps: float | None = None,
        overwrite: bool = False,
        resume: bool = False,
        checkpoint_every: int = 100,
        keep_names: bool = False,
    ) -> None:
        self.dataset = dataset
        names = formats.split(",") if isinstance(formats, str) else formats
        self.options = JobOptions(
            formats=tuple(name.strip() for name in parse(list[str], names, "formats")),
            tracking=TrackingOptions(
                direction=inferer.direction,
                start=inferer.start,
                stop=inferer.stop,
                allow_overlap=inferer.allow_overlap,
                fill_holes=inferer.fill_holes,
            ),
            overwrite=parse(bool, overwrite, "overwrite"),
            resume=parse(bool, resume, "resume"),
            checkpoint_every=parse(int, checkpoint_every, "checkpoint_every"),
            keep_names=parse(bool, keep_names, "keep_names"),
        )
        self.fps: float | None = parse(float | None, fps, "fps")
        self._model: dict[str, Any] = {
            "name_or_path": parse_path(model, "model"),
            "config": parse_path(config, "config"),
            "device": device,
            "dtype": parse(str, dtype, "dtype"),
            "pruning": EFP(parse(Form, pruning, "pruning"), parse(int, prune, "prune")),
            "compile": parse(bool, compile, "compile"),
        }

    def run(self) -> dict[str, Any]:
        """Segment everything; print what was done.

        Returns:
            The report of a single video, the summary of a datalist.

        Raises:
            FailedJobsError: some videos of a datalist failed.
            KeyboardInterrupt: after Ctrl-C; what was written is valid, and marked incomplete.
            SurgSAM2Error: as `segment_to_folder`.
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
            return load_model(**self._model)

    def _segment(self, job: VideoJob, model: SurgSAM2Model | None = None) -> dict[str, Any]:
        with _naming("prompts", SurgSAM2Error):
            prompts = load_prompts(job.prompts)
        with _naming("video", VideoError):
            opened = open_video(job.video, fps=self.fps)
        with opened as video:
            model = model or self._load_model()
            with (
                naming_prompt_file(job.prompts),
                progress_bar() as show,
                stop_on_interrupt() as should_stop,
            ):
                report = segment_to_folder(
                    model,
                    video,
                    prompts,
                    job.output,
                    self.options,
                    progress=show,
                    should_stop=should_stop,
                )
        summarise(report, str(job.output))
        return report


@contextmanager
def _naming(option: str, kind: type[SurgSAM2Error]) -> Iterator[None]:
    """Errors of this kind say which option they are about."""
    try:
        yield
    except kind as error:
        raise type(error)(f"{option}: {error}") from error
