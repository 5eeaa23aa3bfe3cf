"""Configurations by name and from files agree with the sam2 package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose
from omegaconf import DictConfig, OmegaConf
from sam2.modeling.sam2_base import SAM2Base

import surgsam2
from surgsam2.errors import InputError
from surgsam2.model.configs import config_names, load_config
from surgsam2.model.network import SurgSAM2Network
from tests.model.helpers import changed, skeleton

OFFICIAL = [
    f"{family}-hiera-{size}" for family in ("sam2", "sam2.1")
    for size in ("tiny", "small", "base-plus", "large")
]  # fmt: skip
PARAMETERS = {"tiny": 38.96, "small": 46.06, "base-plus": 80.85, "large": 224.45}  # 2.1, millions


def sam2_yaml(name: str) -> str:
    """Return the config name that sam2's own builder takes."""
    family, _, size = name.partition("-hiera-")
    letter = {"tiny": "t", "small": "s", "base-plus": "b+", "large": "l"}[size]
    return f"configs/{family}/{family}_hiera_{letter}.yaml"


def refusal(name: str | Path) -> str:
    with pytest.raises(InputError) as caught:
        load_config(str(name))
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_names() -> None:
    names = config_names()
    assert len(names) == len(set(names)) == 19
    assert names[:3] == ["demo", "lite", "surgsam2-hiera-small-512"]
    assert set(names[3:]) == {f"{name}-{size}" for name in OFFICIAL for size in (512, 1024)}


@pytest.mark.parametrize("name", config_names())
def test_every_name_makes_a_network(name: str) -> None:
    config = load_config(name)
    network = skeleton(config)
    assert type(network) is SurgSAM2Network
    assert isinstance(network, SAM2Base)
    assert network.num_maskmem == 7
    resolution = 384 if name in ("demo", "lite") else int(name.rpartition("-")[2])
    assert network.image_size == resolution
    side = resolution // 16
    for layer in network.memory_attention.layers:
        for attention in (layer.self_attn, layer.cross_attn_image):
            assert len(attention.freqs_cis) == side**2, "rotary table of another resolution"
    assert all(p.is_meta for p in network.parameters())
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    if name.startswith("sam2.1"):
        size = name.split("-hiera-")[1].rpartition("-")[0]
        assert millions == pytest.approx(PARAMETERS[size], abs=0.05)
    if name == "demo":
        assert millions < 5


@pytest.mark.parametrize("name", OFFICIAL)
@pytest.mark.parametrize("resolution", [512, 1024])
def test_settings_are_those_of_sam2s_video_predictor(
    name: str, resolution: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings equal those that `sam2.build_sam.build_sam2_video_predictor` composes."""
    import sam2.build_sam

    composed: list[DictConfig] = []

    def stop(config: DictConfig, **_: Any) -> None:
        composed.append(config)
        raise InterruptedError

    monkeypatch.setattr(sam2.build_sam, "instantiate", stop)
    with pytest.raises(InterruptedError):
        sam2.build_sam.build_sam2_video_predictor(sam2_yaml(name), device="cpu")
    theirs = OmegaConf.to_container(composed[0])
    assert isinstance(theirs, dict)
    assert theirs.pop("_target_") == "sam2.sam2_video_predictor.SAM2VideoPredictor"
    assert theirs.pop("fill_hole_area") == 8  # the tracker has an option for it
    side = resolution // 16
    theirs["image_size"] = resolution
    layer = theirs["memory_attention"]["layer"]
    layer["self_attention"]["feat_sizes"] = layer["cross_attention"]["feat_sizes"] = [side, side]
    ours = load_config(f"{name}-{resolution}")
    assert ours.pop("_target_") == "surgsam2.model.network.SurgSAM2Network"
    assert ours == theirs


def test_at_1024_nothing_but_the_class_differs_from_the_file() -> None:
    base = compose(config_name=sam2_yaml("sam2.1-hiera-small")).model
    ours = load_config("sam2.1-hiera-small-1024")
    added = {"sam_mask_decoder_extra_args", "binarize_mask_from_pts_for_mem_enc"}
    assert set(ours) - set(base) == added
    assert all(ours[key] == base[key] for key in base if key != "_target_")


def test_the_published_setting_is_sam21_small_at_512() -> None:
    assert load_config("surgsam2-hiera-small-512") == load_config("sam2.1-hiera-small-512")


def test_the_built_in_model_has_the_same_settings_but_one_mask_for_a_click() -> None:
    demo, large = load_config("demo"), load_config("sam2.1-hiera-large-1024")
    own = ("image_size", "compile_image_encoder", "multimask_max_pt_num")
    for key, value in large.items():
        if not isinstance(value, dict) and key not in own:
            assert demo.get(key) == value, key
    assert (demo["multimask_max_pt_num"], large["multimask_max_pt_num"]) == (0, 1)
    extra = "sam_mask_decoder_extra_args"
    assert demo[extra] == {**large[extra], "dynamic_multimask_via_stability": False}


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("sam2.1-hiera-tny-512", "sam2.1-hiera-tiny-512"),
        ("sam2-hiera-small", "sam2-hiera-small-512"),
        ("surgsam2", "surgsam2-hiera-small-512"),
        ("sam2.1-hiera-large-2048", "sam2.1-hiera-large-1024"),
        ("Demo", "demo"),
        ("zzz", "demo"),
        ("", "demo"),
    ],
)
def test_an_unknown_name_gets_suggestions(name: str, suggestion: str) -> None:
    message = refusal(name)
    assert message.startswith(f"unknown config {name!r}; did you mean ")
    assert suggestion in message


def test_a_file_with_another_ending_is_no_configuration(tmp_path: Path) -> None:
    file = tmp_path / "network.json"
    file.write_text("{}")
    assert "a configuration file has the ending .yaml" in refusal(str(file))


# configuration files


def test_ones_own_file(small_config: Path) -> None:
    config = load_config(str(small_config))
    assert config["image_size"] == 128
    assert config["_target_"] == "surgsam2.model.network.SurgSAM2Network"
    assert config["binarize_mask_from_pts_for_mem_enc"] is True
    assert skeleton(config).image_size == 128


@pytest.mark.parametrize("size", ["t", "s", "b+", "l"])
def test_sam2s_own_files_can_be_given(size: str) -> None:
    import sam2

    path = Path(sam2.__path__[0]) / "configs" / "sam2.1" / f"sam2.1_hiera_{size}.yaml"
    names = {"t": "tiny", "s": "small", "b+": "base-plus", "l": "large"}
    assert load_config(str(path)) == load_config(f"sam2.1-hiera-{names[size]}-1024")


def test_ones_own_settings_come_before_the_interactive_ones(
    tmp_path: Path, small_config: Path
) -> None:
    own = {"num_maskmem": 5, "binarize_mask_from_pts_for_mem_enc": False}
    path = changed(small_config, tmp_path, lambda model: model.update(own))
    config = load_config(str(path))
    assert config["num_maskmem"] == 5
    assert config["binarize_mask_from_pts_for_mem_enc"] is False


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: [1, 2", "the config cannot be read"),
        ("\tmodel:\n\t- x", "the config cannot be read"),
        ("model: !!python/object/apply:os.system ['true']", "YAML tags are not accepted"),
        ("model: {a: !!timestamp 2001-99-99}", "YAML tags are not accepted"),
        ("model: {image_size: '${side}'}\nside: 64", "may not hold interpolations"),
        ("model:\n  a: ${", "may not hold interpolations"),
        ("model: {}\nelsewhere: [{a: '\\${oc.env:HOME}'}]", "may not hold interpolations"),
        ('model: {"\\x24{key}": 1}', "may not hold interpolations"),
        ("model: {a: 1, a: 2}", "a table has the same key twice"),
        ("", "needs a 'model' node"),
        ("just words", "needs a 'model' node"),
        ("- model", "needs a 'model' node"),
        ("model: 7", "needs a 'model' node"),
        ("models: {}", "needs a 'model' node"),
    ],
)
def test_files_that_are_no_config(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert words in message


def test_missing_and_binary_files(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.yaml")
    (tmp_path / "folder.yml").mkdir()
    assert "cannot be read" in refusal(tmp_path / "folder.yml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00\x80")
    assert "cannot be read" in refusal(tmp_path / "binary.yaml")


def test_loading_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one = surgsam2.load_model("demo", device="cpu").network
    assert torch.equal(torch.rand(1), expected)
    two = surgsam2.load_model("demo", device="cpu").network
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b), "random weights are not the same every time"
