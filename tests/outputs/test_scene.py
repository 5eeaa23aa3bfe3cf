import builtins
import shutil
from collections import namedtuple

import numpy as np
import pytest

import surgsam2
from surgsam2.errors import InputError, MissingDependencyError, OutputError
from surgsam2.job import JobOptions, segment_to_folder
from surgsam2.outputs import OutputContext, SceneWriter, prepare_output
from surgsam2.tracking.options import TrackingOptions

slicer = pytest.importorskip("slicer")

from surgsam2.mrml import load_scene, open_mask_nodes  # noqa: E402


def load(folder):
    scene = slicer.vtkMRMLScene()
    load_scene(scene, folder / "scene.mrb")
    return open_mask_nodes(scene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode"))


def test_frames_masks_names_and_colours(a_run, tmp_path):
    run = a_run(ids=(3, 300), names=("Gallenblase ü", 'a "b", c'), fps=29.97)
    writer = SceneWriter(tmp_path, run.context)
    for index in (4, 6, 9):
        writer.write(run.frame(index), run.result(index))
    writer.write(run.frame(10), run.nothing(10))
    writer.close()
    writer.close()
    masks = load(tmp_path)
    video = masks.video
    assert [video.frame_number(k) for k in range(4)] == [4, 6, 9, 10]
    assert video.fps == 29.97
    assert [(s.id, s.name, s.color) for s in masks.objects] == [
        (o.id, o.name, o.color) for o in run.context.objects
    ]
    for k in range(3):
        assert np.array_equal(video.frame(k), run.frame((4, 6, 9)[k]))
        for object_id, mask in zip((3, 300), run.masks(), strict=True):  # they overlap
            assert np.array_equal(masks.mask(k, object_id), mask)
    assert not masks.has_masks(3)


def test_it_is_there_when_it_is_complete(a_run, tmp_path):
    run = a_run()
    writer = SceneWriter(tmp_path, run.context)
    writer.write(run.frame(), run.result())
    assert not (tmp_path / "scene.mrb").exists()
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["scene.mrb"]


def test_what_a_killed_process_leaves_is_removed_by_the_next(a_run, tmp_path):
    run = a_run()
    prepare_output(tmp_path)
    writer = SceneWriter(tmp_path, run.context)
    writer.write(run.frame(), run.result())
    (part,) = tmp_path.glob(".scene.mrb.*.part")
    prepare_output(tmp_path)
    assert not part.exists()
    with pytest.raises(OutputError, match=r"scene\.mrb"):
        writer.close()


def test_frames_must_ascend(a_run, tmp_path):
    run = a_run()
    writer = SceneWriter(tmp_path, run.context)
    writer.write(run.frame(), run.result(5))
    with pytest.raises(InputError, match="ascending frames: frame 5 came after 5"):
        writer.write(run.frame(), run.result(5))
    writer.close()
    assert load(tmp_path).video.frame_count == 1


def test_a_run_without_frames_leaves_no_file(a_run, tmp_path):
    SceneWriter(tmp_path, a_run().context).close()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(a_run, tmp_path, a_full_disk):
    run = a_run()
    (tmp_path / "scene.mrb").write_text("old")
    writer = SceneWriter(tmp_path, run.context)
    writer.write(run.frame(), run.result())
    a_full_disk()
    with pytest.raises(OutputError, match=r"scene\.mrb: No space left"):
        writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["scene.mrb"]


def test_scenes_that_slicer_could_not_hold_are_refused(a_run, tmp_path):
    objects = a_run().context.objects
    context = OutputContext(1280, 720, 25, objects, frame_count=100_000)
    with pytest.raises(InputError, match=r"276.5 GB, .* at most \d+ frames with --start and"):
        SceneWriter.check_run(tmp_path / "out", context)
    SceneWriter.check_run(tmp_path, OutputContext(1280, 720, 25, objects))  # length not known


def test_scenes_that_the_disk_cannot_hold_are_refused(a_run, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 0, 10**6))
    context = OutputContext(64, 48, 25, a_run().context.objects, frame_count=200)
    with pytest.raises(
        InputError, match=r"200 frames, 1\.8 MB, .* 1\.0 MB on the disk; choose at most 108 frames"
    ):
        SceneWriter.check_run(tmp_path, context)
    large = OutputContext(1280, 720, 25, context.objects, frame_count=5)
    with pytest.raises(InputError, match="on the disk; make room, or leave the format out"):
        SceneWriter.check_run(tmp_path, large)


def test_without_slicers_libraries(a_run, tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *rest, **options):
        if name == "surgsam2.mrml.scene_stream":
            raise ModuleNotFoundError("No module named 'slicer'", name="slicer")
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingDependencyError, match="pip install slicer-core"):
        SceneWriter(tmp_path, a_run().context)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def prompts():
    return surgsam2.PromptSet().add(
        object_id=4, frame=3, box=[10, 40, 40, 80], name="disc", color="#f0dc3c"
    )


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_runs_in_every_direction(a_model, a_clip, prompts, tmp_path, direction):
    video = surgsam2.open_video(a_clip[:6], fps=10)
    seen = {r.frame_index: r for r in surgsam2.segment_video(
        a_model, video, prompts, direction=direction)}  # fmt: skip
    options = JobOptions(formats=("scene",), tracking=TrackingOptions(direction=direction))
    report = segment_to_folder(a_model, video, prompts, tmp_path / "out", options)
    assert report["status"] == "complete"
    masks = load(tmp_path / "out")
    numbers = [masks.video.frame_number(k) for k in range(masks.video.frame_count)]
    assert numbers == sorted(seen)
    assert masks.video.fps == 10
    assert (masks.objects[0].name, masks.objects[0].color) == ("disc", "#f0dc3c")
    for k, number in enumerate(numbers):
        assert np.array_equal(masks.video.frame(k), a_clip[number])
        expected = seen[number].mask(4) if 4 in seen[number].object_ids else np.zeros((120, 160))
        assert np.array_equal(masks.mask(k, 4), expected)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_stopped_run_keeps_what_was_tracked(a_model, a_clip, prompts, tmp_path, direction):
    done = []
    options = JobOptions(formats=("scene",), tracking=TrackingOptions(direction=direction))
    report = segment_to_folder(
        a_model,
        surgsam2.open_video(a_clip[:6]),
        prompts,
        tmp_path / "out",
        options,
        progress=lambda *step: done.append(step),
        should_stop=lambda: len(done) == 2,
    )
    assert report["status"] == "interrupted"
    masks = load(tmp_path / "out")
    assert masks.video.frame_count == report["timings"]["frames"] > 0
    assert masks.video.frame_count < 6


def test_refused_before_the_folder_is_touched(a_model, a_clip, prompts, tmp_path, monkeypatch):
    monkeypatch.setattr("surgsam2.outputs.scene.MAX_BYTES", 160 * 120 * 3 * 2)
    options = JobOptions(formats=("scene",))
    with pytest.raises(InputError, match="choose at most 2 frames"):
        segment_to_folder(a_model, surgsam2.open_video(a_clip), prompts, tmp_path / "out", options)
    assert list(tmp_path.iterdir()) == []
