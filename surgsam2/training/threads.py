"""The number of CPU threads that is fastest for a training step."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import torch

logger = logging.getLogger(__name__)


def use_fastest_threads(step: Callable[[], object]) -> int:
    """Measure a step with all threads, half of them and so on, and keep the fastest number.

    The measurement stops at the first number that is not faster than the one before. On a
    machine whose cores are busy with other work, fewer threads are often faster.

    Args:
        step: does the work of one training step; it is called a few times.

    Returns:
        The number of threads that PyTorch uses from now on.
    """
    best = torch.get_num_threads()
    if best == 1:
        return 1
    step()  # The first call also pays for memory and caches.
    fastest = _seconds(step)
    number = best // 2
    while number >= 1:
        torch.set_num_threads(number)
        seconds = _seconds(step)
        if seconds >= fastest:
            break
        best, fastest, number = number, seconds, number // 2
    torch.set_num_threads(best)
    logger.info("%d CPU thread(s) are fastest here: %.2f s for a step", best, fastest)
    return best


def _seconds(step: Callable[[], object]) -> float:
    """Return how long a call takes, in seconds."""
    began = time.perf_counter()
    step()
    return time.perf_counter() - began
