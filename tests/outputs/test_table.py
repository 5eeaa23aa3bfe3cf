import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from surgsam2.data.label_reader import label_files_by_frame
from surgsam2.errors import OutputError
from surgsam2.outputs import OutputSet, TableWriter


def rows(folder):
    with (folder / "frames.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_rows_reach_the_file_as_they_come(a_run, tmp_path):
    run = a_run(names=('liver, "left"', "ö"))
    writer = TableWriter(tmp_path, run.context)
    writer.write(run.frame(), run.result(7))
    first, second = rows(tmp_path)  # before closing
    assert first == {
        "frame": "7",
        "object_id": "1",
        "name": 'liver, "left"',
        "area": "300",
        "centroid_x": "7.000",
        "centroid_y": "14.500",
        "x0": "0",
        "y0": "5",
        "x1": "14",
        "y1": "24",
        "iou_score": "0.9",
        "presence": "1",
        "seconds": "0.280",
        "milliseconds": "12.500",
    }
    assert (second["name"], second["x0"], second["x1"]) == ("ö", "10", "24")
    writer.close()
    writer.close()


def test_empty_masks_have_empty_cells_and_no_objects_no_rows(a_run, tmp_path):
    run = a_run(ids=(1,))
    writer = TableWriter(tmp_path, run.context)
    writer.write(run.frame(), run.nothing(0))
    writer.write(run.frame(), run.result(1, np.zeros((1, 48, 64), bool)))
    writer.close()
    (row,) = rows(tmp_path)
    assert row["area"] == "0"
    assert {row[key] for key in ("centroid_x", "centroid_y", "x0", "y0", "x1", "y1")} == {""}
    assert row["iou_score"] == "0.9"


def test_measures_agree_with_numpy(a_run, tmp_path):
    run = a_run(ids=(1,), width=31, height=23)
    mask = np.random.default_rng(0).random((1, 23, 31)) > 0.97
    writer = TableWriter(tmp_path, run.context)
    writer.write(run.frame(), run.result(0, mask))
    writer.close()
    (row,) = rows(tmp_path)
    ys, xs = np.nonzero(mask[0])
    assert int(row["area"]) == len(xs)
    assert float(row["centroid_x"]) == pytest.approx(xs.mean(), abs=1e-3)
    assert float(row["centroid_y"]) == pytest.approx(ys.mean(), abs=1e-3)
    box = [int(row[key]) for key in ("x0", "y0", "x1", "y1")]
    assert box == [xs.min(), ys.min(), xs.max(), ys.max()]


def test_an_unwritable_folder(a_run, tmp_path):
    with pytest.raises(OutputError, match=r"frames\.csv"):
        TableWriter(tmp_path / "none", a_run().context)


def test_a_full_disk(a_run, tmp_path, monkeypatch):
    run = a_run()
    writer = TableWriter(tmp_path, run.context)

    class AFullFile:
        def write(self, text):
            raise OSError(28, "No space left on device")

    writer._file.close()
    monkeypatch.setattr(writer, "_file", AFullFile())
    with pytest.raises(OutputError, match=r"frames\.csv: No space left"):
        writer.write(run.frame(), run.result())


def test_no_cell_is_a_formula(a_run, tmp_path):
    """The names of objects and of images are a stranger's; `evaluate` reads the latter back."""
    run = a_run(ids=(1,))
    objects = (replace(run.context.objects[0], name="=cmd|'/C calc'!A0"),)
    context = replace(run.context, objects=objects, frame_names=("=1+1", "b", "c"))
    with OutputSet(tmp_path, ["csv", "png"], context) as outputs:
        outputs.write(run.frame(), run.result(0))
    with (tmp_path / "frames.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert (row["source"], row["name"]) == ("'=1+1", "'=cmd|'/C calc'!A0")
    assert list(label_files_by_frame(tmp_path / "masks")) == ["=1+1"]


def test_times_and_names_of_frames(a_run, tmp_path):
    run = a_run(ids=(1,))
    times = np.array([0.0, 0.05, 0.4])
    context = replace(run.context, times=times, frame_names=("a", "b", "c"))
    for folder, chosen, first, second in (
        ("plain", run.context, {"frame": "2", "seconds": "0.080"}, None),
        ("named", context, {"source": "c", "frame": "2", "seconds": "0.400"}, "c"),
    ):
        (tmp_path / folder).mkdir()
        with OutputSet(tmp_path / folder, ["csv", "coco"], chosen) as outputs:
            outputs.write(run.frame(), run.result(2))
        with (tmp_path / folder / "frames.csv").open(newline="") as file:
            row = next(csv.DictReader(file))
        assert {name: row[name] for name in first} == first
        assert ("source" in row) == bool(second)
        coco = json.loads((tmp_path / folder / "annotations.coco.json").read_text())
        assert coco["images"][0].get("source") == second
