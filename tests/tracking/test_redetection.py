"""Lost objects are looked for by their appearance, with a network that segments what is clicked."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch

from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.frame_data import Decoded, ImageFeatures
from surgsam2.tracking.appearance import appearances
from surgsam2.tracking.memory_policy import MemoryPolicy
from surgsam2.tracking.redetection import check_objects

SIDE, SIZE = 10, 160
"""Positions per side of the features and pixels per side of the input."""
POLICY = MemoryPolicy("reliable", min_similarity=0.5)


class AClickedNetwork:
    """Segments the square of three by three positions around a click, and remembers the clicks."""

    image_size = SIZE

    def __init__(self, presence: float = 5.0, iou: float = 1.0) -> None:
        self.clicks: list[list[float]] = []
        self._presence, self._iou = presence, iou

    def decode_points(
        self, features: ImageFeatures, points: torch.Tensor, labels: torch.Tensor
    ) -> Decoded:
        assert labels.tolist() == [[1]] * len(points)
        self.clicks += points[:, 0].tolist()
        centres = [[int(v * SIDE / SIZE) for v in point] for point in points[:, 0].tolist()]
        result = a_result([(x, y) for x, y in centres], self._presence)
        result.ious[:] = self._iou
        return result

    def without_objects(self, decoded: Decoded, absent: torch.Tensor) -> Decoded:
        mask = absent[:, None, None, None]
        return Decoded(
            decoded.low_res.masked_fill(mask, -99.0),
            decoded.high_res.masked_fill(mask, -99.0),
            decoded.pointers.masked_fill(absent[:, None], 0),
            decoded.presence_logits.masked_fill(absent[:, None], -9.0),
            decoded.ious,
        )


def a_result(centres: list[tuple[int, int]], presence: float = 5.0) -> Decoded:
    """Masks of three by three positions around these."""
    masks = torch.full((len(centres), 1, 4 * SIDE, 4 * SIDE), -20.0)
    for row, (x, y) in enumerate(centres):
        masks[row, :, 4 * y - 4 : 4 * y + 8, 4 * x - 4 : 4 * x + 8] = 20.0
    high = masks.repeat_interleave(4, 2).repeat_interleave(4, 3)
    count = len(centres)
    return Decoded(
        masks,
        high,
        torch.arange(1.0, count + 1)[:, None].expand(-1, 3),
        torch.full((count, 1), presence),
        torch.ones(count),
    )


def a_frame(objects: dict[tuple[int, int], int]) -> ImageFeatures:
    """Noise, and squares of three by three positions with a look each, by their centres."""
    rng = np.random.default_rng(0)
    grid = rng.normal(0, 0.1, (SIDE, SIDE, 6))
    for (x, y), look in objects.items():
        grid[y - 1 : y + 2, x - 1 : x + 2, look] += 1
    tokens = torch.from_numpy(grid.astype(np.float32)).reshape(SIDE**2, 1, 6)
    return ImageFeatures(tokens, torch.zeros_like(tokens), [], (SIDE, SIDE))


def look(objects: dict[tuple[int, int], int], centre: tuple[int, int]) -> list[torch.Tensor]:
    return [appearances(a_frame(objects), a_result([centre]).low_res)[0]]


PROMPTED = {(2, 2): 0, (7, 7): 1}
CLOSE = torch.ones(2, dtype=torch.bool)
KNOWN = [look(PROMPTED, (2, 2)), look(PROMPTED, (7, 7))]


def check(network: AClickedNetwork, features: ImageFeatures, decoded: Decoded) -> Decoded:
    return check_objects(network, features, decoded, KNOWN, CLOSE, POLICY)  # type: ignore[arg-type]


def test_masks_that_look_like_their_objects_are_kept() -> None:
    network = AClickedNetwork()
    decoded = a_result([(2, 2), (7, 7)])
    assert check(network, a_frame(PROMPTED), decoded) is decoded
    assert not network.clicks


def test_an_object_that_returned_elsewhere_is_found() -> None:
    network = AClickedNetwork()
    moved = a_frame({(6, 2): 0, (7, 7): 1})
    found = check(network, moved, a_result([(2, 2), (7, 7)]))  # the mask of 1 stayed behind
    wanted = a_result([(6, 2), (7, 7)])
    assert torch.equal(found.low_res, wanted.low_res)
    assert torch.equal(found.high_res, wanted.high_res)
    assert found.presence_logits.tolist() == [[5.0], [5.0]]
    absent = a_result([(2, 2), (7, 7)])
    absent.presence_logits[0] = -3
    assert torch.equal(check(network, moved, absent).low_res, wanted.low_res)


def test_an_object_that_is_not_there_is_absent() -> None:
    gone = a_frame({(7, 7): 1})
    found = check(AClickedNetwork(), gone, a_result([(2, 2), (7, 7)]))
    assert (found.low_res[0] < 0).all()
    assert (found.low_res[1] > 0).any()
    assert found.presence_logits.tolist() == [[-9.0], [5.0]]
    doubted = AClickedNetwork(presence=-1.0)
    moved = a_frame({(6, 2): 0, (7, 7): 1})
    assert (check(doubted, moved, a_result([(2, 2), (7, 7)])).low_res[0] < 0).all()


def test_a_doubtful_mask_gives_way_to_a_better_one() -> None:
    shifted = a_result([(3, 2), (7, 7)])  # two thirds of it lie on object 1
    for iou, wanted in ((0.4, [(2, 2), (7, 7)]), (0.6, [(3, 2), (7, 7)])):
        shifted.ious[0] = iou
        found = check(AClickedNetwork(), a_frame(PROMPTED), shifted)
        assert torch.equal(found.low_res, a_result(wanted).low_res)
    unsure = AClickedNetwork(iou=0.45)
    shifted.ious[0] = 0.4
    assert torch.equal(check(unsure, a_frame(PROMPTED), shifted).low_res, shifted.low_res)
    assert unsure.clicks


def test_between_frames_far_apart_nothing_is_removed_or_looked_for() -> None:
    network = AClickedNetwork()
    gone, decoded = a_frame({(7, 7): 1}), a_result([(2, 2), (2, 2)])  # neither is where it was
    for close, wanted in (([False, False], [True, True]), ([False, True], [True, False])):
        found = check_objects(network, gone, decoded, KNOWN, torch.tensor(close), POLICY)  # type: ignore[arg-type]
        kept = [torch.equal(a, b) for a, b in zip(found.low_res, decoded.low_res, strict=True)]
        assert kept == wanted


def test_what_another_object_covers_is_not_searched() -> None:
    network = AClickedNetwork()
    twins = {(2, 2): 0, (7, 7): 0}
    known = [look(twins, (2, 2))] * 2
    only_one = a_frame({(7, 7): 0})
    found = check_objects(network, only_one, a_result([(2, 2), (7, 7)]), known, CLOSE, POLICY)  # type: ignore[arg-type]
    assert (found.low_res[0] < 0).all()
    assert len(network.clicks) == 2


def test_a_network_decodes_several_clicks_as_each_alone(a_model: SurgSAM2Model) -> None:
    """What the search asks for: one click for each object of a frame."""
    network = a_model.network
    size = network.image_size
    picture = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    points = torch.tensor([[[20.0, 30.0]], [[90.0, 60.0]]])
    labels = torch.ones(2, 1, dtype=torch.int32)
    with torch.no_grad():
        features = network.encode_image(a_model.preprocess(picture))
        together = network.decode_points(features, points, labels)
        for row in range(2):
            alone = network.decode_points(features, points[row : row + 1], labels[:1])
            torch.testing.assert_close(together.low_res[row], alone.low_res[0], rtol=0, atol=1e-4)
            torch.testing.assert_close(together.ious[row], alone.ious[0], rtol=0, atol=1e-4)


def test_no_value_is_read_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of the device `meta` have no values; on a GPU reading one would wait for it."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no such device

    class Network(AClickedNetwork):
        def decode_points(
            self, features: ImageFeatures, points: torch.Tensor, labels: torch.Tensor
        ) -> Decoded:
            assert points.shape == (2, 1, 2)
            return without_values(a_result([(2, 2), (7, 7)]))

    def without_values(decoded: Decoded) -> Decoded:
        return Decoded(*(tensor.to("meta") for tensor in vars(decoded).values()))

    frame = a_frame(PROMPTED)
    features = ImageFeatures(frame.tokens.to("meta"), frame.position, [], frame.size)
    known = [[tensor.to("meta") for tensor in own] for own in KNOWN]
    decoded = without_values(a_result([(2, 2), (7, 7)]))
    close = CLOSE.to("meta")
    found = check_objects(Network(), features, decoded, known, close, POLICY)  # type: ignore[arg-type]
    assert found.low_res.shape == decoded.low_res.shape
    assert appearances(features, decoded.low_res).shape == (2, 7)
