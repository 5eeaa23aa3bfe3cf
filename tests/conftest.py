"""Things that many tests need: small models with telling weights, and moving pictures."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from hypothesis import settings

import surgsam2
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network

# one each: the suite runs in parallel processes, and waiting threads would fight for cores.
# Processes that tests start compute with as many, and so round alike
torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"
# `dtype="auto"` is float32 on every CPU, so that results do not depend on the processor
os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE"

# the same examples in every run, however slow the machine is at the moment
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")

PRESENT = 0.4
"""Makes the presence head see the objects; see `telling_weights`."""

REPOSITORY = Path(__file__).parents[1]


def telling_weights() -> dict[str, torch.Tensor]:
    """Seeded weights for the `demo` network whose output depends strongly on its memories.

    Freshly initialised weights give logits near 0 whatever the input. With these they
    span about 8, change by 3 or more between frames and by 0.1 or more with the form of
    pruning, while rounding errors are not blown up.
    """
    # never the built-in model's own weights
    network = build_network(load_config("demo"), "demo", SurgSAM2Network)
    generator = torch.Generator().manual_seed(7)
    state = {}
    for name, tensor in network.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim >= 2 and "gaussian_matrix" not in name:
            fan_in = tensor[0].numel()
            state[name] = noise / fan_in**0.5
        else:
            state[name] = tensor + 0.1 * noise
    state["sam_mask_decoder.pred_obj_score_head.layers.2.bias"] += PRESENT
    return state


@pytest.fixture(scope="session")
def demo_weights() -> dict[str, torch.Tensor]:
    return telling_weights()


@pytest.fixture(scope="session")
def demo_checkpoint(
    demo_weights: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """`demo_weights` as a file, in SAM 2's form."""
    path = tmp_path_factory.mktemp("weights") / "strong.pt"
    torch.save({"model": demo_weights}, path)
    return path


def demo_config_at(side: int, folder: Path) -> Path:
    """The demo network for a square input of `side` pixels, as a YAML file.

    It answers a click with several masks, as SAM 2 does and the demo itself does not.
    """
    path = folder / f"demo-{side}.yaml"
    config = load_config("demo", side)
    config["multimask_max_pt_num"] = 1
    config["sam_mask_decoder_extra_args"]["dynamic_multimask_via_stability"] = True
    path.write_text(yaml.safe_dump({"model": config}, sort_keys=False))
    return path


@pytest.fixture(scope="session")
def small_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """At 128 pixels: several times faster than the demo itself."""
    return demo_config_at(128, tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="session")
def built_in_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of the built-in model at 128 pixels."""
    path = tmp_path_factory.mktemp("config") / "built-in-128.yaml"
    path.write_text(yaml.safe_dump({"model": load_config("lite", 128)}, sort_keys=False))
    return path


@pytest.fixture(scope="session")
def a_model(demo_checkpoint: Path, small_config: Path) -> SurgSAM2Model:
    """A small model on the CPU, EFP as published."""
    return surgsam2.load_model(demo_checkpoint, config=str(small_config), device="cpu")


def moving_picture(frames: int, width: int = 160, height: int = 120, seed: int = 0) -> np.ndarray:
    """(T, H, W, 3) uint8: smooth texture that drifts, with a bright disc crossing it."""
    rng = np.random.default_rng(seed)
    canvas = rng.integers(0, 256, (height * 2, width * 2, 3), dtype=np.uint8)
    canvas = cv2.GaussianBlur(canvas, (0, 0), 4)
    canvas = cv2.normalize(canvas, None, 0, 255, cv2.NORM_MINMAX)
    video = np.empty((frames, height, width, 3), np.uint8)
    for t in range(frames):
        dx, dy = (3 * t) % width, (2 * t) % height
        frame = canvas[dy : dy + height, dx : dx + width].copy()
        centre = (20 + (5 * t) % (width - 40), height // 2)
        cv2.circle(frame, centre, 14, (240, 220, 60), -1, cv2.LINE_AA)
        video[t] = frame
    return video


def disc(width: int, height: int, x: int, y: int, radius: int) -> np.ndarray:
    """(H, W) bool, a filled disc."""
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (x, y), radius, 1, -1)
    return mask.astype(bool)


@pytest.fixture(scope="session")
def a_clip() -> np.ndarray:
    """(18, 120, 160, 3) uint8."""
    return moving_picture(18)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if torch.cuda.is_available() or os.environ.get("SURGSAM2_REQUIRE_GPU") == "1":
        return
    skip = pytest.mark.skip(reason="no CUDA device")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)
