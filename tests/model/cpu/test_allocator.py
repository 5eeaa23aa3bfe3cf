"""Memory of one frame is kept for the next."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

COUNT = """
import resource, torch
import surgsam2
surgsam2.load_model(device="cpu")
for round in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(4 * 2**20)  # 16 MiB, 4096 pages
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(**variables: str) -> int:
    """Return how many pages the system gives a process for 20 blocks, one after the other."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    run = subprocess.run(
        [sys.executable, "-c", COUNT],
        env={**environment, **variables},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this system has another allocator")
def test_blocks_are_used_again() -> None:
    assert faults() < 1000
    # the user's choice is kept: every block comes from the system
    assert faults(MALLOC_MMAP_THRESHOLD_="1000000") > 20 * 4000
