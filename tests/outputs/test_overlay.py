from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from surgsam2.errors import InputError, OutputError
from surgsam2.outputs import OutputSet, OverlayWriter, draw_overlay
from surgsam2.outputs.base import OutputUpdate
from surgsam2.storage.output_folder import RESUME


def decode(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        return stream, frames


def pixels(frame):
    return frame.to_ndarray(format="rgb24")


def write(run, folder, indices=(0, 1, 2)):
    writer = OverlayWriter(folder, run.context)
    for index in indices:
        writer.write(run.frame(index), run.result(index))
    return writer


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (25, 25),
        (30000 / 1001, Fraction(30000, 1001)),
        (Fraction(24000, 1001), Fraction(24000, 1001)),
        (12.5, Fraction(25, 2)),
        (0, 25),
        (None, 25),
        (float("nan"), 25),
    ],
)
def test_frame_rates(a_run, tmp_path, fps, expected):
    write(a_run(fps=fps), tmp_path).close()
    stream, frames = decode(tmp_path / "overlay.mp4")
    assert stream.average_rate == expected
    assert len(frames) == 3
    assert stream.codec_context.name == "h264"
    assert stream.codec_context.pix_fmt == "yuv420p"
    assert [path.name for path in tmp_path.iterdir()] == ["overlay.mp4"]


@pytest.mark.parametrize("size", [(1, 1), (33, 27), (64, 48)])
def test_odd_sizes_are_padded(a_run, tmp_path, size):
    run = a_run(ids=(), width=size[0], height=size[1])
    write(run, tmp_path).close()
    stream, _ = decode(tmp_path / "overlay.mp4")
    assert (stream.width, stream.height) == (size[0] + size[0] % 2, size[1] + size[1] % 2)


@pytest.mark.parametrize(("height", "space"), [(720, 1), (480, 6)])
def test_colors_survive_and_are_tagged(a_run, tmp_path, height, space):
    run = a_run(ids=(), width=64, height=height)
    colors = [(200, 40, 40), (40, 180, 60), (30, 60, 200), (240, 230, 40), (255, 255, 255)]
    writer = OverlayWriter(tmp_path, run.context)
    for index, color in enumerate(colors):
        frame = np.empty((height, 64, 3), np.uint8)
        frame[:] = color
        writer.write(frame, run.nothing(index))
    writer.close()
    stream, frames = decode(tmp_path / "overlay.mp4")
    assert stream.codec_context.color_primaries == stream.codec_context.color_trc == space
    for color, frame in zip(colors, frames, strict=True):
        assert (frame.colorspace, frame.color_range) == (space, 1)
        found = pixels(frame)[20:40, 20:60].reshape(-1, 3).mean(axis=0)
        assert np.abs(found - color).max() < 4


def test_gaps_in_the_indices_are_gaps_in_time(a_run, tmp_path):
    write(a_run(), tmp_path, (10, 11, 15)).close()
    _, frames = decode(tmp_path / "overlay.mp4")
    assert [round(frame.time * 25) for frame in frames] == [0, 1, 5]


def test_frames_must_ascend(a_run, tmp_path):
    assert OverlayWriter.needs_order
    writer = write(a_run(), tmp_path)
    with pytest.raises(InputError, match="frame 1 came after 2"):
        writer.write(a_run().frame(), a_run().result(1))
    writer.close()
    assert len(decode(tmp_path / "overlay.mp4")[1]) == 3  # what came before is kept


def test_no_frames_no_file(a_run, tmp_path):
    OverlayWriter(tmp_path, a_run().context).close()
    assert list(tmp_path.iterdir()) == []


def test_the_earlier_video_stays_until_the_new_one_is_complete(a_run, tmp_path):
    (tmp_path / "overlay.mp4").write_text("old")
    writer = write(a_run(), tmp_path)
    assert (tmp_path / "overlay.mp4").read_text() == "old"
    writer.close()
    writer.close()
    assert len(decode(tmp_path / "overlay.mp4")[1]) == 3


def test_without_libx264(a_run, tmp_path, monkeypatch):
    real = av.Codec

    def missing(name, *arguments):
        if name == "libx264":
            raise av.codec.codec.UnknownCodecError(name)
        return real(name, *arguments)

    monkeypatch.setattr(av, "Codec", missing)
    write(a_run(), tmp_path).close()
    stream, frames = decode(tmp_path / "overlay.mp4")
    assert (stream.codec_context.name, len(frames)) == ("mpeg4", 3)


def test_an_unwritable_folder_is_noticed_at_once(a_run, tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*overlay\.mp4"):
        OverlayWriter(tmp_path / "none", a_run().context)


def test_a_full_disk(a_run, tmp_path, a_full_disk):
    writer = write(a_run(), tmp_path)
    a_full_disk()
    with pytest.raises(OutputError, match=r"overlay\.mp4: No space left"):
        writer.close()
    writer.close()
    assert list(tmp_path.iterdir()) == []


class TestDrawing:
    def test_fill_contour_and_the_rest_untouched(self, a_run):
        run = a_run(ids=(1,), width=200, height=150, names=("x",))
        frame = run.frame()
        before = frame.copy()
        mask = np.zeros((1, 150, 200), bool)
        mask[0, 60:120, 60:140] = True
        drawn = draw_overlay(frame, run.result(0, mask), run.context, opacity=0.5)
        assert np.array_equal(frame, before)
        color = np.array(run.context.objects[0].rgb)
        # away from the label: the fill is half way, the contour is the colour
        assert np.abs(drawn[110, 70].astype(int) - (frame[110, 70] + color) / 2).max() <= 1
        assert np.abs(drawn[119, 100].astype(int) - color).max() < 48
        assert np.array_equal(drawn[:, 160:], frame[:, 160:])

    def test_the_label_is_there_wherever_the_object_lies(self, a_run):
        run = a_run(ids=(1,), width=300, height=200, names=("grasper",))
        other = a_run(ids=(1,), width=300, height=200, names=(".",))
        for box in [(100, 120, 80, 160), (0, 30, 100, 200), (0, 200, 0, 300), (190, 200, 290, 300)]:
            mask = np.zeros((1, 200, 300), bool)
            mask[0, box[0] : box[1], box[2] : box[3]] = True
            result = run.result(0, mask)
            named, unnamed = (
                draw_overlay(run.frame(), result, each.context) for each in (run, other)
            )
            assert (named != unnamed).any(axis=-1).sum() > 200

    def test_labels_do_not_cover_each_other(self, a_run):
        run = a_run(ids=(1, 2), width=300, height=200, names=("one", "two"))
        masks = np.zeros((2, 200, 300), bool)
        masks[:, 100:120, 100:140] = True
        other = a_run(ids=(1, 2), width=300, height=200, names=(".", "."))
        frame = np.full((200, 300, 3), 90, np.uint8)
        named, dots = (draw_overlay(frame, run.result(0, masks), r.context) for r in (run, other))
        rows = np.flatnonzero((named != dots).any(axis=(1, 2))[:180])
        assert (np.diff(rows) > 10).sum() == 1  # two separate bands of letters

    @pytest.mark.parametrize("name", ["Größe é", "胆囊", "a" * 200, "?", "%s", "日 1"])
    @pytest.mark.parametrize("size", [(1, 1), (20, 10), (300, 200)])
    def test_any_name_and_size(self, a_run, name, size):
        run = a_run(ids=(1,), width=size[0], height=size[1], names=(name,))
        mask = np.ones((1, size[1], size[0]), bool)
        drawn = draw_overlay(run.frame(), run.result(0, mask), run.context)
        assert drawn.shape == (size[1], size[0], 3)

    @pytest.mark.parametrize("ground", [0, 90, 255, "own"])
    @pytest.mark.parametrize("color", [(230, 60, 60), (12, 12, 20), (250, 250, 240)])
    def test_the_outline_is_seen_on_any_ground(self, a_run, ground, color):
        run = a_run(ids=(1,), width=300, height=200, names=(".",))
        item = replace(run.context.objects[0], color="#{:02x}{:02x}{:02x}".format(*color))
        context = replace(run.context, objects=(item,))
        frame = np.full((200, 300, 3), color if ground == "own" else ground, np.uint8)
        mask = np.zeros((1, 200, 300), bool)
        mask[0, 60:140, 80:200] = True
        drawn = draw_overlay(frame, run.result(0, mask), context)[100, 60:100].astype(int)
        contrast = np.abs(drawn[:, None] - drawn[None]).sum(axis=-1).max()
        assert contrast > 150

    def test_the_label_is_at_the_largest_part(self, a_run):
        run = a_run(ids=(1,), width=400, height=300, names=("grasper",))
        other = a_run(ids=(1,), width=400, height=300, names=(".",))
        mask = np.zeros((1, 300, 400), bool)
        mask[0, 2:8, 2:8] = True
        mask[0, 180:280, 250:380] = True
        frame = np.full((300, 400, 3), 90, np.uint8)
        named, dot = (draw_overlay(frame, run.result(0, mask), r.context) for r in (run, other))
        rows, columns = np.nonzero((named != dot).any(axis=-1))
        assert rows.min() > 140
        assert columns.min() > 200

    def test_empty_masks_and_no_objects_draw_only_the_frame_number(self, a_run):
        run = a_run(ids=(1,), width=300, height=200)
        empty = draw_overlay(run.frame(), run.result(0, np.zeros((1, 200, 300), bool)), run.context)
        assert np.array_equal(empty, draw_overlay(run.frame(), run.nothing(), run.context))
        assert np.array_equal(empty[:150], run.frame()[:150])


def test_times_and_shape_of_pixels_are_kept(a_run, tmp_path):
    run = a_run()
    times = np.array([0.0, 0.04, 0.08, 0.5, 0.54])
    context = replace(run.context, times=times, pixel_aspect=Fraction(16, 11))
    with OutputSet(tmp_path, ["overlay"], context) as outputs:
        for index in (1, 2, 3, 4):
            outputs.write(run.frame(index), run.result(index))
    with av.open(tmp_path / "overlay.mp4") as overlay:
        stream = overlay.streams.video[0]
        found = [frame.time for frame in overlay.decode(stream)]
        assert stream.sample_aspect_ratio == Fraction(16, 11)
    assert np.allclose(found, times[1:] - times[1], atol=1e-3)


def test_an_update_opens_no_playlist(a_run, tmp_path):
    """A stranger's file in place of the video cannot bring other files in."""
    run, path = a_run(), tmp_path / "overlay.mp4"
    write(run, tmp_path).close()
    (tmp_path / RESUME).mkdir()

    def rewrite(writer, start, stop):
        for index in range(start, stop):
            writer.write(run.frame(index), run.result(index))

    frames = (0, 1, 2)
    update = OutputUpdate(
        tmp_path, run.context, frames, frames, frozenset({1}), rewrite, run.result
    )
    assert OverlayWriter.update(update)
    path.rename(tmp_path / "other.mp4")
    playlist = "ffconcat version 1.0\nfile other.mp4\n"
    path.write_text(playlist)
    assert not OverlayWriter.update(update)
    assert path.read_text() == playlist
