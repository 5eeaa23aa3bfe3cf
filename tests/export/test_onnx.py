"""The exported graphs compute what the engine computes, without PyTorch."""

from __future__ import annotations

import copy
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from sam2.modeling.sam.transformer import RoPEAttention

from surgsam2 import PromptSet, Tracker, cli
from surgsam2.errors import InputError, OutputError
from surgsam2.export import export_onnx
from surgsam2.export.conversion import compare
from surgsam2.export.graphs import Graph, Tensor, describe_graphs
from surgsam2.export.rotary import RealRotaryAttention
from surgsam2.export.steps import MaskDecoder, MemoryEncoder, Step
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network
from surgsam2.tracking.options import TrackingOptions
from tests.conftest import disc
from tests.export.onnx_tracker import OnnxTracker

WIDTH, HEIGHT = 160, 120


@pytest.fixture(scope="module")
def an_export(
    demo_checkpoint: Path, small_config: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder that the command writes. It is made once because that takes long."""
    folder = tmp_path_factory.mktemp("export") / "onnx"
    arguments = ["--model", str(demo_checkpoint), "--config", str(small_config)]
    assert cli.main(["export", *arguments, "--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def a_description(an_export: Path) -> dict[str, Any]:
    return json.loads((an_export / "export.json").read_text())


def test_a_clip_tracked_without_torch_has_the_engines_masks(
    an_export: Path, a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    """The clip is longer than both memories, so that pruning and forgetting take place."""
    click, box, clicks = [[20, 60, 1]], [60, 40, 110, 90], [[90, 60, 1], [5, 5, 0]]
    mask = disc(WIDTH, HEIGHT, 70, 70, 25)
    prompts = PromptSet().add(object_id=1, frame=0, points=click)
    prompts.add(object_id=2, frame=1, mask=mask)
    prompts.add(object_id=3, frame=2, box=box).add(object_id=1, frame=9, points=clicks)
    given = {
        0: {1: points(click)},
        1: {2: {"mask": mask}},
        2: {3: points([[*box[:2], 2], [*box[2:], 3]])},
        9: {1: points(clicks)},
    }
    engine = Tracker(
        a_model, WIDTH, HEIGHT, options=TrackingOptions(allow_overlap=True, min_region=0)
    )
    graphs = OnnxTracker(an_export, WIDTH, HEIGHT)
    overlaps, covered = [], []
    for frame, picture in enumerate(a_clip):
        result = engine.step(picture, prompts)
        found = graphs.step(picture, given.get(frame, {}))
        assert sorted(found) == sorted(result.object_ids)
        overlaps += [iou(result.mask(i), found[i]) for i in found]
        covered += [found[i].mean() for i in found]
    assert len(overlaps) == 18 + 17 + 16
    assert min(overlaps) >= 0.99
    assert np.std(covered) > 0.01  # The masks differ from frame to frame.


def test_the_description_tells_what_the_graphs_are(
    an_export: Path, a_description: dict[str, Any], demo_checkpoint: Path
) -> None:
    digest = hashlib.sha256(demo_checkpoint.read_bytes()).hexdigest()
    assert a_description["model"]["checkpoint"] == demo_checkpoint.name
    assert a_description["model"]["sha256"] == digest
    assert a_description["versions"]["torch"] == torch.__version__
    assert a_description["preprocessing"]["resize"] == [128, 128]
    files = sorted(graph["file"] for graph in a_description["graphs"])
    assert files == sorted(path.name for path in an_export.glob("*.onnx"))
    for graph in a_description["graphs"]:
        proto = onnx.load(an_export / graph["file"])
        assert [o.version for o in proto.opset_import if not o.domain] == [a_description["opset"]]
        for tensors, values in (
            (graph["inputs"], proto.graph.input),
            (graph["outputs"], proto.graph.output),
        ):
            assert [described(tensor) for tensor in tensors] == [declared(v) for v in values]


def test_objects_memories_and_points_may_be_any_number(a_description: dict[str, Any]) -> None:
    shapes = {
        tensor["name"]: tensor["shape"]
        for graph in a_description["graphs"]
        for tensor in graph["inputs"]
        if graph["file"] != "click_decoder.onnx"
    }
    assert shapes["memory_maps"][:2] == ["objects", "memories"]
    assert shapes["pointers"][:2] == ["objects", "pointers"]
    assert shapes["points"][1] == "points"
    assert shapes["low_res"][0] == shapes["conditioned"][0] == "objects"


@torch.no_grad()
@pytest.mark.parametrize("maps", [1, 3])
def test_real_rotary_attention_equals_the_complex_one(maps: int) -> None:
    torch.manual_seed(0)
    original = RoPEAttention(
        embedding_dim=32, num_heads=2, downsample_rate=1, kv_in_dim=16,
        feat_sizes=(4, 4), rope_k_repeat=True, dropout=0.1,
    ).eval()  # fmt: skip
    real = RealRotaryAttention(original, side=4)
    q, k = torch.randn(2, 16, 32), torch.randn(2, maps * 16 + 5, 16)
    wanted = original(q, k, k, num_k_exclude_rope=5)
    torch.testing.assert_close(real(q, k, k, num_k_exclude_rope=5), wanted)
    assert not torch.allclose(real(q, k, k.flip(1), num_k_exclude_rope=5), wanted)


@torch.no_grad()
def test_prompted_and_tracked_masks_share_a_call_of_the_memory_encoder(
    a_model: SurgSAM2Model,
) -> None:
    network = a_model.network
    image = network.encode_image(torch.randn(1, 3, 128, 128))
    conditioned = torch.randn(2, network.hidden_dim, *image.size)
    decoded = network.decode_tracked(image, conditioned)
    features = image.tokens.permute(1, 2, 0).unflatten(2, image.size)
    step = MemoryEncoder(network, image.position)
    both = step(features, decoded.low_res, decoded.presence_logits, torch.tensor([True, False]))
    for row, prompted in enumerate((True, False)):
        wanted = network.encode_memory(image, decoded, prompted=prompted)[row].float()
        torch.testing.assert_close(both[row], wanted, rtol=2**-7, atol=1e-3)
    assert not torch.allclose(both[0], both[1])


@torch.no_grad()
def test_a_graph_of_other_weights_is_refused(
    an_export: Path, a_model: SurgSAM2Model, a_description: dict[str, Any]
) -> None:
    network = copy.deepcopy(a_model.network)
    image = network.encode_image(torch.zeros(1, 3, 128, 128))
    graph = {g.name: g for g in describe_graphs(network)}["mask_decoder"]
    content = (an_export / "mask_decoder.onnx").read_bytes()
    assert compare(graph, content, MaskDecoder(network, image.position)) < 1e-3
    network.sam_mask_decoder.iou_token.weight += 1
    with pytest.raises(OutputError, match=r"mask_decoder: its output .* differs from PyTorch"):
        compare(graph, content, MaskDecoder(network, image.position))


def test_requests_that_cannot_be_met_write_nothing(a_model: SurgSAM2Model, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="opset must be 18 to 23, got 17"):
        export_onnx(a_model, tmp_path / "out", opset=17)
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match=r"not an empty folder; choose another"):
        export_onnx(a_model, tmp_path)
    with pytest.raises(OutputError, match=r"mine\.txt: it is not an empty folder"):
        export_onnx(a_model, tmp_path / "mine.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_without_the_packages_the_command_says_which(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("surgsam2.export")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert cli.main(["export", "--output", str(tmp_path / "out")]) == 2
    assert "needs the package 'onnxruntime'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def points(rows: list[list[int]]) -> dict[str, np.ndarray]:
    """Convert rows of x, y and label to the prompts of the example tracker."""
    table = np.array(rows)
    return {"points": table[:, :2], "labels": table[:, 2]}


def iou(a: np.ndarray, b: np.ndarray) -> float:
    union = (a | b).sum()
    return 1.0 if union == 0 else float((a & b).sum() / union)


def described(tensor: dict[str, Any]) -> tuple[str, str, list[int | str]]:
    return tensor["name"], tensor["dtype"], tensor["shape"]


def declared(value: onnx.ValueInfoProto) -> tuple[str, str, list[int | str]]:
    """Return name, number format and shape of a graph's input or output."""
    kind = value.type.tensor_type
    shape = [side.dim_param or side.dim_value for side in kind.shape.dim]
    return value.name, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name, shape


@torch.no_grad()
def test_steps_of_the_built_in_network_carry_masks(built_in_config: Path) -> None:
    network = build_network(load_config(str(built_in_config)), "built-in", SurgSAM2Network).eval()
    graphs = {graph.name: graph for graph in describe_graphs(network)}
    whole = torch.randint(0, 256, (1, 128, 128, 3), dtype=torch.uint8)
    position = network.encode_image(torch.zeros(1, 3, 128, 128)).position
    steps = {name: graph.step(network, position) for name, graph in graphs.items()}
    given = dict(
        zip(names(graphs["image_encoder"].outputs), steps["image_encoder"](whole), strict=True)
    )
    given["low_res"] = torch.randn(1, 1, 32, 32).sign() * 8
    given["presence"], given["prompted"] = torch.ones(1, 1), torch.tensor([True])
    given["conditioned"] = torch.zeros(1, network.conditioned_channels, 8, 8)
    memory_map = call(graphs["memory_encoder"], steps, given)
    given |= {"memory_maps": memory_map[:, None], "map_ages": torch.zeros(1, 1, dtype=torch.int64)}
    given["anchor_map"] = memory_map
    given |= {"pointers": torch.randn(1, 1, 128), "pointer_times": torch.ones(1, 1)}
    conditioned = call(graphs["memory_attention"], steps, given)
    certain, carried, moved = F.pixel_shuffle(conditioned[:, 128:], 4).split([1, 1, 2], dim=1)
    assert certain.min() == 1  # the same picture
    torch.testing.assert_close(carried, given["low_res"], rtol=0, atol=0.2)  # bfloat16
    assert moved.abs().max() < 0.01


def names(tensors: tuple[Tensor, ...]) -> list[str]:
    return [tensor.name for tensor in tensors]


def call(graph: Graph, steps: dict[str, Step], given: dict[str, torch.Tensor]) -> torch.Tensor:
    return steps[graph.name](*(given[name] for name in names(graph.inputs)))
