import json

import av
import numpy as np
import pytest
from PIL import Image

from surgsam2.errors import InputError, OutputError
from surgsam2.job.options import DEFAULT_FORMATS
from surgsam2.outputs import FORMATS, OutputSet, OutputWriter

ALL = ("png", "overlay", "coco", "csv")


def test_every_format_gets_every_frame(a_run, tmp_path):
    run = a_run()
    with OutputSet(tmp_path, DEFAULT_FORMATS, run.context) as outputs:
        for index in range(4):
            outputs.write(run.frame(index), run.result(index))
    check_complete(tmp_path, 4)


def check_complete(folder, count):
    assert len(list((folder / "masks").iterdir())) == count
    assert np.asarray(Image.open(folder / "masks" / "00000.png")).any()
    with av.open(str(folder / "overlay.mp4")) as container:
        assert len(list(container.decode(video=0))) == count
    data = json.loads((folder / "annotations.coco.json").read_text())
    assert (len(data["images"]), len(data["annotations"])) == (count, 2 * count)
    assert len((folder / "frames.csv").read_text().splitlines()) == 1 + 2 * count
    names = {path.name for path in folder.iterdir()}
    assert names == {"masks", "overlay.mp4", "annotations.coco.json", "frames.csv"}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError])
def test_stopping_in_the_middle_leaves_valid_files(a_run, tmp_path, stop):
    run = a_run()

    def a_run_that_stops():
        with OutputSet(tmp_path, ALL, run.context) as outputs:
            for index in range(3):
                outputs.write(run.frame(index), run.result(index))
            raise stop

    with pytest.raises(stop):
        a_run_that_stops()
    check_complete(tmp_path, 3)


def test_a_format_named_twice_is_written_once(a_run, tmp_path):
    with OutputSet(tmp_path, ["png", "csv", "png"], a_run().context) as outputs:
        assert list(outputs.writers) == ["png", "csv"]


def test_unknown_formats(a_run, tmp_path):
    with pytest.raises(InputError, match="'gif'; valid: png, overlay, coco, csv"):
        OutputSet(tmp_path, ["png", "gif"], a_run().context)
    assert list(tmp_path.iterdir()) == []


def test_one_failing_writer_does_not_keep_the_others_open(a_run, tmp_path, monkeypatch):
    class AWriterThatFails(OutputWriter):
        def _write(self, frame, result):
            pass

        def close(self):
            raise OutputError("cannot write this")

    monkeypatch.setitem(FORMATS, "fails", AWriterThatFails)
    run = a_run()
    outputs = OutputSet(tmp_path, ["fails", *ALL], run.context)
    outputs.write(run.frame(), run.result())
    with pytest.raises(OutputError, match="cannot write this"):
        outputs.close()
    check_complete(tmp_path, 1)


def test_writers_opened_before_a_failure_are_closed(a_run, tmp_path, monkeypatch):
    (tmp_path / "masks").touch()
    with pytest.raises(OutputError, match="masks"):
        OutputSet(tmp_path, ["overlay", "coco", "png"], a_run().context)
    assert not list(tmp_path.glob("*.part"))
