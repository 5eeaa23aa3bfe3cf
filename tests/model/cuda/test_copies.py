"""Copies between host and device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from surgsam2.model.cuda.copies import pack_bits, to_device, to_host, unpack_bits
from surgsam2.model.cuda.precision import same_tf32


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (2, 8, 16), (2, 3, 24), (0, 4, 4)])
def test_masks_as_bits(shape: tuple[int, ...]) -> None:
    masks = torch.rand(shape) > 0.5
    packed = pack_bits(masks)
    flat = masks.numpy().reshape(shape[0], int(np.prod(shape[1:])))
    assert np.array_equal(packed.numpy(), np.packbits(flat, axis=1))
    again = unpack_bits(packed.numpy(), shape)
    assert again.dtype == bool
    assert np.array_equal(again, masks.numpy())


def test_on_the_cpu_nothing_is_copied() -> None:
    x, masks = torch.rand(2, 2), torch.ones(2, 3, 4, dtype=torch.bool)
    assert to_device(x, torch.device("cpu")) is x
    on_host, scores = to_host(masks, x)
    assert on_host.ctypes.data == masks.data_ptr()
    assert scores.ctypes.data == x.data_ptr()


@pytest.mark.gpu
def test_from_a_gpu() -> None:
    masks, scores = torch.rand(3, 45, 67) > 0.5, torch.rand(3, 2)
    cuda = torch.device("cuda")
    there = to_device(masks, cuda), to_device(scores, cuda)
    for found, expected in zip(to_host(*there), (masks, scores), strict=True):
        assert np.array_equal(found, expected.numpy())


@pytest.mark.parametrize(("precision", "allowed"), [("highest", False), ("high", True)])
def test_tf32_is_for_those_who_allow_it(precision: str, allowed: bool) -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision(precision)
        first, second = same_tf32(), same_tf32()
        with first:  # as two threads may: the first to enter is the first to leave
            second.__enter__()
        assert torch.backends.cudnn.allow_tf32 is allowed
        second.__exit__(None, None, None)
    finally:
        torch.set_float32_matmul_precision(before[0])
    assert torch.backends.cudnn.allow_tf32 == before[1]
