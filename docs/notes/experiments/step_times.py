"""CPU time of the steps of a tracked frame, in float32 and bfloat16, ours beside sam2's.

One object with seven memories, one thread, untrained weights; the least of five turns each. The
figures of one machine are in docs/notes/bfloat16.md.

    python docs/notes/experiments/step_times.py [CONFIG]
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise, product

import torch
import torch.nn.functional as F

from surgsam2 import EFP
from surgsam2.model.backend import Sam2Backend
from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.frame_data import MemoryBatch
from surgsam2.model.network import SurgSAM2Network

STEPS = ("image encoder", "memory attention", "mask decoder", "memory encoder")


class Sam2Network(SurgSAM2Network):
    """A network that always runs sam2's own modules."""

    def backend_for(self, x: torch.Tensor, frames: int = 1) -> Sam2Backend:
        """Return the backend of sam2's modules."""
        return Sam2Backend(self)


def product_rates() -> None:
    """Print the rates of large linear layers, (1024, 1536) by (1536, 384)."""
    multiply = torch.ops.mkldnn._linear_pointwise
    for dtype in (torch.float32, torch.bfloat16):
        x, weight = torch.randn(1024, 1536).to(dtype), torch.randn(384, 1536).to(dtype)
        calls = {
            "oneDNN": lambda x=x, w=weight: multiply(x, w, None, "none", [], "none"),
            "F.linear": lambda x=x, w=weight: F.linear(x, w),
        }
        for name, call in calls.items():
            call()
            times = []
            for _ in range(10):
                began = time.thread_time()
                call()
                times.append(time.thread_time() - began)
            rate = 2 * 1024 * 1536 * 384 / min(times) / 1e9
            print(f"{dtype} {name}: {rate:.0f} GFLOP/s")  # noqa: T201


def step_times(network: SurgSAM2Network, dtype: torch.dtype) -> list[float]:
    """Return the milliseconds of every step of one frame."""
    size, side = network.image_size, network.image_size // 16
    image = torch.randn(1, 3, size, size).contiguous(memory_format=torch.channels_last)
    memory = MemoryBatch(
        maps=torch.randn(1, 7, network.mem_dim, side, side).bfloat16(),
        map_ages=torch.tensor([[0, 6, 5, 4, 3, 2, 1]]),
        pointers=torch.randn(1, 15, network.hidden_dim),
        pointer_ages=torch.arange(1.0, 16)[None],
    )
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        times = [time.thread_time()]
        features = network.encode_image(image)
        times.append(time.thread_time())
        conditioned = network.attend(features, memory, EFP(), 15)
        times.append(time.thread_time())
        decoded = network.decode_tracked(features, conditioned)
        times.append(time.thread_time())
        network.encode_memory(features, decoded, prompted=False)
        times.append(time.thread_time())
    return [(end - begin) * 1000 for begin, end in pairwise(times)]


def main(config: str = "surgsam2-hiera-small-512") -> None:
    """Print rates and times."""
    torch.set_num_threads(1)
    product_rates()
    networks = {
        kind: build_network(load_config(config), config, kind).eval().requires_grad_(False)
        for kind in (SurgSAM2Network, Sam2Network)
    }
    cases = list(product(networks, (torch.float32, torch.bfloat16)))
    least = {case: [float("inf")] * len(STEPS) for case in cases}
    for _ in range(5):
        for kind, dtype in cases:
            times = step_times(networks[kind], dtype)
            least[kind, dtype] = list(map(min, least[kind, dtype], times))
    for (kind, dtype), times in least.items():
        steps = ", ".join(f"{name} {value:.0f}" for name, value in zip(STEPS, times, strict=True))
        print(f"{kind.__name__} {dtype}: {steps}, together {sum(times):.0f} ms")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
