"""A run in chunks gives the files of a run in one piece."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from surgsam2 import open_video
from surgsam2.errors import OutputError
from surgsam2.job import JobOptions, segment_to_folder
from surgsam2.job.chunks import Chunk, track_chunk
from surgsam2.job.inputs import check_inputs
from surgsam2.job.join import join_chunks
from surgsam2.model.build import SurgSAM2Model
from surgsam2.storage.hashing import sha256_of
from surgsam2.storage.output_folder import prepare_output
from tests.reliability.conftest import (
    FORMATS,
    FRAMES,
    HEIGHT,
    WIDTH,
    contents,
    prompts_for_two,
    run,
    write_short_file,
)
from tests.video.helpers import blank, write_video


@pytest.fixture(scope="module")
def a_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_short_file(tmp_path_factory.mktemp("chunks") / "clip.mp4")


def in_chunks(
    model: SurgSAM2Model, file: Path, out: Path, steps: int, direction: str,
    formats: tuple[str, ...] = FORMATS,
) -> dict:  # fmt: skip
    """Each chunk opens the video anew, as a process of its own would."""
    options = JobOptions.from_mapping({"formats": formats, "direction": direction})
    prepare_output(out)
    chunks: list[tuple[Chunk, Path]] = []
    while True:
        with open_video(file) as video:
            inputs = check_inputs(model, video, prompts_for_two(), out, options)
            folder = out / ".resume" / "chunks" / f"{len(chunks)}"
            chunk = track_chunk(inputs, chunks, folder, steps)
        chunks.append((Chunk.from_json(json.loads(json.dumps(chunk.as_json()))), folder))
        if chunk.last == inputs.plan.steps:
            break
        assert len(chunks) <= inputs.plan.steps
    join_chunks(inputs, chunks, out, inputs.identity, 0)
    again = JobOptions.from_mapping(options.as_mapping() | {"resume": True})
    with open_video(file) as video:
        record = replace(inputs.model_record, file_sha256=sha256_of(model.checkpoint or ""))
        return segment_to_folder(record, video, prompts_for_two(), out, again)


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
@pytest.mark.parametrize("steps", [1, 4, 100])
def test_chunks_give_the_files_of_one_run(
    a_model: SurgSAM2Model, a_file: Path, tmp_path: Path, steps: int, direction: str
) -> None:
    whole = run(a_model, a_file, prompts_for_two(), tmp_path / "whole", direction=direction)
    report = in_chunks(a_model, a_file, tmp_path / "out", steps, direction)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    for told in ("status", "model", "video", "objects", "frame_range", "skipped", "identity"):
        assert report[told] == whole[told], told
    assert report["timings"]["frames"] == whole["timings"]["frames"]
    assert report["resumed"] == 0


def test_a_video_with_fewer_frames_than_its_packets_say(
    a_model: SurgSAM2Model, tmp_path: Path
) -> None:
    file = write_video(
        tmp_path / "end.avi", FRAMES, codec="mjpeg", pix_fmt="yuvj420p", size=(WIDTH, HEIGHT)
    )
    blank(file, range(10, FRAMES))
    formats = ("png", "csv")  # an overlay would read the video once more
    whole = run(a_model, file, prompts_for_two(), tmp_path / "whole", formats=formats)
    report = in_chunks(a_model, file, tmp_path / "out", 4, "forward", formats)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert report["timings"]["frames"] == whole["timings"]["frames"] == 9
    assert "2 of 11 frames were not segmented" in report["skipped"]
    for section in ("video", "frame_range", "skipped"):
        assert report[section] == whole[section]


def test_a_damaged_chunk_is_refused(a_model: SurgSAM2Model, a_file: Path, tmp_path: Path) -> None:
    with open_video(a_file) as video:
        inputs = check_inputs(a_model, video, prompts_for_two(), tmp_path, JobOptions())
        chunk = track_chunk(inputs, [], tmp_path / "0", 3, lambda done: done == 2)
        assert (chunk.first, chunk.last) == (0, 2)
        again: dict[str, Callable[[], object]] = {
            "state.pt": lambda: track_chunk(inputs, [(chunk, tmp_path / "0")], tmp_path / "1", 3),
            "results.spool": lambda: join_chunks(
                inputs, [(chunk, tmp_path / "0")], tmp_path, inputs.identity, 0
            ),
        }
        for name, use in again.items():
            path = tmp_path / "0" / name
            data = path.read_bytes()
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
            with pytest.raises(OutputError, match=f"{name}: the file is damaged"):
                use()
