"""Copies between host and device that wait for nothing but the masks of a frame."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; the host does not wait for a CUDA device.

    A copy of ordinary memory would make the host wait until everything before it is done. Only
    copies of pinned memory run beside other work.
    """
    if device.type == "cuda" and x.device.type == "cpu":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def to_host(masks: Tensor, scores: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the masks of a frame and their scores on the host.

    From a CUDA device masks come as bits, an eighth of their size, and the host waits once for
    both.

    Args:
        masks: (N, H, W) bool.
        scores: (N, 2) float32.
    """
    if masks.device.type != "cuda":
        return masks.cpu().numpy(), scores.cpu().numpy()
    packed, copied = (x.to("cpu", non_blocking=True) for x in (pack_bits(masks), scores))
    torch.cuda.current_stream(masks.device).synchronize()
    # copies, because results may be kept and pinned memory is scarce
    return unpack_bits(packed.numpy(), tuple(masks.shape)), copied.numpy().copy()


def pack_bits(masks: Tensor) -> Tensor:
    """Pack (N, ...) bool masks of P pixels into (N, ceil(P / 8)) uint8, as `numpy.packbits` does.

    The first pixel of eight is the highest bit.
    """
    flat = masks.flatten(1)
    flat = F.pad(flat, (0, -flat.shape[1] % 8))
    places = torch.arange(7, -1, -1, dtype=torch.uint8, device=masks.device)
    bits = flat.unflatten(1, (-1, 8)).to(torch.uint8).bitwise_left_shift(places)
    return bits.sum(-1, dtype=torch.uint8)


def unpack_bits(packed: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the bool masks of a shape (N, ...) from the (N, ceil(P / 8)) uint8 of `pack_bits`."""
    pixels = int(np.prod(shape[1:]))
    return np.unpackbits(packed, axis=1, count=pixels).view(bool).reshape(shape)
