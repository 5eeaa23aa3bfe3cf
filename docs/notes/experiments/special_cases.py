"""What each special case of the CPU backend gains: the frame's time without it beside that with it.

One object with seven memories, one thread, float32, untrained weights. Each case is switched off
in turn, in alternation with the backend as it is, and only the step that it belongs to is timed;
the least CPU time of several turns counts. The figures are in docs/notes/cpu-special-cases.md; two
cases that it names are gone and cannot be switched off any more.

    python docs/notes/experiments/special_cases.py [CONFIG] [TURNS]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from surgsam2 import EFP
from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.cpu import (
    hiera,
    hiera_attention,
    image,
    matmul,
    memory_attention,
    weight_cache,
)
from surgsam2.model.cpu.backend import CpuBackend
from surgsam2.model.frame_data import MemoryBatch
from surgsam2.model.network import SurgSAM2Network


def plain_softmax(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend block by block of queries, with PyTorch's softmax."""
    if not matmul.uses_onednn(query.dtype) and query.shape[-1] == value.shape[-1]:
        return F.scaled_dot_product_attention(
            query[None, None], key[None, None], value[None, None]
        )[0, 0]
    query = query * query.shape[-1] ** -0.5
    parts = [torch.softmax(matmul.linear(q, key), -1) @ value for q in query.split(512)]
    return torch.cat(parts)


def two_convolutions(owner, first, second, dtype):  # type: ignore[no-untyped-def]
    """Stand in for one composed layer; `projected` applies two then."""
    return _Pair(matmul.layer_weights(first, dtype), matmul.layer_weights(second, dtype))


class _Pair(tuple):
    """Weights of two layers in a row, each a pair of weight and bias."""

    def __new__(cls, *layers):  # type: ignore[no-untyped-def]
        """Keep the layers in order."""
        return super().__new__(cls, layers)


_projected = hiera.Stage.projected


def projected_twice(stage: hiera.Stage, weight, bias):  # type: ignore[no-untyped-def]
    """Apply one layer, or both of a pair."""
    if not isinstance(weight, tuple):
        return _projected(stage, weight, bias)
    (a, c), (b, d) = weight, bias
    first = matmul.linear(stage.tokens, a.flatten(1), c)
    return _projected(hiera.Stage(first, stage.windows), b, d)


def values_then_output(attn, dtype):  # type: ignore[no-untyped-def]
    """Return the weights of both layers instead of their product."""
    return _Pair(
        matmul.layer_weights(attn.v_proj, dtype), matmul.layer_weights(attn.out_proj, dtype)
    )


def linear_or_two(x: Tensor, weight, bias=None, activation: str = "none"):  # type: ignore[no-untyped-def]
    """Apply one layer, or both of a pair."""
    if not isinstance(weight, tuple):
        return matmul.linear(x, weight, bias, activation)
    return matmul.linear(matmul.linear(x, *weight), *bias)


def patched(*changes: tuple[object, str, object]) -> Callable[[], contextmanager]:
    """Return a context in which attributes have other values."""

    @contextmanager
    def context() -> Iterator[None]:
        patches = [mock.patch.object(owner, name, value) for owner, name, value in changes]
        weight_cache._entries.clear()
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()
            weight_cache._entries.clear()

    return context


CASES = {
    "encoder: strips of windows": (
        "encode",
        patched((hiera, "_strips", lambda tokens, windows, block: [(tokens, windows)])),
    ),
    "encoder: tokens serve as keys and values": (
        "encode",
        patched((hiera_attention, "_tokens_serve_as_keys", lambda attn: False)),
    ),
    "encoder: neck and decoder convolutions composed": (
        "encode",
        patched(
            (image, "compose_layers", two_convolutions), (hiera.Stage, "projected", projected_twice)
        ),
    ),
    "attention: own softmax": ("attend", patched((memory_attention, "attention", plain_softmax))),
    "attention: values and output composed": (
        "attend",
        patched(
            (memory_attention, "_value_output", values_then_output),
            (memory_attention, "linear", linear_or_two),
        ),
    ),
    "whole encoder (sam2's instead)": ("encode", patched((image, "supports", lambda *_: False))),
    "whole decoder and memory encoder (sam2's instead)": (
        "rest",
        patched((CpuBackend, "supports", staticmethod(lambda _: False))),
    ),
}


def main(config: str = "surgsam2-hiera-small-512", turns: int = 3) -> None:
    """Print the milliseconds of each step, and the share of a frame that each case gains."""
    torch.set_num_threads(1)
    network = build_network(load_config(config), config, SurgSAM2Network).eval()
    network.requires_grad_(False)
    size, side = network.image_size, network.image_size // 16
    picture = torch.randn(1, 3, size, size).contiguous(memory_format=torch.channels_last)
    memory = MemoryBatch(
        maps=torch.randn(1, 7, network.mem_dim, side, side).bfloat16(),
        map_ages=torch.tensor([[0, 6, 5, 4, 3, 2, 1]]),
        pointers=torch.randn(1, 15, network.hidden_dim),
        pointer_ages=torch.arange(1.0, 16)[None],
    )
    with torch.no_grad():
        features = network.encode_image(picture)
        conditioned = network.attend(features, memory, EFP(), 15)

        def rest() -> None:
            decoded = network.decode_tracked(features, conditioned)
            network.encode_memory(features, decoded, prompted=False)

        steps = {
            "encode": lambda: network.encode_image(picture),
            "attend": lambda: network.attend(features, memory, EFP(), 15),
            "rest": rest,
        }

        def least(step: str, before: float) -> float:
            began = time.thread_time()
            steps[step]()
            return min(before, (time.thread_time() - began) * 1000)

        times = dict.fromkeys(steps, float("inf"))
        for name, (step, off) in CASES.items():
            if step == "encode" and not image.supports(network.image_encoder, size):
                continue
            own = other = float("inf")
            steps[step]()
            for _ in range(turns):
                own = least(step, own)
                with off():
                    steps[step]()
                    other = least(step, other)
                steps[step]()
            times[step] = min(times[step], own)
            print(f"{name}: {own:.1f} with, {other:.1f} ms without", flush=True)  # noqa: T201
        for step in steps:
            times[step] = least(step, times[step])
    print(f"frame: {sum(times.values()):.0f} ms, {times}")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:3]))
