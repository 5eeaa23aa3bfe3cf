"""Prompts from the truth, trivial baselines, splits and published numbers."""

from __future__ import annotations

import numpy as np
import pytest

from surgsam2.data.endovis import ENDOVIS17_TYPES
from surgsam2.errors import DatasetError, InputError
from surgsam2.evaluation.metrics import region_similarity
from surgsam2.evaluation.metrics.conventions import ALL, DAVIS, SURGSAM2, summarize_object
from surgsam2.evaluation.metrics.scores import ObjectScores
from surgsam2.evaluation.prompting import parse_settings, sample_points
from surgsam2.evaluation.runs.baselines import CopyFirstMask, FlowFirstMask
from surgsam2.evaluation.truth import protocols
from surgsam2.evaluation.truth.protocols import check_published, get_protocol, load_split_file

# --- prompts ---------------------------------------------------------------------


def test_points_are_inside_the_object_and_off_its_outline():
    mask = np.zeros((40, 60), bool)
    mask[10:20, 30:50] = True
    points = sample_points(mask, 5, seed=3, key="s/1")
    assert len(set(points)) == 5
    for x, y, label in points:
        assert label == 1
        assert 31 <= x <= 48
        assert 11 <= y <= 18


def test_points_depend_on_seed_and_key_only():
    mask = np.ones((30, 30), bool)
    first = sample_points(mask, 5, seed=0, key="a/1")
    assert first == sample_points(mask, 5, seed=0, key="a/1")
    assert first != sample_points(mask, 5, seed=1, key="a/1")
    assert first != sample_points(mask, 5, seed=0, key="a/2")
    assert first[:1] == sample_points(mask, 1, seed=0, key="a/1")
    # The draw never changes, so that published numbers can be repeated on any machine.
    assert sample_points(mask, 1, seed=0, key="a/1") == [FIRST_POINT]


FIRST_POINT = (13.0, 3.0, 1)


def test_thin_and_tiny_objects_give_what_they_have():
    mask = np.zeros((10, 10), bool)
    mask[4, 2:5] = True
    points = sample_points(mask, 5, seed=0)
    assert sorted(points) == [(2.0, 4.0, 1), (3.0, 4.0, 1), (4.0, 4.0, 1)]
    with pytest.raises(InputError, match="empty mask"):
        sample_points(np.zeros((4, 4), bool), 1, seed=0)


def test_few_points_are_the_beginning_of_more_in_thin_objects_too():
    mask = np.zeros((40, 40), bool)
    mask[10:13, 10:15] = True  # Three pixels do not touch the outline.
    for seed in range(20):
        five = sample_points(mask, 5, seed=seed, key="a/1")
        assert five[:1] == sample_points(mask, 1, seed=seed, key="a/1")
        assert {(11, 11), (12, 11), (13, 11)} == {(x, y) for x, y, _ in five[:3]}
        assert len(set(five)) == 5


def test_points_reach_objects_at_the_image_border():
    mask = np.zeros((8, 8), bool)
    mask[:, 0] = True
    assert all(x == 0 for x, _, _ in sample_points(mask, 3, seed=0))


def test_settings_are_checked():
    assert parse_settings("5pt, mask") == ["mask", "5pt"]
    with pytest.raises(InputError, match="2pt"):
        parse_settings("mask,2pt")


# --- baselines -------------------------------------------------------------------


@pytest.fixture
def a_texture():
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    return np.kron(small, np.ones((6, 6, 1), np.uint8))


def test_copied_masks_stay_and_join(a_texture):
    tracker = CopyFirstMask()
    first, second = np.zeros((2, *a_texture.shape[:2]), bool)
    first[:20, :20] = second[50:, 50:] = True
    assert set(tracker.step(a_texture, {1: first})) == {1}
    masks = tracker.step(a_texture, {2: second})
    assert (masks[1] == first).all()
    assert (masks[2] == second).all()


def test_flow_follows_a_moving_picture_and_copying_does_not(a_texture):
    flow, copy = FlowFirstMask(), CopyFirstMask()
    mask = np.zeros(a_texture.shape[:2], bool)
    mask[60:120, 60:160] = True
    for shift in range(0, 24, 3):
        frame = np.roll(a_texture, (shift // 3, shift), axis=(0, 1))
        new = {1: mask} if shift == 0 else {}
        carried, copied = flow.step(frame, new)[1], copy.step(frame, new)[1]
    moved = np.roll(mask, (7, 21), axis=(0, 1))
    assert region_similarity(carried, moved) > 0.9
    assert region_similarity(copied, moved) < 0.65


def test_flow_starts_later_objects_from_their_own_frame(a_texture):
    flow = FlowFirstMask()
    mask = np.zeros(a_texture.shape[:2], bool)
    mask[60:120, 60:160] = True
    flow.step(a_texture, {})
    flow.step(np.roll(a_texture, 3, axis=1), {4: mask})
    masks = flow.step(np.roll(a_texture, 6, axis=1), {})
    assert region_similarity(masks[4], np.roll(mask, 3, axis=1)) > 0.95


# --- protocols -------------------------------------------------------------------


def test_conventions():
    assert list(DAVIS.counted([0, 1, 2, 3])) == [1, 2]
    assert list(DAVIS.counted([0])) == []
    assert list(ALL.counted([5, 7])) == [0, 1]
    found = {n: get_protocol(n).convention for n in protocols.PROTOCOL_NAMES}
    assert {n for n, name in found.items() if name == "surgsam2"} == {"endovis17", "endovis18"}
    assert {n for n, name in found.items() if name == "all"} == {"robust-mis"}


def test_an_object_counts_from_its_prompt_on_as_in_the_release():
    frames = [0, 5, 10, 15, 20, 25]
    assert list(SURGSAM2.counted(frames, 0)) == list(DAVIS.counted(frames)) == [1, 2, 3, 4]
    assert list(SURGSAM2.counted(frames, 10)) == [3, 4]
    assert list(SURGSAM2.counted(frames, 20)) == list(SURGSAM2.counted(frames, 25)) == []
    late = ObjectScores("s", 1, prompt_frame=10, frames=frames)
    late.j = late.f = late.dice = [1, 1, 1, 0.5, 0.25, 0]  # Perfect before and on its prompt.
    assert summarize_object(late, SURGSAM2)["J"] == 0.375
    assert summarize_object(late, DAVIS)["J"] == 0.6875


def test_the_published_splits():
    folds = get_protocol("endovis17").splits
    assert [folds[f"fold{i}"] for i in range(4)] == [(1, 3), (2, 5), (4, 8), (6, 7)]
    assert sorted(n for i in range(4) for n in folds[f"fold{i}"]) == list(range(1, 9))
    assert get_protocol("endovis18").splits["validation"] == (2, 5, 9, 15)


@pytest.mark.parametrize("name", ["endovis17", "endovis18"])
def test_every_split_names_its_source(name):
    data = load_split_file(name)
    assert all(entry["source"] in data["sources"] for entry in data["splits"].values())
    assert data["default"] in data["splits"]


def test_classes_agree_with_the_reader():
    assert get_protocol("endovis17").class_names == ENDOVIS17_TYPES


@pytest.mark.parametrize("style", ["seq_{}", "seq{}", "release_1/seq_{}", "instrument_dataset_{}"])
def test_sequences_are_found_by_number(style):
    names = [style.format(n) for n in (1, 2, 3, 15)]
    chosen, absent = get_protocol("endovis18").choose(names, None)
    assert chosen == [style.format(2), style.format(15)]
    assert absent == ["sequence 5", "sequence 9"]


def test_two_sequences_of_one_number_are_refused():
    names = ["training/instrument_dataset_1", "test/instrument_dataset_1", "x/seq_9", "y/seq_9"]
    with pytest.raises(DatasetError, match=r"training/\S+ and test/\S+ are both number 1"):
        get_protocol("endovis17").choose(names, "fold0")
    names = ["training/seq_1", "x/seq_9", "y/seq_9"]
    assert get_protocol("endovis17").choose(names, "fold0")[0] == ["training/seq_1"]


def test_wrong_splits_are_refused():
    with pytest.raises(InputError, match="fold0, fold1"):
        get_protocol("endovis17").choose(["seq1"], "fold9")
    with pytest.raises(InputError, match="no splits"):
        get_protocol("vos").choose(["a"], "fold0")
    with pytest.raises(DatasetError, match="2, 5, 9, 15"):
        get_protocol("endovis18").choose(["seq_1"], None)
    with pytest.raises(InputError, match="vos, endovis17, endovis18"):
        get_protocol("davis")


def test_published_numbers_need_document_table_and_page(monkeypatch):
    for entry in load_split_file("published")["entries"]:
        check_published(entry)
    entry = {"name": "n", "source": "s", "table": "Table 1", "page": 3, "scores": {"J": 0.5}}
    check_published(entry)
    for key in ("source", "table", "page", "scores"):
        with pytest.raises(InputError, match=key):
            check_published({**entry, key: None})
    with pytest.raises(InputError, match="fractions"):
        check_published({**entry, "scores": {"J": 50}})
    listed = {**entry, "protocol": "vos", "split": None}
    monkeypatch.setattr(protocols, "load_split_file", lambda _: {"entries": [listed]})
    assert protocols.published_results("vos", None) == [listed]
    assert protocols.published_results("endovis17", "all") == []
