"""Objects that the network lost, or whose mask lies on something else, are looked for anew.

A memory finds an object near where it was and as it looked lately; what returns elsewhere after a
long absence is often missed. The appearance of the object on its prompted frames tells where in
the frame it may be (see `surgsam2.tracking.appearance`): a click there asks the network for its
mask, as a user would. Long-term trackers detect anew and verify in this way since TLD (Kalal,
Mikolajczyk and Matas, Tracking-Learning-Detection, TPAMI 2012); what is found is believed only if
it looks like the object.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from surgsam2.model.frame_data import Decoded, ImageFeatures
from surgsam2.model.network import SurgSAM2Network
from surgsam2.tracking.appearance import similarity, similarity_maps
from surgsam2.tracking.memory_policy import MemoryPolicy

_TAKEN = 2.0
"""What is subtracted from the similarity of a position that another object covers."""


def check_objects(
    network: SurgSAM2Network,
    features: ImageFeatures,
    decoded: Decoded,
    known: Sequence[list[torch.Tensor]],
    close: torch.Tensor,
    policy: MemoryPolicy,
) -> Decoded:
    """Remove the masks of B objects that do not look like them, and look for these anew.

    An object whose mask looks unlike it is lost. One that is lost or not reliable is looked for:
    the network is asked for a mask by a click where the frame looks most like the object. This
    mask is taken if it is reliable and looks like the object, and if the object is lost or the mask
    has a higher predicted IoU than its own. Objects that stay lost are absent.

    Args:
        network: the network.
        features: of the frame.
        decoded: the network's masks of the objects.
        known: for each object its appearances on prompted frames.
        close: (B,) bool, for which objects frames follow each other closely; the masks of the
            others stay as they are (see `surgsam2.tracking.continuity`).
        policy: says what is reliable, and how alike a mask must be.

    Returns:
        The masks, of which each that is checked looks like its object or is empty.
    """
    least = policy.min_similarity
    present = decoded.presence_logits[:, 0] > 0
    lost = close & (~present | (similarity(features, decoded.low_res, known) < least))
    doubtful = close & (lost | ~_is_reliable(decoded, policy))
    if doubtful.device.type == "cpu" and not doubtful.any():  # on a GPU asking would be waiting
        return decoded
    removed = network.without_objects(decoded, lost)
    others = _decode_at(network, features, _best_places(features, removed, known))
    alike = similarity(features, others.low_res, known) >= least
    better = lost | (others.ious > decoded.ious)
    found = doubtful & better & alike & _is_reliable(others, policy)
    return _chosen(found, others, removed)


def _is_reliable(decoded: Decoded, policy: MemoryPolicy) -> torch.Tensor:
    """Return for B objects whether their masks are reliable, (B,) bool."""
    presence = decoded.presence_logits[:, 0].float().sigmoid()
    return policy.is_reliable(torch.stack([decoded.ious.float(), presence], dim=-1))


def _best_places(
    features: ImageFeatures, decoded: Decoded, known: Sequence[list[torch.Tensor]]
) -> torch.Tensor:
    """Return for B objects the place that looks most like them and that no other one covers.

    Returns:
        (B, 2) float32 x and y, as shares of the frame's width and height.
    """
    maps = similarity_maps(features, known)
    covered = F.interpolate(decoded.low_res.float().sigmoid(), size=features.size, mode="area")
    itself = torch.eye(len(maps), dtype=torch.bool, device=maps.device)[..., None, None]
    by_others = covered.transpose(0, 1).masked_fill(itself, 0).amax(dim=1)  # lost ones are empty
    maps = maps - _TAKEN * by_others
    smooth = F.avg_pool2d(maps[:, None], 3, stride=1, padding=1, count_include_pad=False)
    best = smooth.flatten(1).argmax(dim=1)
    height, width = features.size
    x, y = best % width, best.div(width, rounding_mode="floor")
    return torch.stack([(x + 0.5) / width, (y + 0.5) / height], dim=1)


def _decode_at(network: SurgSAM2Network, features: ImageFeatures, places: torch.Tensor) -> Decoded:
    """Return the masks that a click at each of B places gives, without memories."""
    points = places[:, None] * network.image_size
    labels = torch.ones(points.shape[:2], dtype=torch.int32, device=points.device)
    return network.decode_points(features, points, labels)


def _chosen(rows: torch.Tensor, new: Decoded, old: Decoded) -> Decoded:
    """Return the results of B objects: the new one in the rows where (B,) is true."""

    def choose(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.where(rows.view(-1, *[1] * (b.ndim - 1)), a.to(b.dtype), b)

    pairs = zip(vars(new).values(), vars(old).values(), strict=True)
    return Decoded(*(choose(a, b) for a, b in pairs))
