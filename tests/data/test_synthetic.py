"""The generator: the same seed gives the same bytes, and labels tell what is seen."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from surgsam2.data import SyntheticClip, VOSDataset, draw_sample, generate_clip
from surgsam2.data.synthetic import organs, write_video, write_vos
from surgsam2.data.synthetic.difficulty import LEVELS, Difficulty
from surgsam2.data.synthetic.motion import ALWAYS, Growth, Presence, Wave
from surgsam2.data.synthetic.motion import Path as Curve
from surgsam2.data.synthetic.organs import SoftBody
from surgsam2.data.synthetic.raster import Fragment, Sprite, merge, smear, smear_shifts
from surgsam2.errors import InputError

SMALL = (128, 96)
TISSUE_NAMES = {tissue.name for tissue in organs.TISSUES}


def digest(clip: SyntheticClip) -> str:
    state = hashlib.sha256()
    for _, frame, labels in clip.frames():
        state.update(frame.tobytes())
        state.update(labels.tobytes())
    return state.hexdigest()


def test_same_seed_gives_the_same_bytes_whatever_other_generators_do() -> None:
    np.random.seed(1)
    random.seed(1)
    cv2.setRNGSeed(1)
    first = digest(generate_clip(7, frames=4, size=SMALL))
    np.random.seed(2)
    random.seed(2)
    cv2.setRNGSeed(2)
    np.random.random(5)
    clip = generate_clip(7, frames=4, size=SMALL)
    assert digest(clip) == first
    assert digest(clip) == first, "iterating again gives the same frames"
    assert digest(generate_clip(8, frames=4, size=SMALL)) != first


def test_global_random_state_is_left_alone() -> None:
    np.random.seed(5)
    expected = np.random.RandomState(5).rand()
    generate_clip(1, frames=2, size=(64, 64)).frame(0)
    assert np.random.random() == expected


def test_bytes_do_not_depend_on_the_number_of_threads() -> None:
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        one = digest(generate_clip(3, frames=2, size=SMALL))
        cv2.setNumThreads(2)
        assert digest(generate_clip(3, frames=2, size=SMALL)) == one
    finally:
        cv2.setNumThreads(threads)


def test_seeds_differ_in_appearance() -> None:
    colours = []
    for seed in range(8):
        frame, _ = generate_clip(seed, frames=1, size=(64, 64)).frame(0)
        colours.append(frame.reshape(-1, 3).mean(axis=0))
    distances = [np.abs(a - b).max() for i, a in enumerate(colours) for b in colours[:i]]
    assert np.median(distances) > 10


def test_frames_and_labels_have_the_promised_form() -> None:
    clip = generate_clip(4, frames=3, size=SMALL, objects=3)
    assert (clip.width, clip.height, clip.frame_count, len(clip)) == (128, 96, 3, 3)
    assert [o.id for o in clip.objects] == [1, 2, 3]
    assert all(o.name and len(o.color) == 7 and o.color[0] == "#" for o in clip.objects)
    indices = []
    for index, frame, labels in clip.frames():
        indices.append(index)
        assert frame.shape == (96, 128, 3)
        assert frame.dtype == np.uint8
        assert labels.shape == (96, 128)
        assert labels.dtype == np.uint16
        assert set(np.unique(labels)) <= {0, 1, 2, 3}
    assert indices == [0, 1, 2]
    video, labels = clip.arrays()
    assert video.shape == (3, 96, 128, 3)
    assert labels.shape == (3, 96, 128)
    frame, label = clip.frame(2)
    assert np.array_equal(frame, video[2])
    assert np.array_equal(label, labels[2])
    assert np.array_equal(clip.labels(2), label), "labels alone are those of the frame"


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (160, 90), (90, 160)])
def test_any_size_can_be_rendered(size: tuple[int, int]) -> None:
    frame, labels = generate_clip(2, frames=1, size=size).frame(0)
    assert frame.shape == (size[1], size[0], 3)
    assert labels.shape == (size[1], size[0])


def test_objects_have_plausible_areas_and_nearly_all_are_there_from_the_start() -> None:
    share, visible, total = [], 0, 0
    for seed in range(30):
        clip = generate_clip(seed, frames=40, size=(96, 96))
        labels = clip.labels(0)
        for item in clip.objects:
            area = np.count_nonzero(labels == item.id) / labels.size
            total += 1
            visible += clip.first_frame(item.id) == 0
            if area:
                share.append(area)
    assert visible / total > 0.75
    assert 0.01 < float(np.median(share)) < 0.25
    assert max(share) < 0.8


def test_first_frame_finds_late_objects() -> None:
    late = 0
    for seed in range(60):
        clip = generate_clip(seed, frames=40, size=(64, 64), difficulty="hard")
        for item in clip.objects:
            first = clip.first_frame(item.id)
            if first:
                late += 1
                needed = 64 * 64 / 500
                assert np.count_nonzero(clip.labels(first) == item.id) >= needed
                assert np.count_nonzero(clip.labels(first - 1) == item.id) < needed
        if late >= 2:
            return
    pytest.fail("no object of 60 hard clips enters late")


def test_labels_end_where_the_field_of_view_ends() -> None:
    for seed in range(6):
        clip = generate_clip(seed, frames=1, size=(96, 96))
        frame, labels = clip.frame(0)
        outside = clip._scene._field.outside
        assert not labels[outside].any()
        assert not outside.any() or frame[outside].mean() < 60


def test_an_object_in_front_takes_pixels_from_the_one_behind() -> None:
    """Rendered with and without what lies above it, an object has fewer and no other pixels."""
    compared = 0
    for seed in range(12):
        clip = generate_clip(seed, frames=10, size=(96, 96), difficulty="hard")
        scene = clip._scene
        full = clip.labels(5)
        layers = list(scene._layers)
        lowest = next(layer for layer in layers if layer.object_id)
        scene._layers = [lowest]
        alone = scene.labels(5.0) == lowest.object_id
        scene._layers = layers
        seen = full == lowest.object_id
        assert not np.any(seen & ~alone)
        compared += int(seen.sum() < alone.sum())
    assert compared >= 3, "occlusion happens"


def test_the_picture_changes_where_the_label_is_when_an_object_is_repainted() -> None:
    """An object in white and in black: the finished frames differ on its label alone."""
    compared = 0
    for seed in range(14):
        clip = generate_clip(seed, frames=4, size=(128, 128), difficulty=0.1)
        scene = clip._scene
        bodies = [x for x in scene._layers if x.object_id and isinstance(x, SoftBody)]
        for body in bodies:
            original = body.sprite
            frames = []
            for tone in (0, 255):
                rgba = original.rgba.copy()
                rgba[..., :3] = tone
                body.sprite = Sprite(rgba, original.surface)
                frame, labels = clip.frame(1)
                frames.append(frame.astype(int))
            body.sprite = original
            change = np.abs(frames[1] - frames[0]).max(axis=2)
            label = (labels == body.object_id).astype(np.uint8)
            grown = cv2.dilate(label, np.ones((5, 5), np.uint8)).astype(bool)
            shrunk = cv2.erode(label, np.ones((3, 3), np.uint8)).astype(bool)
            assert change[~grown].max() < 25, "no more than the rest of a soft edge"
            if shrunk.sum() > 50:
                compared += 1
                assert np.mean(change[shrunk] > 6) > 0.9
    assert compared >= 10


def test_memory_does_not_grow_with_the_number_of_frames() -> None:
    clip = generate_clip(3, frames=30, size=(128, 128))
    frames = clip.frames()
    next(frames)
    tracemalloc.start()
    next(frames)
    tracemalloc.reset_peak()
    start = tracemalloc.get_traced_memory()[0]
    for _ in frames:
        pass
    end = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert end - start < 128 * 128 * 3, "less than one frame is kept"


def test_difficulty_is_monotonic_and_named() -> None:
    assert Difficulty.parse("normal") == Difficulty.parse(LEVELS["normal"])
    easy, hard = Difficulty.parse("easy"), Difficulty.parse(1.0)
    for name in ("motion", "pan", "zoom", "deformation", "shutter", "lookalikes", "smoke"):
        assert getattr(easy, name) < getattr(hard, name)


def test_an_organ_with_a_neighbour_touches_an_unlabelled_one_of_its_tissue() -> None:
    touched, count = 0, 0
    for seed in range(6):
        clip = SyntheticClip(seed, 2, SMALL, 4, Difficulty(0.2, neighbours=1.0))
        layers = [x for x in clip._scene._layers if isinstance(x, SoftBody)]
        for organ in (x for x in layers if clip.object_names.get(x.object_id) in TISSUE_NAMES):
            count += 1
            beside = [x for x in layers if x.sway is organ.sway and x is not organ]
            assert [x.object_id for x in beside] == [0], "one that goes with it, unlabelled"
            gap = np.hypot(*(beside[0].anchor(1.0) - organ.anchor(1.0)))
            touched += gap < organ.radius + beside[0].radius
    assert count > 4
    assert touched == count


def test_a_neighbour_goes_with_an_organ_that_is_moved() -> None:
    clip = SyntheticClip(0, 2, SMALL, 4, Difficulty(0.2, neighbours=1.0))
    layers = [x for x in clip._scene._layers if isinstance(x, SoftBody)]
    organ = next(x for x in layers if x.neighbour is not None)
    assert organ.neighbour is not None
    before = organ.neighbour.anchor(1.0) - organ.anchor(1.0)
    home = organ.home
    organ.centre_in(0.55)
    assert np.allclose(organ.home, home * 0.55)
    assert np.allclose(organ.neighbour.anchor(1.0) - organ.anchor(1.0), before)


def test_a_toned_sprite_keeps_its_shape_and_changes_its_colour() -> None:
    rng = np.random.default_rng(3)
    plain = organs.tissue_sprite(rng, organs.blob_shape(rng, 64), organs.TISSUES[1])
    toned = organs.toned(rng, plain)
    assert np.array_equal(toned.rgba[..., 3], plain.rgba[..., 3])
    assert np.array_equal(toned.surface, plain.surface)
    change = np.abs(toned.rgba[..., :3].astype(int) - plain.rgba[..., :3]).mean(axis=2)
    assert change.max() > 10
    assert change.min() < 0.5 * change.max(), "one side more than the other"


def test_leaving_decides_how_many_objects_leave() -> None:
    def absent(leaving: float) -> float:
        gone, seen = 0, 0
        for seed in range(8):
            clip = generate_clip(seed, 60, SMALL, 3, Difficulty(0.3, leaving=leaving))
            for index in range(24, 60, 6):
                labels = clip.labels(index)
                gone += sum(i not in labels for i in clip.object_ids)
                seen += len(clip.object_ids)
        return gone / seen

    assert absent(1.0) > absent(0.0) + 0.1


def test_the_default_scene_has_neither_neighbours_nor_its_own_rate_of_leaving() -> None:
    same = digest(generate_clip(5, 2, SMALL, difficulty=0.5))
    assert digest(generate_clip(5, 2, SMALL, difficulty=Difficulty(0.5))) == same
    assert digest(generate_clip(5, 2, SMALL, difficulty=Difficulty(0.5, neighbours=1.0))) != same


def test_harder_clips_move_more() -> None:
    def motion(difficulty: str) -> float:
        changes = []
        for seed in range(5):
            clip = generate_clip(seed, frames=20, size=(64, 64), difficulty=difficulty)
            changes += [np.mean(clip.labels(i) != clip.labels(i + 4)) for i in (0, 8)]
        return float(np.mean(changes))

    assert motion("easy") < motion("hard")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed must not be negative, got -1"),
        ({"frames": 0}, "frames must be at least 1, got 0"),
        ({"size": (20, 64)}, "size must be at least 32x32, got 20x64"),
        ({"objects": 0}, "objects must be from 1 to 16, got 0"),
        ({"difficulty": "brutal"}, "one of easy, normal, hard or a number"),
        ({"difficulty": 1.5}, "difficulty must be from 0 to 1, got 1.5"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        generate_clip(**{"seed": 0, "frames": 1, "size": (64, 64), **arguments})


def test_bad_difficulties_are_refused() -> None:
    with pytest.raises(InputError, match="neighbours must be from 0 to 1, got 2"):
        Difficulty(0.5, neighbours=2.0)
    with pytest.raises(InputError, match=r"leaving must be from 0 to 1, got -0\.1"):
        Difficulty(0.5, leaving=-0.1)


def test_unknown_frames_and_objects_are_refused() -> None:
    clip = generate_clip(0, frames=2, size=(64, 64), objects=1)
    with pytest.raises(InputError, match="from 0 to 1, got 2"):
        clip.frame(2)
    with pytest.raises(InputError, match="from 0 to 1, got -1"):
        clip.labels(-1)
    with pytest.raises(InputError, match=r"object_id must be one of \[1\], got 9"):
        clip.first_frame(9)


@pytest.mark.parametrize("image_format", ["png", "jpg"])
def test_a_written_clip_reads_back(tmp_path: Path, image_format: str) -> None:
    clip = generate_clip(11, frames=3, size=SMALL)
    write_vos(clip, tmp_path, "clip", image_format=image_format)  # type: ignore[arg-type]
    (sequence,) = VOSDataset(tmp_path)
    assert sequence.name == "clip"
    assert len(sequence) == 3
    for index, frame, labels in clip.frames():
        read, annotation = sequence.read(index)
        assert annotation is not None
        assert np.array_equal(annotation, labels)
        difference = np.abs(read.astype(int) - frame)
        assert difference.max() == 0 if image_format == "png" else difference.mean() < 4


def test_a_written_video_has_the_frames(tmp_path: Path) -> None:
    import av

    clip = generate_clip(12, frames=5, size=SMALL)
    path = write_video(clip, tmp_path / "clip.mp4")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.average_rate == 25
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
    assert len(frames) == 5
    for index, frame, _ in clip.frames():
        assert np.abs(frames[index].astype(int) - frame).mean() < 5


def test_odd_sizes_and_formats_are_refused_when_writing(tmp_path: Path) -> None:
    clip = generate_clip(0, frames=1, size=(65, 64))
    with pytest.raises(InputError, match="even width and height, got 65x64"):
        write_video(clip, tmp_path / "clip.mp4")
    with pytest.raises(InputError, match="image_format must be jpg or png"):
        write_vos(clip, tmp_path, "clip", image_format="gif")  # type: ignore[arg-type]


def test_samples_can_be_drawn_from_a_clip_without_files() -> None:
    clip = generate_clip(5, frames=12, size=(64, 64))
    sample = draw_sample(clip, 3, frames=4)
    assert sample.frames.shape == (4, 64, 64, 3)
    assert set(sample.object_ids) <= set(clip.object_ids)


def test_motions_are_smooth_and_bounded() -> None:
    wave = Wave(np.random.default_rng(0), 2, 0.5)
    values = np.array([wave(t) for t in range(300)])
    assert np.abs(values).max() <= 0.5
    assert np.abs(np.diff(values, axis=0)).max() < 0.25
    curve = Curve(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]), gap=10)
    assert curve(0) == pytest.approx([0, 0])
    assert curve(10) == pytest.approx([1, 0])
    assert curve(99) == pytest.approx([1, 1])
    assert ALWAYS(0) == ALWAYS(1e6) == 1.0
    visit = Presence([(10, 30)], ramp=5)
    assert visit(9) == 0.0
    assert visit(20) == 1.0
    assert visit(31) == 0.0
    assert 0 < visit(12) < 1
    assert Growth(5, 10)(4) == 0.0
    assert Growth(5, 10)(40) == 1.0


def test_merged_parts_cover_each_other() -> None:
    def part(x0: int, colour: int) -> Fragment:
        rgba = np.full((4, 6, 4), colour, np.uint8)
        rgba[..., 3] = 255
        return Fragment(x0, 2, rgba, np.full((4, 6, 3), colour, np.uint8))

    whole = merge([part(0, 50), part(3, 200)])
    assert whole is not None
    assert whole.rgba.shape == (4, 9, 4)
    assert np.all(whole.rgba[:, :3, 0] == 50)
    assert np.all(whole.rgba[:, 3:, 0] == 200)
    assert np.all(whole.rgba[..., 3] == 255)
    assert merge([]) is None


@pytest.mark.parametrize("velocity", [(10.0, 0.0), (-7.0, 9.0), (3.0, 1.0), (0.0, -60.0)])
def test_a_smear_is_centred_and_along_the_movement(velocity: tuple[float, float]) -> None:
    point = np.zeros((81, 81), np.float32)
    point[40, 40] = 1.0
    smeared = smear(point, smear_shifts(np.array(velocity)))
    assert smeared.shape == point.shape
    assert smeared.sum() == pytest.approx(1.0)
    ys, xs = np.nonzero(smeared)
    weights = smeared[ys, xs]
    assert abs((xs * weights).sum() - 40) <= 0.5
    assert abs((ys * weights).sum() - 40) <= 0.5
    along = np.array([np.ptp(xs), np.ptp(ys)])
    expected = np.abs(velocity) * min(1.0, 40 / np.hypot(*velocity))
    assert np.all(np.abs(along - expected) <= 0.3 * expected + 1.5)


def test_slow_things_are_not_smeared() -> None:
    assert smear_shifts(np.array([1.0, 1.0])) == []
