"""Files of text of which only the parts of changed frames are written anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from surgsam2.outputs import CocoWriter, OutputWriter, TableWriter
from surgsam2.outputs.base import OutputUpdate
from surgsam2.outputs.coco import CocoPolygonWriter
from surgsam2.results.frame_result import FrameResult

WRITERS = pytest.mark.parametrize("writer", [CocoWriter, CocoPolygonWriter, TableWriter])


@pytest.fixture
def results(a_run) -> dict[int, FrameResult]:
    """Results of the frames 3 to 9; object 2 is nowhere on frame 5, frame 8 has no objects."""
    run = a_run(names=('liver, "left"', "ö"))
    found = {index: run.result(index) for index in range(3, 10)}
    found[5].masks[1] = False
    found[8] = run.nothing(8)
    return found


def write(writer, folder: Path, context, results: dict[int, FrameResult]) -> bytes:
    folder.mkdir(exist_ok=True)
    file = writer(folder, context)
    frame = np.zeros((context.height, context.width, 3), np.uint8)
    for result in results.values():
        file.write(frame, result)
    file.close()
    return (folder / writer.file_name).read_bytes()


def an_update(folder: Path, context, before, after: dict[int, FrameResult], changed, asked=None):
    def result(index: int) -> FrameResult:
        if asked is not None:
            asked.append(index)
        return after[index]

    def write(writer: OutputWriter, start: int, stop: int) -> None:
        raise AssertionError("no pixels are needed")

    return OutputUpdate(
        folder, context, tuple(before), tuple(sorted(after)), frozenset(changed), write, result
    )


@WRITERS
def test_it_is_the_file_that_is_written_anew(writer, a_run, results, tmp_path) -> None:
    context = a_run(names=('liver, "left"', "ö")).context
    write(writer, tmp_path / "one", context, results)
    changed = dict(results)
    changed[4] = replace(results[4], masks=np.roll(results[4].masks, 3, axis=2))
    changed[5] = replace(results[5], masks=np.ones_like(results[5].masks))  # one more annotation
    changed[7] = replace(results[7], masks=np.zeros_like(results[7].masks))  # two fewer
    changed[10] = replace(results[4], frame_index=10)  # after the earlier ones
    changed[1] = replace(results[4], frame_index=1)  # before them
    changed = dict(sorted(changed.items()))
    expected = write(writer, tmp_path / "other", context, changed)
    asked: list[int] = []
    update = an_update(tmp_path / "one", context, results, changed, {1, 4, 5, 7, 10}, asked)
    assert writer.update(update)
    assert (tmp_path / "one" / writer.file_name).read_bytes() == expected
    assert asked == [1, 4, 5, 7, 10], "no other frame is read"
    assert [path.name for path in (tmp_path / "one").iterdir()] == [writer.file_name]


@WRITERS
def test_a_file_without_objects(writer, a_run, tmp_path) -> None:
    run = a_run()
    nothing = {index: run.nothing(index) for index in range(3)}
    write(writer, tmp_path / "one", run.context, nothing)
    changed = nothing | {1: run.result(1)}
    expected = write(writer, tmp_path / "other", run.context, changed)
    assert writer.update(an_update(tmp_path / "one", run.context, nothing, changed, {1}))
    assert (tmp_path / "one" / writer.file_name).read_bytes() == expected


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def edited(data: bytes) -> bytes:
    return b"another program\n" + data


def not_text(data: bytes) -> bytes:
    return data[:-40] + b"\xff" + data[-40:]


@WRITERS
@pytest.mark.parametrize("damage", [cut, edited, not_text])
def test_a_file_that_is_not_the_one_written_stays(
    writer, damage: Callable[[bytes], bytes], a_run, results, tmp_path
) -> None:
    context = a_run(names=('liver, "left"', "ö")).context
    data = damage(write(writer, tmp_path / "one", context, results))
    (tmp_path / "one" / writer.file_name).write_bytes(data)
    assert not writer.update(an_update(tmp_path / "one", context, results, results, {4}))
    assert (tmp_path / "one" / writer.file_name).read_bytes() == data
    assert [path.name for path in (tmp_path / "one").iterdir()] == [writer.file_name]


@WRITERS
def test_other_frames_another_order_and_no_file(writer, a_run, results, tmp_path) -> None:
    context = a_run(names=('liver, "left"', "ö")).context
    reverse = dict(reversed(results.items()))
    assert not writer.update(an_update(tmp_path, context, results, results, {4}))
    write(writer, tmp_path, context, reverse)
    assert not writer.update(an_update(tmp_path, context, results, results, {4}))
    fewer = {index: results[index] for index in (3, 4, 5, 6)}
    write(writer, tmp_path, context, results)
    assert not writer.update(an_update(tmp_path, context, fewer, fewer, {4}))


@pytest.mark.parametrize("writer", [CocoWriter, CocoPolygonWriter])
def test_annotations_of_other_objects_are_written_anew(writer, a_run, results, tmp_path) -> None:
    write(writer, tmp_path, a_run().context, results)
    renamed = a_run(names=("spleen", "ö")).context
    assert not writer.update(an_update(tmp_path, renamed, results, results, {4}))
