"""Wrong masks for memories, so that a network learns not to repeat an error that it remembers.

Over a long video, small errors of each frame are remembered and grow. A short training clip shows
the result at once: the memories of its first frames hold masks that are wrong in the same way in
every frame, and the network has to find the object by the prompted frame.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

_SIDE = 96
"""Side of the grid on which edges are moved, in pixels."""
_KINDS = ("right", "edge", "part", "other", "none")
"""Kinds of masks: the true one, a moved edge, a part cut off, another object's, none."""
_SHARES = (0.1, 0.5, 0.2, 0.1, 0.1)
"""Probabilities of the kinds."""
_CELLS = (3, 9)
"""Smallest and largest number of cells per side of the field by which edges are moved."""


class Disturbance:
    """One error for each object of a batch, the same in every frame of a clip.

    The kinds of errors are: none at all, an edge that is moved by a smooth field (lobes are
    added and pieces are missing), a part that is cut off along a line, the mask of another object
    of the batch instead or in addition, and no mask.

    Args:
        objects: number of objects.
        rng: decides the errors.
    """

    def __init__(self, objects: int, rng: np.random.Generator) -> None:
        self.kinds: list[str] = rng.choice(_KINDS, objects, p=_SHARES).tolist()
        """The kind of each object's error."""
        self._blurs = rng.uniform(0.05, 0.3, objects)
        self._angles = rng.uniform(0, 2 * np.pi, objects)
        self._cuts = rng.uniform(-0.5, 0.5, objects)
        self._others = [int(rng.integers(objects)) for _ in range(objects)]
        self._added = rng.random(objects) < 0.5
        self._fields = []
        for _ in range(objects):
            cells = int(rng.integers(_CELLS[0], _CELLS[1] + 1))
            field = torch.from_numpy(rng.normal(0, 0.45, (1, 1, cells, cells))).float()
            size = (_SIDE, _SIDE)
            self._fields.append(F.interpolate(field, size, mode="bicubic", align_corners=True))

    def of(self, masks: torch.Tensor) -> torch.Tensor:
        """Return wrong masks for the (O, S, S) bool true ones of a frame, of the same shape."""
        result = [self._one(number, masks) for number in range(len(masks))]
        return torch.stack(result) if result else masks

    def _one(self, number: int, masks: torch.Tensor) -> torch.Tensor:
        """Return the wrong mask of object `number`, (S, S) bool."""
        mask, kind = masks[number], self.kinds[number]
        if kind == "none":
            return torch.zeros_like(mask)
        if kind == "right" or not mask.any():
            return mask
        if kind == "other":
            other = masks[self._others[number]]
            return mask | other if self._added[number] else other
        return self._cut(number, mask) if kind == "part" else self._moved_edge(number, mask)

    def _cut(self, number: int, mask: torch.Tensor) -> torch.Tensor:
        """Return an (S, S) mask without what lies beyond a line."""
        rows, columns = torch.nonzero(mask, as_tuple=True)
        y, x = rows.float(), columns.float()
        turned = np.cos(self._angles[number]) * x + np.sin(self._angles[number]) * y
        centred = turned - turned.mean()
        kept = centred <= self._cuts[number] * centred.abs().max()
        result = torch.zeros_like(mask)
        result[rows[kept], columns[kept]] = True
        return result

    def _moved_edge(self, number: int, mask: torch.Tensor) -> torch.Tensor:
        """Return an (S, S) mask with its edge moved by the object's field."""
        side = mask.shape[-1]
        small = F.interpolate(mask[None, None].float(), (_SIDE, _SIDE), mode="area")
        reach = float(self._blurs[number] * small.sum().sqrt()) * 2 / 3
        smooth = _blurred(small, max(reach, 0.7))
        moved = smooth + self._fields[number].to(mask.device) * (smooth > 0.02)
        return F.interpolate(moved, (side, side), mode="bilinear")[0, 0] > 0.5


def _blurred(image: torch.Tensor, deviation: float) -> torch.Tensor:
    """Blur a (1, 1, H, W) image by a Gaussian of `deviation` pixels."""
    reach = int(3 * deviation) + 1
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32, device=image.device)
    weights = torch.exp(-0.5 * (offsets / deviation).square())
    weights = (weights / weights.sum())[None, None]
    image = F.conv2d(image, weights[:, :, None], padding=(0, reach))
    return F.conv2d(image, weights[..., None], padding=(reach, 0))
