"""Orthogonal steps for weight matrices."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network
from surgsam2.training.config import OptimizerConfig
from surgsam2.training.muon import Muon, orthogonalised
from surgsam2.training.optimizer import make_optimizer

Parameters = list[torch.nn.Parameter]
side = st.integers(1, 48)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def parameters() -> Parameters:
    return [torch.nn.Parameter(random(*shape)) for shape in ((20, 30), (30, 20), (7,))]


def an_optimizer(of: Parameters) -> Muon:
    matrices = {"params": of[:2], "muon": True, "weight_decay": 0.1}
    return Muon([matrices, {"params": of[2:]}], lr=0.01)


def run(optimizer: torch.optim.Optimizer, of: Parameters, first: int, last: int) -> None:
    for step in range(first, last):
        for k, parameter in enumerate(of):
            parameter.grad = random(*parameter.shape, seed=100 * k + step)
        optimizer.step()


@given(side, side, st.integers(0, 1000))
def test_singular_values_are_brought_near_one(rows: int, columns: int, seed: int) -> None:
    rank = min(rows, columns)
    u, _, v = torch.linalg.svd(random(rows, columns, seed=seed), full_matrices=False)
    matrix = u * torch.linspace(1.0, 0.1, rank) @ v
    values = torch.diag(u.T @ orthogonalised(matrix) @ v.T)
    assert values.min() > 0.6
    assert values.max() < 1.25
    torch.testing.assert_close(u * values @ v, orthogonalised(matrix), atol=1e-4, rtol=0)


def test_nothing_stays_nothing() -> None:
    assert not orthogonalised(torch.zeros(3, 5)).any()


def test_steps_are_those_of_torch_in_float32() -> None:
    """Its own are in bfloat16, so they differ by a hundredth of a step."""
    reference = getattr(torch.optim, "Muon", None)
    if reference is None:
        pytest.skip("PyTorch has Muon from 2.9 on")
    ours, theirs = parameters()[:2], parameters()[:2]
    options = {"weight_decay": 0.1, "momentum": 0.95, "adjust_lr_fn": "match_rms_adamw"}
    run(Muon([{"params": ours, "muon": True}], lr=0.01, weight_decay=0.1), ours, 0, 5)
    run(reference(theirs, lr=0.01, **options), theirs, 0, 5)
    for mine, other, start in zip(ours, theirs, parameters(), strict=False):
        moved = (other - start).norm()
        assert (mine - other).norm() < 0.02 * moved


def test_the_rest_moves_as_with_adamw() -> None:
    ours, theirs = parameters(), parameters()
    run(an_optimizer(ours), ours, 0, 3)
    run(torch.optim.AdamW(theirs[2:], lr=0.01), theirs, 0, 3)
    torch.testing.assert_close(ours[2], theirs[2], atol=0, rtol=0)
    assert all(p.grad is not None for p in ours)


def test_what_has_no_gradient_stays() -> None:
    of = parameters()
    optimizer = an_optimizer(of)
    of[1].grad = random(30, 20)
    optimizer.step()
    torch.testing.assert_close(of[0].data, parameters()[0].data, atol=0, rtol=0)
    assert of[0] not in optimizer.state
    assert of[1] in optimizer.state


def test_a_saved_state_goes_on() -> None:
    straight, resumed = parameters(), parameters()
    run(an_optimizer(straight), straight, 0, 6)
    first = an_optimizer(resumed)
    run(first, resumed, 0, 3)
    second = an_optimizer(resumed)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    run(second, resumed, 3, 6)
    for a, b in zip(straight, resumed, strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)


def test_it_is_for_the_hidden_matrices_of_the_network() -> None:
    network = build_network(load_config("demo"), "demo", SurgSAM2Network).requires_grad_(True)
    optimizer = make_optimizer(network, OptimizerConfig(muon=True))
    names = {id(p): name for name, p in network.named_parameters()}
    moved = {
        names[id(p)]: p for g in optimizer.param_groups if g["muon"] for p in g["params"]
    }  # fmt: skip
    assert "image_encoder.trunk.blocks.7.attn.qkv.weight" in moved
    assert "memory_attention.layers.0.linear1.weight" in moved
    assert all(p.ndim == 2 for p in moved.values())
    assert not any("tokens" in name or "embed" in name for name in moved)
    assert not any(g["muon"] for g in make_optimizer(network, OptimizerConfig()).param_groups)
