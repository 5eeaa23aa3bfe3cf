"""`surgsam2 review` lists the doubtful frames of a run and shows them on a page."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from surgsam2 import cli
from surgsam2.cli import build_parser
from surgsam2.job.review import ObjectSummary, review_output
from surgsam2.results.thresholds import Thresholds
from surgsam2.storage.label_image import label_palette, write_labels
from tests.conftest import REPOSITORY
from tests.video.helpers import write_video

HEADER = "frame,object_id,name,area,centroid_x,centroid_y,x0,y0,x1,y1,iou_score,presence,ms"
REVIEW_PANEL = "SurgSAM2Extension/SurgSAM2/Resources/UI/SurgSAM2Review.ui"
FIRST = 100
"""Index of the first frame of the run."""


def write_table(folder: Path) -> None:
    """Write ten frames of two objects; object 1 is doubtful on frames 103 and 104."""
    rows = [HEADER]
    for i in range(10):
        score = 0.3 if i in (3, 4) else 0.9
        rows.append(f"{FIRST + i},1,liver,400,30.0,20.0,1,1,9,9,{score},0.9,5")
        rows.append(f"{FIRST + i},7,'=hook,0,,,,,,,0.1,0.1,5")
    (folder / "frames.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture
def a_folder(tmp_path: Path) -> Path:
    """Return an output folder with a table, a report and an overlay video."""
    write_table(tmp_path)
    objects = [{"id": 1, "name": "liver"}, {"id": 7, "name": "<b>hook</b>"}]
    (tmp_path / "report.json").write_text(json.dumps({"objects": objects}))
    write_video(tmp_path / "overlay.mp4", 10)
    return tmp_path


def test_a_review_in_the_terminal_and_as_a_page(
    a_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["review", str(a_folder)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "object 1 (liver): mask on 10 frames, empty on 0, doubtful on 2, lowest predicted IoU 0.30",
        "object 7 (<b>hook</b>): mask on 0 frames, empty on 10, doubtful on 0",
        "frames 103-104: object 1 (liver), low predicted IoU",
        f"page: {a_folder / 'review.html'}",
    ]
    page = (a_folder / "review.html").read_text(encoding="utf-8")
    assert "Frames 103\nto 104: object 1 (liver)" in page
    assert "&lt;b&gt;hook" in page
    assert re.findall(r'alt="frame (\d+)"', page) == ["103", "104"]
    assert page.count("data:image/jpeg;base64,") == 2
    assert not re.search(r"https?:|<script", page)


def test_an_object_without_a_name_is_called_by_its_id_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [HEADER, *(f"{i},2,object 2,400,30.0,20.0,1,1,9,9,0.{3 + 6 * i},0.9,5" for i in (0, 1))]
    (tmp_path / "frames.csv").write_text("\n".join(rows) + "\n")
    review = review_output(tmp_path)
    assert str(review.objects[0]).startswith("object 2: mask on 2 frames")
    assert review.name(2) == "object 2"
    assert cli.main(["review", str(tmp_path)]) == 0
    assert "\nframe 0: object 2, low predicted IoU\n" in capsys.readouterr().out
    assert "(object 2)" not in (tmp_path / "review.html").read_text(encoding="utf-8")


def test_other_limits(a_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = a_folder / "mine.html"
    assert cli.main(["review", str(a_folder), "--low-iou", "0.2", "--page", str(page)]) == 0
    assert "no frame is doubtful within these limits" in capsys.readouterr().out
    assert "There are none within the limits." in page.read_text()
    assert cli.main(["review", str(a_folder), "--low-iou", "2"]) == 2
    assert "low_iou must be 0 to 1, got 2.0" in capsys.readouterr().err


def test_label_images_serve_where_there_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for i in range(6):
        labels = np.zeros((40, 60), np.uint8)
        labels[5:15, 5:15] = 3
        if i == 4:
            labels[5:35, 5:50] = 3
        if i > 1:
            labels[30:33, 2:4] = 5
        write_labels(tmp_path / "masks" / f"{i:05}.png", labels, label_palette({3: (1, 2, 3)}))
    review = review_output(tmp_path, Thresholds())
    assert review.objects == (
        ObjectSummary(3, "object 3", with_mask=6, empty=0, doubtful=2, lowest_iou=None),
        ObjectSummary(5, "object 5", with_mask=4, empty=2, doubtful=1, lowest_iou=None),
    )
    assert cli.main(["review", str(tmp_path)]) == 0
    page = (tmp_path / "review.html").read_text()
    assert page.count("data:image/jpeg;base64,") == sum(len(s.frames) for s in review.stretches)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no results to review"),
        ("", "hold no object"),
        (HEADER + "\n", "hold no object"),
        ("a,b\n1,2\n", "is not a table of surgsam2"),
        (HEADER + "\n-1,1,n,1,1,1,,,,,1,1,1\n", "frame -1, object 1"),
        (HEADER + "\n0,1,n,x,1,1,,,,,1,1,1\n", "is not a table of surgsam2"),
        (HEADER + "\n0,1,n,1", "hold no object"),
    ],
)
def test_folders_that_cannot_be_reviewed(
    content: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "frames.csv").write_text(content)
    assert cli.main(["review", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_a_small_table_takes_little_memory(tmp_path: Path) -> None:
    rows = [HEADER, *(f"{i * 9_000_000},{i + 1},n,1,1,1,,,,,1,1,1" for i in range(2))]
    (tmp_path / "frames.csv").write_text("\n".join(rows))
    with pytest.raises(ValueError, match="2 objects on 9000001 frames are too many"):
        review_output(tmp_path)


def test_all_ways_to_look_begin_with_the_same_limits() -> None:
    """The page takes them from `Thresholds`; the command and the form of 3D Slicer name them."""
    limits = asdict(Thresholds())
    args = build_parser().parse_args(["review", "out"])
    form = (REPOSITORY / REVIEW_PANEL).read_text()
    for name, box in (
        ("low_iou", "lowIou"),
        ("area_factor", "areaFactor"),
        ("position_jump", "positionJump"),
    ):
        assert getattr(args, name) == limits[name]
        shown = re.search(
            rf'name="{box}SpinBox".*?name="value">\s*<double>([\d.]+)<', form, re.DOTALL
        )
        assert shown is not None
        assert float(shown[1]) == limits[name]
