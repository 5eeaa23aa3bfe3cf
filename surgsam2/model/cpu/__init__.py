"""The same network with less arithmetic and faster products, for inference on the CPU.

Functions here take `sam2`'s own modules, read their weights and give their results, up
to rounding. Where `usable` says no (training, a GPU, lower precision, export), the
modules run themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from surgsam2.model.cpu.matmul import available

_plain = False


def usable(x: torch.Tensor) -> bool:
    """Whether the functions here may stand in for the modules: float32 inference on the CPU."""
    return (
        not _plain
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and available()
    )


@contextmanager
def plain() -> Iterator[None]:
    """Inside, the modules run themselves: what the functions here are compared with."""
    global _plain  # noqa: PLW0603
    before, _plain = _plain, True
    try:
        yield
    finally:
        _plain = before
