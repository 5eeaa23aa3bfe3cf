"""Reading and refusing checkpoint files."""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save as to_safetensors
from safetensors.torch import save_file

import surgsam2
from surgsam2.errors import CheckpointError
from surgsam2.model.checkpoint import describe, infer_config, load_state, read_checkpoint
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network
from tests.model.helpers import skeleton

State = dict[str, torch.Tensor]
ROPE_TABLE = "memory_attention.layers.0.self_attn.freqs_cis"


def refusal(path: Path | str) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert isinstance(caught.value, ValueError)
    return message


def network_of(name: str) -> SurgSAM2Network:
    return skeleton(load_config(name))


def linear() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Linear(3, 2)


@pytest.fixture(scope="module")
def a_state() -> State:
    return linear().state_dict()


def misfit(network: torch.nn.Module, state: State, config_name: str = "some-config") -> str:
    with pytest.raises(CheckpointError) as caught:
        load_state(network, state, path="here.pt", config_name=config_name)
    message = str(caught.value)
    assert message.startswith("here.pt: ")
    assert "\n" not in message
    return message


# files that are read


@pytest.mark.parametrize("suffix", ["pt", "pth", "bin"])
@pytest.mark.parametrize(
    "wrap", [lambda s: {"model": s, "epoch": 3}, lambda s: s], ids=["model", "bare"]
)
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old form"])
def test_torch_files(
    tmp_path: Path, a_state: State, suffix: str, wrap: Callable[[State], object], zipped: bool
) -> None:
    path = tmp_path / f"weights.{suffix}"
    torch.save(wrap(a_state), path, _use_new_zipfile_serialization=zipped)
    assert_equal(read_checkpoint(path), a_state)


def test_safetensors(tmp_path: Path, a_state: State) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(a_state, path)
    assert_equal(read_checkpoint(str(path)), a_state)


def test_half_precision_weights_become_the_networks_own(tmp_path: Path, a_state: State) -> None:
    path = tmp_path / "half.pt"
    torch.save({k: v.half() for k, v in a_state.items()}, path)
    network = torch.nn.Linear(3, 2)
    load_state(network, read_checkpoint(path), path=path, config_name="some-config")
    assert network.weight.dtype == torch.float32
    torch.testing.assert_close(network.weight, a_state["weight"], atol=1e-3, rtol=0)


# files that are refused


class Intruder:
    """An object whose unpickling makes a file."""

    def __init__(self, trace: Path, how: str) -> None:
        self.trace, self.how = trace, how

    def __reduce__(self) -> tuple[object, ...]:
        if self.how == "system":
            return os.system, (f"touch '{self.trace}'",)
        if self.how == "eval":
            return eval, (f"open({str(self.trace)!r}, 'w').close()",)
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("how", ["system", "eval", "touch"])
@pytest.mark.parametrize("form", ["torch", "pickle", "pickle 2", "nested"])
def test_a_pickle_that_runs_code_is_refused_unrun(
    tmp_path: Path, a_state: State, how: str, form: str
) -> None:
    trace, path = tmp_path / "trace", tmp_path / "evil.pt"
    intruder = Intruder(trace, how)
    if form == "pickle":
        path.write_bytes(pickle.dumps(intruder))
    elif form == "pickle 2":
        path.write_bytes(pickle.dumps(intruder, protocol=2))
    else:
        torch.save({"model": a_state, "x": intruder} if form == "nested" else intruder, path)
    message = refusal(path)
    assert "holds more than tensors and loading it could run code" in message
    assert not trace.exists()
    pickle.loads(pickle.dumps(intruder))
    assert trace.exists(), "the intruder would have worked"


def test_a_whole_module_is_refused(tmp_path: Path) -> None:
    torch.save(linear(), tmp_path / "module.pt")
    assert "Ask its author for a plain state dict" in refusal(tmp_path / "module.pt")


def test_missing_folder_and_empty(tmp_path: Path) -> None:
    assert "no such checkpoint file" in refusal(tmp_path / "none.pt")
    assert "no such checkpoint file" in refusal("a\0b.pt")
    assert "cannot be opened (File name too long)" in refusal("x" * 300)
    assert "is a folder" in refusal(tmp_path)
    for name in ("empty.pt", "empty.safetensors"):
        (tmp_path / name).touch()
        assert "the file is empty" in refusal(tmp_path / name)


@pytest.mark.parametrize("suffix", ["pt", "pth"])
@pytest.mark.parametrize("text", ["these are not weights\n", "<!DOCTYPE html><html></html>", "{}"])
def test_a_text_named_as_a_checkpoint(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / f"weights.{suffix}"
    path.write_text(text)
    assert "not a PyTorch checkpoint, or a damaged one" in refusal(path)


def test_a_text_named_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_text("these are not weights\n")
    assert "not a readable safetensors file" in refusal(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_cut_short(tmp_path: Path, a_state: State, share: float, suffix: str) -> None:
    data = FORMS[f".{suffix}"]
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(data[: int(share * len(data))])
    refusal(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1, 2], "holds no state dict"),
        (torch.zeros(3), "holds no state dict"),
        ({}, "holds no state dict"),
        ({"model": {}}, "holds no state dict"),
        ({"model": 7}, "holds no state dict"),
        ({"epoch": 3, "w": torch.zeros(1)}, "entry 'epoch' is a int"),
        ({"model": {"w": torch.zeros(1), "note": "x"}}, "entry 'note' is a str"),
        ({"state_dict": {"w": torch.zeros(1)}}, "put it under 'model'"),
        ({1: torch.zeros(1)}, "not a state dict of tensors; entry 1"),
    ],
)
def test_files_without_a_state_dict(tmp_path: Path, content: object, words: str) -> None:
    path = tmp_path / "odd.pt"
    torch.save(content, path)
    assert words in refusal(path)


# networks that do not match


@pytest.mark.parametrize(
    "name",
    [
        f"{family}-hiera-{size}"
        for family in ("sam2", "sam2.1")
        for size in ("tiny", "small", "base-plus", "large")
    ],
)
def test_the_config_is_told_from_the_weights(name: str) -> None:
    state = network_of(f"{name}-1024").state_dict()
    assert infer_config(state, "x.pt") == f"{name}-512"
    assert describe(state) == f"a {name} network"


def test_the_demo_is_told_from_its_weights(demo_weights: State) -> None:
    assert infer_config(demo_weights, "x.pt") == "demo"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"w": torch.zeros(1)}, "1 tensors, no SAM 2 image encoder among them"),
        (
            {"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(64, 3, 7, 7)},
            "an image encoder of 64 channels and 0 blocks",
        ),
        (
            {"image_encoder.trunk.patch_embed.proj.weight": torch.tensor(0.0)},
            "no SAM 2 image encoder",
        ),
    ],
)
def test_an_unknown_network_needs_a_config(state: State, words: str) -> None:
    with pytest.raises(CheckpointError, match="not a known SAM 2 network") as caught:
        infer_config(state, "x.pt")
    assert words in str(caught.value)
    assert "name its config" in str(caught.value)


def test_another_size_or_version() -> None:
    tiny = network_of("sam2.1-hiera-tiny-512")
    small = network_of("sam2.1-hiera-small-512").state_dict()
    message = misfit(tiny, small, "sam2.1-hiera-tiny-512")
    assert "is a sam2.1-hiera-small network" in message
    assert "'sam2.1-hiera-tiny-512' is a sam2.1-hiera-tiny network" in message
    assert message.endswith("use the config sam2.1-hiera-small-512 or sam2.1-hiera-small-1024")
    older = network_of("sam2-hiera-tiny-512").state_dict()
    assert "is a sam2-hiera-tiny network" in misfit(tiny, older, "sam2.1-hiera-tiny-512")


def test_a_demo_checkpoint_in_a_large_network(demo_checkpoint: Path) -> None:
    state = read_checkpoint(demo_checkpoint)
    message = misfit(network_of("sam2-hiera-tiny-512"), state, "sam2-hiera-tiny-512")
    assert message.endswith("use the config demo")


@pytest.mark.parametrize("size", [512, 1024])
def test_rotary_tables_tell_the_resolution(size: int) -> None:
    """Tables of the right size are accepted and left out, because SAM 2 computes them."""

    class Rotary(torch.nn.Linear):
        image_size = size

    state = linear().state_dict()
    table = torch.zeros((size // 16) ** 2, 128, dtype=torch.complex64)
    network = Rotary(3, 2)
    load_state(network, {**state, ROPE_TABLE: table}, path="x.pt", config_name="c")
    assert_equal(network.state_dict(), state)
    other = 1536 - size
    wrong = torch.zeros((other // 16) ** 2, 128, dtype=torch.complex64)
    message = misfit(Rotary(3, 2), {**state, ROPE_TABLE: wrong}, f"sam2.1-hiera-tiny-{size}")
    assert f"{ROPE_TABLE} is for {other}x{other} pixels" in message
    assert f"'sam2.1-hiera-tiny-{size}' works at {size}x{size}" in message
    assert f"use the config for {other}" in message
    misfit(Rotary(3, 2), {**state, ROPE_TABLE: torch.tensor(1.0)})


def test_tensors_that_do_not_match_are_named() -> None:
    network = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(3)))
    state = network.state_dict()
    for name in ("0.weight", "0.bias", "1.weight", "1.bias"):
        del state[name]
    state |= {"extra": torch.zeros(1), "2.bias": torch.zeros(5)}
    message = misfit(network, state)
    assert "does not fit the config 'some-config'" in message
    assert "4 missing (0.bias, 0.weight, 1.bias, …)" in message
    assert "1 unexpected (extra)" in message
    assert "1 of another shape (2.bias is (5,), should be (2,))" in message


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("kind", ["sparse", "meta"])
def test_tensors_that_cannot_be_copied(kind: str) -> None:
    network = linear()
    weight = torch.zeros(2, 3)
    odd = weight.to_sparse_csr() if kind == "sparse" else weight.to("meta")
    assert "cannot be copied" in misfit(network, {"weight": odd, "bias": torch.zeros(2)})


def test_load_model_says_it_too(tmp_path: Path, demo_checkpoint: Path, small_config: Path) -> None:
    with pytest.raises(CheckpointError, match="use the config demo"):
        surgsam2.load_model(demo_checkpoint, config="sam2.1-hiera-tiny-512", device="cpu")
    torch.save(linear().state_dict(), tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="not a known SAM 2 network"):
        surgsam2.load_model(tmp_path / "other.pt", device="cpu")
    with pytest.raises(CheckpointError, match=r"1 unexpected|2 unexpected"):
        surgsam2.load_model(tmp_path / "other.pt", config=str(small_config), device="cpu")


# files with any content


def saved(**options: bool) -> bytes:
    file = io.BytesIO()
    torch.save({"model": linear().state_dict()}, file, **options)
    return file.getvalue()


FORMS = {
    ".pt": saved(),
    ".pth": saved(_use_new_zipfile_serialization=False),
    ".safetensors": to_safetensors(linear().state_dict()),
}


def attempt(action: Callable[[], object]) -> str | None:
    """Return the message of an action's CheckpointError, or None when it succeeds."""
    try:
        action()
    except CheckpointError as error:
        return str(error)
    return None


def read_or_refuse(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    states: list[State] = []
    message = attempt(lambda: states.append(read_checkpoint(path)))
    if message is not None:
        assert message.startswith(f"{path}: ")
        assert "\n" not in message
        return
    attempt(lambda: load_state(linear(), states[0], path=path, config_name="c"))
    assert attempt(lambda: infer_config(states[0], path)) is not None


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@settings(max_examples=150)
@given(data=st.binary(max_size=400), suffix=st.sampled_from(sorted(FORMS)))
def test_any_bytes_are_refused_in_words(scratch: Path, data: bytes, suffix: str) -> None:
    path = scratch / f"random{suffix}"
    path.write_bytes(data)
    refusal(path)


@settings(max_examples=400)
@given(
    suffix=st.sampled_from(sorted(FORMS)),
    flips=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=6
    ),
)
def test_any_damage_is_refused_in_words_or_harmless(
    scratch: Path, suffix: str, flips: list[tuple[float, int]]
) -> None:
    data = bytearray(FORMS[suffix])
    for where, bit in flips:
        data[int(where * len(data))] ^= 1 << bit
    read_or_refuse(scratch / f"damaged{suffix}", bytes(data))


def assert_equal(one: State, other: State) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=0, rtol=0)
