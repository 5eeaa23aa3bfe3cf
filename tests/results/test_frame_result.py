"""Results in a notebook: pictures, plots, tables."""

from __future__ import annotations

import numpy as np
import pytest

import surgsam2
from surgsam2 import FrameResult, PromptSet, Tracker, segment_video, to_coco, to_pandas
from surgsam2.errors import InputError
from surgsam2.model.build import SurgSAM2Model
from tests.conftest import disc


@pytest.fixture(scope="module")
def prompts() -> PromptSet:
    prompts = PromptSet().add(object_id=1, frame=0, points=[[20, 60, 1]], name="target")
    return prompts.add(object_id=5, frame=2, mask=disc(160, 120, 100, 60, 20), color="#ff0000")


@pytest.fixture(scope="module")
def results(a_model: SurgSAM2Model, a_clip: np.ndarray, prompts: PromptSet) -> list[FrameResult]:
    return list(segment_video(a_model, a_clip[:4], prompts))


def test_show_draws_every_object_in_its_colour(
    a_clip: np.ndarray, prompts: PromptSet, results: list[FrameResult]
) -> None:
    shown = np.array(results[2].show(a_clip[2], prompts, opacity=1.0))
    inside = disc(160, 120, 100, 60, 8) & results[2].mask(5)
    assert (np.median(shown[inside], axis=0) == (255, 0, 0)).all()
    plain = np.array(results[2].show(a_clip[2], opacity=1.0))
    assert plain.shape == (120, 160, 3)
    assert not np.array_equal(plain, shown), "without prompts the colours are those of the ids"
    with pytest.raises(ValueError, match=r"frame must be \(120, 160, 3\) uint8 RGB"):
        results[2].show(a_clip[2][:50])


def test_plot(a_clip: np.ndarray, results: list[FrameResult]) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    axes = results[1].plot(a_clip[1])
    assert axes.get_title() == "frame 1"
    assert results[0].plot(a_clip[0], axes=axes) is axes


def test_tables(prompts: PromptSet, results: list[FrameResult]) -> None:
    coco = to_coco(iter(results), prompts)
    assert [image["frame_index"] for image in coco["images"]] == [0, 1, 2, 3]
    assert [item["name"] for item in coco["categories"]] == ["target", "object 5"]
    with pytest.raises(InputError, match="there are no results"):
        to_coco([], prompts)
    pytest.importorskip("pandas")
    table = to_pandas(results, prompts, fps=25)
    assert len(table) == 4 + 2
    areas = {(row.frame, row.object_id): row.area for row in table.itertuples()}
    assert areas[3, 5] == results[3].mask(5).sum()
    assert table.seconds.max() == pytest.approx(0.12)


def test_the_name_of_an_object_is_text_in_a_table() -> None:
    pytest.importorskip("pandas")
    prompts = PromptSet().add(object_id=1, frame=0, points=[[2, 3, 1]], name="NA")
    prompts.add(object_id=2, frame=0, points=[[2, 3, 1]], name="7")
    scores = np.ones(2, np.float32)
    result = FrameResult(0, (1, 2), np.zeros((2, 6, 8), bool), scores, scores)
    table = to_pandas([result], prompts)
    assert table["name"].tolist() == ["NA", "7"]
    assert table["centroid_x"].isna().all()


def test_progress_and_the_default_of_overlaps(
    a_model: SurgSAM2Model,
    a_clip: np.ndarray,
    prompts: PromptSet,
    capsys: pytest.CaptureFixture[str],
) -> None:
    more = PromptSet().add(object_id=1, frame=0, mask=disc(160, 120, 60, 60, 20))
    more.add(object_id=2, frame=0, mask=disc(160, 120, 70, 60, 20))
    for result in segment_video(a_model, a_clip[:3], more, progress=True):
        assert not (result.mask(1) & result.mask(2)).any()
    assert "3/3" in capsys.readouterr().err
    tracker = Tracker(a_model, 160, 120)
    result = tracker.step(a_clip[0], more)
    assert not (result.mask(1) & result.mask(2)).any()


def test_what_is_printed_is_short(a_model: SurgSAM2Model, results: list[FrameResult]) -> None:
    tracker = Tracker(a_model, 160, 120)
    video = surgsam2.open_video(np.zeros((2, 4, 6, 3), np.uint8))
    for value in (a_model, tracker, results[0], video):
        text = repr(value)
        assert len(text) < 200, text
        assert "\n" not in text
    assert repr(a_model).startswith("SurgSAM2Model(demo-128.yaml, ")
