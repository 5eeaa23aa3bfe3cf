"""Matrix products by both libraries."""

from __future__ import annotations

import pytest
import torch

from surgsam2.model.cpu import matmul

pytestmark = pytest.mark.skipif(
    not matmul.is_available(), reason="the CPU backend needs an x86 processor with AVX2"
)


def assert_close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


@pytest.mark.usefixtures("library")
def test_matrices_of_any_layout() -> None:
    """Matrices need not be contiguous, though oneDNN takes contiguous ones only."""
    x, weight = torch.randn(40, 3, 8)[:, 1], torch.randn(8, 24).t()[::2]
    assert_close(matmul.linear(x, weight), x @ weight.t())


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
def test_a_layer_with_its_activation(activation: str) -> None:
    x, weight, bias = torch.randn(2, 20, 16), torch.randn(24, 16), torch.randn(24)
    expected = torch.nn.functional.linear(x, weight, bias)
    if activation != "none":
        expected = getattr(torch.nn.functional, activation)(expected)
    assert_close(matmul.linear(x, weight, bias, activation), expected)


@pytest.mark.usefixtures("library")
def test_a_product_added_in_place() -> None:
    x, weight, bias = torch.randn(20, 16), torch.randn(24, 16), torch.randn(24)
    whole = torch.randn(30, 24)
    expected = whole.clone()
    expected[5:25] += torch.nn.functional.linear(x, weight, bias)
    place = whole[5:25]
    assert matmul.add_linear(place, x, weight, bias) is place
    assert_close(whole, expected)
