"""Blocks of the image encoder against `sam2`'s own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sam2.modeling.backbones.hieradet import MultiScaleBlock

from surgsam2.model.cpu import hiera, matmul
from surgsam2.model.cpu.hiera_attention import AttentionWeights
from surgsam2.model.cpu.windows import Windows, row_order, window_order

pytestmark = pytest.mark.skipif(
    not matmul.is_available(), reason="the CPU backend needs an x86 processor with AVX2"
)


def a_block(dim: int, dim_out: int, heads: int, window: int, *, pools: bool) -> MultiScaleBlock:
    block = MultiScaleBlock(
        dim, dim_out, heads, q_stride=(2, 2) if pools else None, window_size=window
    )
    for parameter in block.parameters():
        if parameter.ndim == 1:  # scales and biases that differ
            parameter.data += 0.5 * torch.randn_like(parameter)
        else:  # scores that differ enough to matter
            parameter.data *= 3
    return block.eval().requires_grad_(False)


def apply_ours(block: MultiScaleBlock, image: torch.Tensor, window: int) -> torch.Tensor:
    """(H, W, C) to (H', W', C')."""
    windows = Windows(*image.shape[:2], window)
    tokens = image.flatten(0, 1)[window_order(windows)]
    tokens = hiera.apply_block(block, AttentionWeights.of(block.attn, image.dtype), tokens, windows)
    if block.q_stride:
        windows = windows.halved()
    return tokens[row_order(windows)].unflatten(0, (windows.height, windows.width))


@pytest.mark.usefixtures("library")
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    dim=st.sampled_from([8, 24]),
    grows=st.booleans(),
    heads=st.sampled_from([1, 2, 4, 8]),
    pools=st.booleans(),
    window=st.integers(1, 4),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    everywhere=st.booleans(),
)
# one head, and pooled queries, both with windows that the image does not fill
@example(
    dim=8, grows=False, heads=1, pools=False, window=2, height=5, width=3, everywhere=False
).via("one head")
@example(dim=8, grows=True, heads=4, pools=True, window=2, height=3, width=5, everywhere=False).via(
    "pooled"
)
def test_a_block_equals_sam2s(
    dim: int,
    grows: bool,
    heads: int,
    pools: bool,
    window: int,
    height: int,
    width: int,
    everywhere: bool,
) -> None:
    pools = pools and grows  # as in Hiera
    height, width, window = 2 * height, 2 * width, 2 * window
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        size = 0 if everywhere and not pools else window  # sam2 fails on both
        block = a_block(dim, dim * (1 + grows), heads, size, pools=pools)
        image = torch.randn(height, width, dim)
    expected = block(image[None])[0]
    ours = apply_ours(block, image.clone(), window)
    assert ours.shape == expected.shape
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)
    # the second call uses cached products of weights
    assert torch.equal(apply_ours(block, image, window), ours)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize(("grows", "heads"), [(False, 1), (True, 2), (True, 8)])
def test_changed_weights_are_seen(grows: bool, heads: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        block = a_block(16, 16 * (1 + grows), heads, 4, pools=grows)
        image = torch.randn(8, 8, 16)
    apply_ours(block, image, 4)
    for parameter in block.attn.parameters():
        parameter.data.mul_(1.5)
    expected = block(image[None])[0]
    torch.testing.assert_close(apply_ours(block, image, 4), expected, rtol=0, atol=1e-4)
