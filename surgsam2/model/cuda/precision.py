"""TensorFloat-32: only where float32 is asked for and the user's process allows it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_before: list[bool] = []
"""The setting before the first of the contexts that are open, once for each of them."""


@contextmanager
def same_tf32() -> Iterator[None]:
    """Let convolutions use TensorFloat-32 only where matrix products may.

    PyTorch allows it for convolutions from the start, and for products after
    `torch.set_float32_matmul_precision("high")`. It has one setting for the process, which is
    put back when the last thread leaves the context.
    """
    with _lock:
        _before.append(_before[0] if _before else torch.backends.cudnn.allow_tf32)
        torch.backends.cudnn.allow_tf32 = torch.get_float32_matmul_precision() != "highest"
    try:
        yield
    finally:
        with _lock:
            before = _before.pop()
            if not _before:
                torch.backends.cudnn.allow_tf32 = before
