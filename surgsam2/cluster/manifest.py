"""The manifest of a video: which chunks count, and whether its files are complete.

It is the file ``.manifest.json`` in the video's output folder. Only the driver writes it, as a
whole; what it does not name is not part of the results.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from surgsam2.cluster.tasks import RunRecord, Settings
from surgsam2.errors import InputError, OutputError, PromptError
from surgsam2.job.chunks import Chunk
from surgsam2.job.datalist import VideoJob
from surgsam2.job.earlier import finished_report
from surgsam2.job.split import Split
from surgsam2.model.build import locate
from surgsam2.model.checkpoint import read_checkpoint, weights_sha256
from surgsam2.model.configs import load_config
from surgsam2.prompts import load_class_list
from surgsam2.prompts.mask_file import check_mask_path
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.label_image import LABELS
from surgsam2.storage.output_folder import (
    MANIFEST,
    MARKER,
    PROGRAM,
    RESUME,
    is_ours,
    prepare_output,
)
from surgsam2.storage.places import Place
from surgsam2.storage.shape import check_shape
from surgsam2.version import __version__

VERSION = 2
_SHAPE = {
    "key": str,
    "complete": bool,
    "frames": int,
    "interruptions": int,
    "driver": str,
    "run": (
        None,
        {
            "identity": dict,
            "steps": [int],
            "model": {
                "facts": dict,
                "weights": (str, None),
                "config": str,
                "file_sha256": (str, None),
                "warnings": [str],
            },
        },
    ),
    "chunks": [
        {
            "folder": str,
            "first": int,
            "last": int,
            "seconds": float,
            "files": {str: list},
            "part?": int,
        }
    ],
}
"""The shape of the file, without its program and version."""
CHUNKS = f"{RESUME}/chunks"
"""Folder of the chunks in a video's output folder."""


@dataclass(frozen=True)
class Manifest:
    """The record of how far one video is segmented."""

    key: str
    """Tells which video, prompts, model and options it belongs to; see `job_key`."""
    complete: bool = False
    """Whether all files are written; the chunks are deleted then."""
    frames: int = 0
    """Number of frames with a result, of a complete video."""
    run: RunRecord | None = None
    chunks: tuple[Chunk, ...] = ()
    interruptions: int = 0
    """Number of interruptions of the tracking."""
    driver: str = ""
    """A token of the driver that wrote it."""

    def of_part(self, part: int) -> tuple[Chunk, ...]:
        """Return the chunks of one part of the video, in order."""
        return tuple(chunk for chunk in self.chunks if chunk.part == part)

    def left(self, part: int) -> float:
        """Return how much of the tracking of one part is left, 0 to 1."""
        chunks = self.of_part(part)
        if self.run is None or not chunks:
            return 1.0
        steps = self.run.steps[part]
        return 1 - chunks[-1].last / steps if steps else 0.0

    def check_parts(self, output: Place, count: int) -> None:
        """Check that what was tracked belongs to a video of this number of parts.

        Args:
            output: the output folder, for the message.
            count: number of parts of the video.

        Raises:
            InputError: the manifest is damaged.
        """
        known = len(self.run.steps) if self.run else 0
        if known != count or any(chunk.part not in range(count) for chunk in self.chunks):
            raise InputError(
                f"{output / MANIFEST}: is damaged (it has the steps of {known} parts, and the "
                f"video has {count}); delete it to track the video anew"
            )


class Manifests:
    """Reads and writes manifests for one driver."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(8)

    def read(self, output: Place) -> Manifest | None:
        """Return the manifest of an output folder; None if it has none that can be read.

        Raises:
            InputError: the folder cannot be read, or another version wrote the manifest.
        """
        data = (output / MANIFEST).read_bytes()
        if data is None:
            return None
        try:
            content = parse_json(data)
            version = content.pop("version")
            if content.pop("program") != PROGRAM:
                return None
            if version != VERSION:
                raise InputError(
                    f"{output / MANIFEST}: has version {version!r:.40}, this program reads "
                    f"{VERSION}; go on with the program that began the list"
                )
            check_shape(content, _SHAPE)
            run = content.pop("run")
            chunks = tuple(map(Chunk.from_json, content.pop("chunks")))
            return Manifest(run=run and RunRecord.from_json(run), chunks=chunks, **content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            return None

    def write(self, output: Place, manifest: Manifest, *, first: bool = False) -> Manifest:
        """Replace the manifest of an output folder.

        Args:
            output: the folder.
            manifest: the new manifest.
            first: take the video over from an earlier driver.

        Returns:
            The manifest with this driver's token.

        Raises:
            OutputError: it cannot be written, or another driver has taken the video over.
        """
        before = None if first else self.read(output)
        if before is not None and before.driver != self._token:
            raise OutputError(
                f"{output}: another run of this list writes here too; let only one go on"
            )
        manifest = replace(manifest, driver=self._token)
        content: dict[str, Any] = {
            "program": PROGRAM,
            "version": VERSION,
            "key": manifest.key,
            "complete": manifest.complete,
            "frames": manifest.frames,
            "interruptions": manifest.interruptions,
            "driver": manifest.driver,
            "run": manifest.run and manifest.run.as_json(),
            "chunks": [chunk.as_json() for chunk in manifest.chunks],
        }
        (output / MANIFEST).write_bytes(json.dumps(content).encode())
        return manifest


def settings_key(settings: Settings) -> str:
    """Return the SHA-256 of what all videos of a list share: the tensors and all settings.

    Raises:
        InputError: unknown model or configuration, or a list of classes that cannot be read.
        CheckpointError: the weights cannot be read.
    """
    options = settings.model.as_mapping()
    located = locate(options.pop("model"))
    config = options.pop("config") or located.config
    job = settings.job.as_mapping()
    for unimportant in ("overwrite", "resume", "checkpoint_every"):
        del job[unimportant]
    if job["classes"] is not None:
        job["classes"] = str(load_class_list(job["classes"]).classes)
    parts = {
        "model": options,
        "weights": located.weights and weights_sha256(read_checkpoint(located.weights)),
        "config": config and load_config(config),
        "job": job,
        "video": settings.video.as_mapping(),
        "version": __version__,
    }
    return _hash(json.dumps(parts, sort_keys=True, default=str))


def job_key(job: VideoJob, settings: str, split: Split | None = None) -> str:
    """Return the SHA-256 that tells a video's run from others.

    Neither the video nor the mask images are decoded: long lists are read in seconds.

    Args:
        job: the video; its quick fingerprint is taken, and its prompt files are hashed.
        settings: the key of the settings.
        split: how the video is divided.

    Raises:
        InputError: a file cannot be read.
    """
    prompts = _content(job.prompts)
    digest = hashlib.sha256(settings.encode() + job.video.fingerprint().encode() + prompts)
    for name in mask_names(prompts):
        digest.update(_content(job.prompts.parent / name))
    if split is not None:
        digest.update(json.dumps([split.objects, split.cuts]).encode())
    return digest.hexdigest()


def refuse_occupied(output: Place, manifest: Manifest | None) -> None:
    """Refuse an output folder that holds something that would be lost.

    Args:
        output: the folder.
        manifest: the manifest in it, of another run; None without one.

    Raises:
        OutputError: it holds results of another run, or files of others.
        InputError: it cannot be read.
    """
    what = ""
    names = set(output.names())
    if manifest is not None:
        what = "results of another run, with another video, prompts, model or options"
    elif names and not names <= {RESUME}:  # a first chunk, of which no manifest has taken note
        is_known = is_ours(output.path) if output.is_local else MARKER in names
        if not is_known:
            what = "files of others"
        elif output.is_local and finished_report(output.path) is not None:
            what = "results of a run that belongs to no list"
    if what:
        raise OutputError(
            f"cannot write {output}: it holds {what}; choose another folder, or replace them "
            "with overwrite (--overwrite)"
        )


def prepare_place(output: Place, overwrite: bool) -> None:
    """Remove what an earlier run has left in an output folder.

    Args:
        output: the folder.
        overwrite: accept a folder of this machine that holds other files too.

    Raises:
        OutputError: it cannot be written, or holds other files.
    """
    if output.is_local:
        prepare_output(output.path, overwrite)
    else:
        for name in (RESUME, LABELS, "report.json"):
            (output / name).delete()


def mask_names(prompts: bytes) -> Iterator[str]:
    """Yield the names of the mask images beside a prompt file; none if it is not valid.

    Args:
        prompts: the content of the prompt file.
    """
    try:
        objects = parse_json(prompts)["objects"]
        names = [prompt.get("mask") for item in objects for prompt in item["prompts"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # reading it says what is wrong
    for name in names:
        if isinstance(name, str):
            with contextlib.suppress(PromptError):
                check_mask_path(name)
                yield name


def _content(place: Place) -> bytes:
    data = place.read_bytes()
    if data is None:
        raise InputError(f"cannot read {place}: there is no such file")
    return data


def delete_chunks(output: Place, keep: Collection[str]) -> None:
    """Delete the chunks of a folder that do not count, such as those of lost workers.

    Args:
        output: the folder.
        keep: the names of the folders of the chunks that count.
    """
    folder = output / CHUNKS
    for name in folder.names():
        if name not in keep:
            (folder / name).delete()


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
