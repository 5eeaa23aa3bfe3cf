"""The CUDA backend on CPU tensors, with a recorder as strict as CUDA's, against sam2's modules."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import surgsam2
from surgsam2 import PromptSet, Tracker
from surgsam2.errors import DeviceError, InputError
from surgsam2.model.backend import Sam2Backend
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.cuda.backend import CudaBackend, StepGraphs
from surgsam2.model.devices import check_cuda_graphs
from surgsam2.model.network import SurgSAM2Network
from surgsam2.results.frame_result import FrameResult
from surgsam2.tracking.options import TrackingOptions
from tests.conftest import disc
from tests.model.cuda.recorder import StrictRecorder
from tests.model.helpers import sam2_modules

HEIGHT, WIDTH = 120, 160
FRAMES = 4


def track(model: SurgSAM2Model, clip: np.ndarray) -> Iterator[FrameResult]:
    """Track two objects, of which one is forgotten in the end."""
    prompts = PromptSet().add(object_id=1, frame=0, mask=disc(WIDTH, HEIGHT, 40, 50, 15))
    prompts.add(object_id=2, frame=1, points=[[100, 60, 1]])
    tracker = Tracker(model, WIDTH, HEIGHT, options=TrackingOptions(allow_overlap=True))
    for index in range(FRAMES):
        if index == FRAMES - 2:
            tracker.remove_object(1)
        yield tracker.step(clip[index % len(clip)], prompts if index < 2 else None)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_replayed_frames_are_those_of_sam2s_modules(
    dtype: str,
    demo_checkpoint,
    small_config,
    a_clip: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = surgsam2.load_model(
        demo_checkpoint, config=str(small_config), device="cpu", dtype=dtype
    )
    with sam2_modules():
        expected = [result.logits for result in track(model, a_clip)]
    graphs = StepGraphs(model.network, StrictRecorder)
    monkeypatch.setattr(
        SurgSAM2Network, "backend_for", lambda self, x, frames=1: CudaBackend(self, graphs)
    )
    for _ in range(3):  # called, captured, replayed
        for logits, result in zip(expected, track(model, a_clip), strict=True):
            np.testing.assert_allclose(result.logits, logits, rtol=0, atol=1e-4)
    assert all(len(cache) > 0 for cache in graphs.caches()), "every step was captured"
    assert "without a CUDA graph" not in caplog.text


def test_a_guess_has_a_graph_of_its_own(a_model: SurgSAM2Model) -> None:
    network = a_model.network
    backend = CudaBackend(network, StepGraphs(network, StrictRecorder))
    side = network.image_size // 4
    with torch.no_grad():
        features = network.encode_image(torch.randn(1, 3, network.image_size, network.image_size))
        conditioned = network.without_memory(features)
        for guess in (None, *torch.randn(3, 1, 1, side, side), None):
            arguments = features, conditioned, guess
            ours = backend.decode_masks(*arguments, multimask=False)
            expected = Sam2Backend(network).decode_masks(*arguments, multimask=False)
            torch.testing.assert_close(ours.low_res, expected.low_res, rtol=0, atol=1e-4)


def test_weights_that_move_drop_the_graphs(a_model: SurgSAM2Model) -> None:
    network = copy.deepcopy(a_model.network)
    graphs = StepGraphs(network, StrictRecorder)
    backend = CudaBackend(network, graphs)
    image = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        for _ in range(2):
            before = backend.encode_image(image)
        assert len(graphs.image_encoder) == 1
        next(network.image_encoder.parameters()).mul_(2)
        graphs.drop_if_moved(network)
        assert len(graphs.image_encoder) == 1, "a graph reads the weights' present values"
        changed = backend.encode_image(image)
        assert not torch.allclose(changed.tokens, before.tokens)
        network.double().float()
        graphs.drop_if_moved(network)
        assert len(graphs.image_encoder) == 0
        torch.testing.assert_close(backend.encode_image(image).tokens, changed.tokens)


def test_weights_and_modules_that_are_replaced_drop_the_graphs(a_model: SurgSAM2Model) -> None:
    network = copy.deepcopy(a_model.network)
    graphs = StepGraphs(network, StrictRecorder)
    backend = CudaBackend(network, graphs)
    image = torch.rand(1, 3, 128, 128)

    def has_graph() -> bool:
        for _ in range(2):
            backend.encode_image(image)
        graphs.drop_if_moved(network)
        return len(graphs.image_encoder) == 1

    with torch.no_grad():
        assert has_graph()
        weights = {name: value.clone() for name, value in network.state_dict().items()}
        network.load_state_dict(weights, assign=True)
        assert not has_graph()
        assert has_graph(), "the new ones are followed from then on"
        network.image_encoder = copy.deepcopy(network.image_encoder)
        assert not has_graph()
        assert has_graph()


def test_choices_of_graphs() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    for choice in ("auto", "off"):
        check_cuda_graphs(choice, cpu, compile=True)
    check_cuda_graphs("on", cuda, compile=False)
    with pytest.raises(InputError, match="cuda_graphs must be auto, on, off, got 'yes'"):
        surgsam2.load_model("demo", device="cpu", cuda_graphs="yes")  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match="needs a CUDA device, and the model is on cpu"):
        surgsam2.load_model("demo", device="cpu", cuda_graphs="on")
    with pytest.raises(InputError, match="cuda_graphs=on cannot be had with compile"):
        check_cuda_graphs("on", cuda, compile=True)


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.2)])
def test_on_a_gpu_graphs_change_nothing(
    dtype: str,
    tolerance: float,
    demo_checkpoint,
    small_config,
    a_clip: np.ndarray,
) -> None:
    """Live, and as recorded video, whose next frames are encoded on a stream of their own."""
    prompts = PromptSet().add(object_id=1, frame=0, mask=disc(WIDTH, HEIGHT, 40, 50, 15))
    plain, graphed = (
        surgsam2.load_model(
            demo_checkpoint,
            config=str(small_config),
            device="cuda",
            dtype=dtype,
            cuda_graphs=choice,  # type: ignore[arg-type]
        )
        for choice in ("off", "on")
    )
    for _ in range(3):
        for one, other in zip(track(plain, a_clip), track(graphed, a_clip), strict=True):
            np.testing.assert_allclose(one.logits, other.logits, rtol=0, atol=tolerance)
        pairs = zip(
            surgsam2.segment_video(plain, a_clip, prompts),
            surgsam2.segment_video(graphed, a_clip, prompts),
            strict=True,
        )
        for one, other in pairs:
            np.testing.assert_allclose(one.logits, other.logits, rtol=0, atol=tolerance)
