import numpy as np
import pytest
from PIL import Image

from surgsam2.errors import InputError, OutputError
from surgsam2.outputs import LabelPngWriter


def write(run, folder, *results):
    writer = LabelPngWriter(folder, run.context)
    for result in results:
        writer.write(run.frame(), result)
    writer.close()


def test_eight_bits_with_the_objects_colors_later_objects_on_top(a_run, tmp_path):
    run = a_run(ids=(7, 2))
    write(run, tmp_path, run.result(3))
    image = Image.open(tmp_path / "masks" / "00003.png")
    assert (image.mode, image.size) == ("P", (64, 48))
    labels = np.asarray(image)
    assert labels[10, 5] == 7
    assert labels[10, 12] == 2  # both objects: the later one
    assert set(np.unique(labels)) == {0, 2, 7}
    assert image.convert("RGB").getpixel((5, 10)) == run.context.object(7).rgb
    assert image.convert("RGB").getpixel((0, 0)) == (0, 0, 0)
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["00003.png"]


def test_the_sets_order_counts_not_the_results(a_run, tmp_path):
    run = a_run(ids=(7, 2))
    write(run, tmp_path, run.result(masks=run.masks()[::-1], ids=(2, 7)))
    assert np.asarray(Image.open(tmp_path / "masks" / "00000.png"))[10, 12] == 2


def test_other_entries_have_the_usual_colors(a_run, tmp_path):
    run = a_run(ids=(1,))
    write(run, tmp_path, run.nothing())
    palette = Image.open(tmp_path / "masks" / "00000.png").getpalette()
    assert palette[6:15] == [0, 128, 0, 128, 128, 0, 0, 0, 128]  # 2, 3, 4 of PASCAL VOC


def test_sixteen_bits_when_an_id_needs_them(a_run, tmp_path):
    run = a_run(ids=(1, 65535))
    write(run, tmp_path, run.result(123456))
    image = Image.open(tmp_path / "masks" / "123456.png")
    assert image.mode == "I;16"
    assert set(np.unique(np.asarray(image))) == {0, 1, 65535}


def test_empty_masks_no_objects_and_odd_sizes(a_run, tmp_path):
    run = a_run(width=33, height=27)
    write(run, tmp_path, run.result(0, np.zeros((2, 27, 33), bool)), run.nothing(1))
    for name in ("00000.png", "00001.png"):
        image = Image.open(tmp_path / "masks" / name)
        assert image.size == (33, 27)
        assert not np.asarray(image).any()


def test_any_order_of_frames_and_rewriting(a_run, tmp_path):
    run = a_run()
    assert not LabelPngWriter.needs_order
    write(run, tmp_path, run.result(5), run.result(1), run.nothing(5))
    assert not np.asarray(Image.open(tmp_path / "masks" / "00005.png")).any()


def test_results_of_another_run_are_refused(a_run, tmp_path):
    run = a_run()
    with pytest.raises(InputError, match=r"object 9 is not among the run's objects \(1, 2\)"):
        write(run, tmp_path, run.result(ids=(1, 9)))
    with pytest.raises(InputError, match="the masks have shape"):
        write(run, tmp_path, run.result(masks=np.zeros((2, 4, 4), bool)))
    writer = LabelPngWriter(tmp_path, run.context)
    with pytest.raises(InputError, match=r"expected \(48, 64, 3\) uint8"):
        writer.write(run.frame()[:5], run.result())


def test_a_full_disk_keeps_the_old_image_and_no_rest(a_run, tmp_path, a_full_disk):
    run = a_run()
    write(run, tmp_path, run.result())
    a_full_disk()
    with pytest.raises(OutputError, match=r"00000\.png: No space left"):
        write(run, tmp_path, run.nothing())
    assert np.asarray(Image.open(tmp_path / "masks" / "00000.png")).any()
    assert len(list((tmp_path / "masks").iterdir())) == 1


def test_an_unwritable_folder(a_run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*masks"):
        LabelPngWriter(tmp_path / "file", a_run().context)
