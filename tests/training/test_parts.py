"""Freezing policy, optimizer, schedule, files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import BinaryIO

import pytest
import torch

from surgsam2.errors import CheckpointError, InputError
from surgsam2.model.builder import build_network
from surgsam2.model.configs import load_config
from surgsam2.model.network import SurgSAM2Network
from surgsam2.training.checkpoints import read_progress, save_atomically, save_weights
from surgsam2.training.config import FreezeConfig, OptimizerConfig
from surgsam2.training.freezing import apply_freezing, part_of, resolve_freezing
from surgsam2.training.optimizer import make_optimizer, rate_scale
from surgsam2.training.schedule import make_schedule, rate_at


@pytest.fixture(scope="module")
def a_network() -> SurgSAM2Network:
    return build_network(load_config("demo"), "demo", SurgSAM2Network)


def test_published_freezing(a_network: SurgSAM2Network) -> None:
    freezing = resolve_freezing(FreezeConfig(), "sam2.1-hiera-small-512")
    trained = apply_freezing(a_network, freezing)
    modules = {name.split(".")[0] for name in trained}
    assert modules == {
        "sam_mask_decoder", "memory_attention", "memory_encoder", "mask_downsample",
        "maskmem_tpos_enc", "no_mem_embed", "no_mem_pos_enc", "no_obj_ptr",
        "no_obj_embed_spatial", "obj_ptr_proj", "obj_ptr_tpos_proj",
    }  # fmt: skip
    everything = {name.split(".")[0] for name, _ in a_network.named_parameters()}
    assert everything - modules == {"image_encoder", "sam_prompt_encoder"}


def test_the_image_encoder_may_be_trained_too(a_network: SurgSAM2Network) -> None:
    trained = apply_freezing(a_network, FreezeConfig(image_encoder=False))
    assert {part_of(name) for name in trained} == {"image_encoder", "mask_decoder", "memory"}


def test_parts_of_parts_may_be_frozen_alone(a_network: SurgSAM2Network) -> None:
    config = FreezeConfig(image_encoder=False, trunk=True, memory_encoder=True)
    trained = apply_freezing(a_network, config)
    assert not [n for n in trained if n.startswith(("image_encoder.trunk.", "memory_encoder."))]
    assert {"image_encoder.neck.convs.0.conv.weight", "maskmem_tpos_enc"} <= set(trained)


def test_the_default_depends_on_the_network(tmp_path: Path) -> None:
    """The encoders of SAM 2 saw many videos."""
    default = FreezeConfig()
    for name in ("sam2-hiera-tiny-1024", "surgsam2-hiera-small-512", "configs/sam2.1_hiera_s.yaml"):
        assert resolve_freezing(default, name).image_encoder is True
    for name in ("demo", str(tmp_path / "network.yaml")):
        assert resolve_freezing(default, name).image_encoder is False
    assert resolve_freezing(FreezeConfig(image_encoder=True), "demo").image_encoder is True


def test_nothing_left_to_train(a_network: SurgSAM2Network) -> None:
    with pytest.raises(InputError, match="leaves nothing to train"):
        apply_freezing(a_network, FreezeConfig(True, True, True, True))


def test_no_decay_on_biases_and_norms_and_slower_rates_in_the_trunk(
    a_network: SurgSAM2Network,
) -> None:
    apply_freezing(a_network, FreezeConfig(image_encoder=False))
    optimizer = make_optimizer(a_network, OptimizerConfig())
    names = {id(p): name for name, p in a_network.named_parameters()}
    seen = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            seen[names[id(parameter)]] = (group["lr"], group["weight_decay"])
    assert seen["memory_encoder.out_proj.weight"] == (5e-5, 0.1)
    assert seen["memory_encoder.out_proj.bias"] == (5e-5, 0.0)
    assert seen["memory_attention.norm.weight"] == (5e-5, 0.0)
    # 8 blocks: the last has 0.9, the first 0.9 ** 8, the patch embedding 0.9 ** 9
    trunk = "image_encoder.trunk."
    assert seen[trunk + "blocks.7.attn.qkv.weight"] == pytest.approx((5e-5 * 0.9, 0.1))
    assert seen[trunk + "blocks.0.attn.qkv.bias"] == pytest.approx((5e-5 * 0.9**8, 0.0))
    assert seen[trunk + "patch_embed.proj.weight"] == pytest.approx((5e-5 * 0.9**9, 0.1))
    assert not any(name.startswith("sam_prompt_encoder") for name in seen)
    assert rate_scale(trunk + "pos_embed", 8, 0.9) == 1.0
    assert rate_scale("image_encoder.neck.convs.0.conv.weight", 8, 0.9) == 1.0


def test_rate_falls_along_a_cosine_to_a_tenth() -> None:
    config = OptimizerConfig()
    assert rate_at(0, 100, config) == 1.0
    assert rate_at(50, 100, config) == pytest.approx(0.55)
    assert rate_at(25, 100, config) == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4)))
    assert rate_at(100, 100, config) == pytest.approx(0.1)


def test_warmup_comes_first() -> None:
    config = OptimizerConfig(warmup=4)
    assert [rate_at(k, 104, config) for k in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rate_at(104, 104, config) == pytest.approx(0.1)


def test_schedule_moves_every_group() -> None:
    weights = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": [w], "lr": r} for w, r in zip(weights, (1.0, 0.5), strict=True)]
    optimizer = torch.optim.AdamW(groups)
    schedule = make_schedule(optimizer, 2, OptimizerConfig())
    for _ in range(2):
        optimizer.step()
        schedule.step()
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.1, 0.05])


def test_weights_are_flat_plain_and_half(a_network: SurgSAM2Network, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    save_weights(a_network, path, half=True)
    state = torch.load(path, weights_only=True)
    assert state.keys() == a_network.state_dict().keys()
    assert {t.dtype for t in state.values()} == {torch.float16}
    assert not any(t.requires_grad for t in state.values())
    assert path.stat().st_size < 12e6


def test_an_interrupted_save_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "progress.pt"
    save_atomically({"step": 1}, path)

    def break_off(content: object, file: BinaryIO) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", break_off)
    with pytest.raises(KeyboardInterrupt):
        save_atomically({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [b"not a checkpoint", b""])
def test_damaged_progress_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "progress.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"progress\.pt: cannot be read"):
        read_progress(path)


def test_progress_of_another_version_is_named(tmp_path: Path) -> None:
    """An earlier version kept the best score as a number."""
    path = tmp_path / "progress.pt"
    torch.save({"network": {}, "optimizer": {}, "step": 1, "best": 0.5, "best_epoch": 0}, path)
    with pytest.raises(CheckpointError, match=r"progress\.pt: was saved by another version"):
        read_progress(path)


def test_other_files_are_not_progress(tmp_path: Path) -> None:
    path = tmp_path / "progress.pt"
    torch.save({"model": {}}, path)
    with pytest.raises(CheckpointError, match="is not the saved progress of a training run"):
        read_progress(path)
