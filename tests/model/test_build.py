"""`load_model` finds and refuses models, and gives sam2's own network."""

from __future__ import annotations

import logging
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from sam2.modeling.backbones.image_encoder import ImageEncoder
from sam2.modeling.sam2_base import SAM2Base
from sam2.sam2_video_predictor import SAM2VideoPredictor
from sam2.utils.misc import load_video_frames_from_jpg_images

import surgsam2
from surgsam2 import EFP, PromptSet, Tracker
from surgsam2.errors import CheckpointError, DeviceError, InputError
from surgsam2.model import build, devices
from surgsam2.model.build import STD, SurgSAM2Model
from surgsam2.model.builder import OWN_ARGUMENTS
from surgsam2.model.configs import config_names, load_config
from surgsam2.model.devices import available_devices, resolve_device, resolve_dtype
from tests.conftest import disc, moving_picture
from tests.model.helpers import skeleton

WIDTH, HEIGHT = 160, 120


def prompts() -> PromptSet:
    some = PromptSet().add(object_id=1, frame=0, points=[[40, 50, 1]])
    return some.add(object_id=2, frame=0, mask=disc(WIDTH, HEIGHT, 100, 60, 15))


def logits(model: SurgSAM2Model, clip: np.ndarray) -> list[np.ndarray]:
    tracker = Tracker(model, WIDTH, HEIGHT)
    return [tracker.step(frame, prompts()).logits for frame in clip]


# models that are found


def test_the_built_in_model(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "surgsam2"):
        model = surgsam2.load_model(device="cpu")
    assert model.name == "lite"
    assert (model.image_size, model.dtype, model.pruning) == (384, torch.float32, EFP("capped", 2))
    assert not model.network.training
    assert not any(p.requires_grad for p in model.network.parameters())
    if build.BUILT_IN.is_file():
        assert model.checkpoint == build.BUILT_IN
        assert not caplog.records
    else:
        assert model.checkpoint is None
        assert [r.getMessage() for r in caplog.records] == [build.UNTRAINED]


def test_a_file(demo_checkpoint: Path, demo_weights: dict[str, torch.Tensor]) -> None:
    model = surgsam2.load_model(str(demo_checkpoint), device="cpu")
    assert (model.name, model.checkpoint) == ("demo", demo_checkpoint)
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, demo_weights[name]), name


def test_a_file_in_the_home_folder(
    demo_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(demo_checkpoint, tmp_path / "mine.pt")
    assert surgsam2.load_model("~/mine.pt", device="cpu").checkpoint == tmp_path / "mine.pt"


def test_a_file_with_a_config_of_ones_own(a_model: SurgSAM2Model, small_config: Path) -> None:
    assert a_model.name == str(small_config)
    assert a_model.image_size == 128
    again = instantiate(a_model.config)  # the configuration describes the network completely
    again.load_state_dict(a_model.network.state_dict())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sam2.1-hiera-tiny", "run: surgsam2 models download sam2.1-hiera-tiny"),
        ("sam2.1-hiera-tiny-1024", "run: surgsam2 models download sam2.1-hiera-tiny"),
        ("sam2-hiera-base-plus-512", "run: surgsam2 models download sam2-hiera-base-plus"),
        ("surgsam2-hiera-small-512", "get it from the SurgSAM2 authors"),
    ],
)
def test_weights_that_are_not_here(
    name: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURGSAM2_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=f"the weights of '{name}' are not here") as caught:
        surgsam2.load_model(name, device="cpu")
    assert words in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["", "-512", "-1024"])
def test_known_weights_are_found_and_their_config_is_the_names(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`locate` finds the file and the configuration without building the large network."""
    monkeypatch.setenv("SURGSAM2_CACHE", str(tmp_path))
    (tmp_path / "sam2.1_hiera_large.pt").touch()
    path, config, _ = build.locate(f"sam2.1-hiera-large{suffix}")
    assert path == tmp_path / "sam2.1_hiera_large.pt"
    assert config == f"sam2.1-hiera-large{suffix or '-512'}"


@pytest.mark.parametrize("name", ["sam3", "", "surgsam2-hiera-small-1024", "demo-512", "\0"])
def test_an_unknown_model(name: str) -> None:
    with pytest.raises(InputError, match="neither a file nor a known model") as caught:
        surgsam2.load_model(name, device="cpu")
    assert "demo, sam2.1-hiera-tiny" in str(caught.value)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint file"):
        surgsam2.load_model(tmp_path / "none.pt", device="cpu")
    with pytest.raises(CheckpointError, match="is a folder"):
        surgsam2.load_model(tmp_path, device="cpu")


def test_a_model_is_named() -> None:
    with pytest.raises(InputError, match=r"a model is given as a name, .* got NoneType"):
        surgsam2.load_model(None)  # type: ignore[arg-type]


def test_an_unknown_config(demo_checkpoint: Path) -> None:
    with pytest.raises(InputError, match="unknown config 'dmo'; did you mean demo"):
        surgsam2.load_model(demo_checkpoint, config="dmo", device="cpu")


# equality with sam2's network


@pytest.mark.parametrize("name", config_names())
def test_state_dict_keys_are_those_of_sam2base(name: str) -> None:
    config = load_config(name)
    ours = skeleton(config).state_dict()
    common = {key: value for key, value in config.items() if key not in OWN_ARGUMENTS}
    theirs = skeleton(common, SAM2Base).state_dict()
    assert list(ours) == list(theirs)
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


def predictor(model: SurgSAM2Model) -> SAM2VideoPredictor:
    torch.manual_seed(3)
    target = {"_target_": "sam2.sam2_video_predictor.SAM2VideoPredictor"}
    return instantiate(OmegaConf.merge(model.config, target))


def test_weights_move_to_sam2_and_back(
    a_model: SurgSAM2Model, small_config: Path, tmp_path: Path
) -> None:
    theirs = predictor(a_model)
    torch.save({"model": a_model.network.state_dict()}, tmp_path / "ours.pt")
    # as sam2's own builder loads it
    state = torch.load(tmp_path / "ours.pt", map_location="cpu", weights_only=True)["model"]
    missing, unexpected = theirs.load_state_dict(state)
    assert not missing
    assert not unexpected
    fresh = predictor(a_model)
    torch.save({"model": fresh.state_dict()}, tmp_path / "theirs.pt")
    back = surgsam2.load_model(tmp_path / "theirs.pt", config=str(small_config), device="cpu")
    assert isinstance(back.network, SAM2Base)
    for name, tensor in back.network.state_dict().items():
        assert torch.equal(tensor, fresh.state_dict()[name]), name


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (64, 200), (128, 128)])
@pytest.mark.parametrize("grey", [False, True])
def test_preprocessing_is_sam2s_up_to_rounding(
    a_model: SurgSAM2Model, tmp_path: Path, size: tuple[int, int], grey: bool
) -> None:
    for i, frame in enumerate(moving_picture(3, *size)):
        image = Image.fromarray(frame)
        (image.convert("L") if grey else image).save(tmp_path / f"{i}.jpg")
    theirs, height, width = load_video_frames_from_jpg_images(
        str(tmp_path), a_model.image_size, offload_video_to_cpu=True, compute_device="cpu"
    )
    assert (width, height) == size
    for i, expected in enumerate(theirs):
        frame = np.array(Image.open(tmp_path / f"{i}.jpg").convert("RGB"))
        ours = a_model.preprocess(frame)
        assert ours.shape == (1, 3, 128, 128)
        assert ours.dtype == torch.float32
        # PyTorch's filter has shorter factors than PIL's; both round to whole levels
        levels = ((ours[0] - expected) * torch.tensor(STD)[:, None, None] * 255).abs()
        assert levels.max() < 2.01
        assert levels.mean() < 0.2


def test_preprocessing_takes_any_memory_layout(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    frame = a_clip[0]
    expected = a_model.preprocess(frame)
    assert torch.equal(a_model.preprocess(np.asfortranarray(frame)), expected)
    mirrored = frame[:, ::-1]
    assert torch.equal(a_model.preprocess(mirrored), a_model.preprocess(mirrored.copy()))
    frame = frame.copy()
    frame.flags.writeable = False
    assert torch.equal(a_model.preprocess(frame), expected)


def test_channels_come_last_in_memory(a_model: SurgSAM2Model, a_clip: np.ndarray) -> None:
    # convolutions read the strides, also that of a batch of one
    side = a_model.image_size
    assert a_model.preprocess(a_clip[0]).stride() == (3 * side**2, 1, 3 * side, 3)


# device, precision, pruning


@pytest.mark.parametrize(
    "device",
    ["gpu", "", "cuda:", "cuda:x", "cuda:77", "cpu:1:2", "meta", "xpu", "CPU", "cpu ", "cuda:-1"],
)
def test_devices_that_are_not_here(device: str) -> None:
    with pytest.raises(DeviceError) as caught:
        surgsam2.load_model("demo", device=device)
    message = str(caught.value)
    assert message.startswith(f"device {device!r} is not ")
    assert f"here: {', '.join(available_devices())}" in message
    assert "\n" not in message
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize("device", [None, 1.5, ["cpu"], torch.device("meta")])
def test_things_that_are_no_device(device: object) -> None:
    with pytest.raises(DeviceError, match="here: cpu"):
        resolve_device(device)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu() -> None:
    assert available_devices()[0] == "cpu"
    with pytest.raises(DeviceError, match="device 'cuda' is not available on this machine"):
        surgsam2.load_model("demo", device="cuda")
    if not torch.backends.mps.is_available():
        assert resolve_device("auto") == torch.device("cpu")


@pytest.mark.gpu
def test_with_a_gpu() -> None:
    assert resolve_device("auto").type == "cuda"
    model = surgsam2.load_model("demo", device="cuda:0")
    assert (model.device, model.dtype) == (torch.device("cuda:0"), torch.bfloat16)
    beyond = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(DeviceError, match="is not available"):
        surgsam2.load_model("demo", device=beyond)


def test_device_objects_and_precisions(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert resolve_device(cpu) == cpu
    monkeypatch.setattr(devices, "has_fast_bfloat16", lambda: True)
    assert resolve_dtype("auto", cpu) == torch.bfloat16
    assert resolve_dtype("auto", torch.device("mps")) == torch.float32
    monkeypatch.setattr(devices, "has_fast_bfloat16", lambda: False)
    assert resolve_dtype("auto", cpu) == torch.float32
    for native, chosen in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(devices, "_multiplies_bfloat16", lambda device, native=native: native)
        assert resolve_dtype("auto", cuda) == chosen
    assert resolve_dtype("float16", cpu) == resolve_dtype(torch.float16, cpu) == torch.float16


@pytest.mark.parametrize("dtype", ["float64", "half", "", None, 16, torch.float64, torch.int8])
def test_precisions_that_are_refused(dtype: object) -> None:
    with pytest.raises(InputError, match="dtype must be auto, float32, bfloat16, float16, got"):
        surgsam2.load_model("demo", device="cpu", dtype=dtype)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (EFP(), EFP("capped", 2)),
        (EFP("full-bank", 1), EFP("full-bank", 1)),
        ("capped", EFP("capped", 2)),
        ("full-bank", EFP("full-bank", 2)),
        ("off", EFP("off", 2)),
        (None, EFP("off", 2)),
        (EFP("capped", 5), EFP("capped", 5)),
        (EFP("off", 50), EFP("off", 50)),
    ],
)
def test_pruning(
    given: EFP | str | None, meant: EFP, demo_checkpoint: Path, small_config: Path
) -> None:
    model = surgsam2.load_model(
        demo_checkpoint, config=str(small_config), device="cpu", pruning=given
    )
    assert model.pruning == meant


@pytest.mark.parametrize("given", ["most", 3, True, ["off"], ""])
def test_pruning_that_is_refused(given: object) -> None:
    with pytest.raises(InputError, match="EFP form must be one of capped, full-bank, off, got"):
        surgsam2.load_model("demo", device="cpu", pruning=given)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["capped", "full-bank"])
def test_more_pruning_than_the_bank_holds(form: str) -> None:
    with pytest.raises(InputError, match="prune must be at most 5 for a bank of 7") as caught:
        surgsam2.load_model("demo", device="cpu", pruning=EFP(form, 6))  # type: ignore[arg-type]
    assert "got 6" in str(caught.value)


# running


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_on_the_cpu(
    dtype: str,
    demo_checkpoint: Path,
    small_config: Path,
    a_model: SurgSAM2Model,
    a_clip: np.ndarray,
) -> None:
    model = surgsam2.load_model(
        demo_checkpoint, config=str(small_config), device="cpu", dtype=dtype
    )
    assert all(p.dtype == torch.float32 for p in model.network.parameters())
    ours, full = logits(model, a_clip[:2]), logits(a_model, a_clip[:2])
    for one, other in zip(ours, full, strict=True):
        assert one.dtype == np.float32
        assert np.isfinite(one).all()
        assert not np.array_equal(one, other)
    # the first frame does not depend on what accumulates in memory
    assert ((ours[0] > 0) == (full[0] > 0)).mean() > 0.95


def test_two_trackers_in_two_threads_do_as_they_do_alone(
    a_model: SurgSAM2Model, a_clip: np.ndarray
) -> None:
    clips = [a_clip[:3], a_clip[5:2:-1]]
    alone = [logits(a_model, clip) for clip in clips]
    together: dict[int, list[np.ndarray]] = {}
    start = threading.Barrier(2)

    def work(which: int) -> None:
        start.wait()
        together[which] = logits(a_model, clips[which])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for which in range(2):
        for one, other in zip(together[which], alone[which], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "backend",
    [
        "eager",  # captures the graph and runs it without compiling
        pytest.param(
            "inductor",
            marks=[
                pytest.mark.nightly,  # a C++ compiler works for minutes; the graph is the same
                pytest.mark.skipif(
                    not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler"
                ),
            ],
        ),
    ],
)
def test_compiled(
    backend: str,
    demo_checkpoint: Path,
    small_config: Path,
    a_model: SurgSAM2Model,
    a_clip: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compile_module = torch.nn.Module.compile

    def with_backend(module: torch.nn.Module, **options: object) -> None:
        # compiling all parts would take minutes
        encoder = isinstance(module, ImageEncoder)
        compile_module(module, backend=backend if encoder else "eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", with_backend)
    torch.compiler.reset()
    model = surgsam2.load_model(
        demo_checkpoint, config=str(small_config), device="cpu", compile=True
    )
    assert model.network.image_encoder._compiled_call_impl is not None
    assert list(model.network.state_dict()) == list(a_model.network.state_dict())
    for one, other in zip(logits(model, a_clip[:2]), logits(a_model, a_clip[:2]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3, rtol=1e-3)


def test_compilations_are_bounded(
    demo_checkpoint: Path,
    small_config: Path,
    a_model: SurgSAM2Model,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After one object and several objects, others come and go without a compilation."""
    compiled: list[object] = []
    compile_module = torch.nn.Module.compile

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        compiled.append(graph)
        return graph.forward

    def with_backend(module: torch.nn.Module, **options: object) -> None:
        compile_module(module, backend=backend, **options)

    monkeypatch.setattr(torch.nn.Module, "compile", with_backend)
    torch.compiler.reset()
    model = surgsam2.load_model(
        demo_checkpoint, config=str(small_config), device="cpu", compile=True
    )
    frames = moving_picture(20, 96, 72)
    come = {0: [1], 3: [2, 3], 4: [4], 8: [5, 6, 7], 11: [8]}
    trackers = [Tracker(each, 96, 72) for each in (model, a_model)]
    for index, frame in enumerate(frames):
        prompts = PromptSet()
        for i in come.get(index, []):
            prompts.add(object_id=i, frame=index, mask=disc(96, 72, 10 * i, 36, 12))
        if index == 14:
            for each in trackers:
                each.remove_object(3)
                each.remove_object(1)
        if index == 7:
            seen = len(compiled)
        one, other = (each.step(frame, prompts if prompts.objects else None) for each in trackers)
        assert one.object_ids == other.object_ids
        np.testing.assert_allclose(one.logits, other.logits, atol=5e-3, rtol=1e-3)
    assert seen > 4
    assert len(compiled) == seen
