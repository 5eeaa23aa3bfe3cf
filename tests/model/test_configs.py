"""Configurations: names, files of one's own, and agreement with the sam2 package."""

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
from surgsam2.model.configs import check_config, config_names, load_config
from surgsam2.model.network import SurgSAM2Network
from tests.model.helpers import skeleton

OFFICIAL = [
    f"{family}-hiera-{size}" for family in ("sam2", "sam2.1")
    for size in ("tiny", "small", "base-plus", "large")
]  # fmt: skip
PARAMETERS = {"tiny": 38.96, "small": 46.06, "base-plus": 80.85, "large": 224.45}  # 2.1, millions


def sam2_yaml(name: str) -> str:
    """The config name that sam2's own builder takes."""
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
    assert len(names) == len(set(names)) == 18
    assert names[:2] == ["demo", "surgsam2-hiera-small-512"]
    assert set(names[2:]) == {f"{name}-{size}" for name in OFFICIAL for size in (512, 1024)}


@pytest.mark.parametrize("name", config_names())
def test_every_name_makes_a_network(name: str) -> None:
    config = load_config(name)
    check_config(config)
    network = skeleton(config)
    assert type(network) is SurgSAM2Network
    assert isinstance(network, SAM2Base)
    assert network.num_maskmem == 7
    resolution = 384 if name == "demo" else int(name.rpartition("-")[2])
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
    """Against what `sam2.build_sam.build_sam2_video_predictor` composes."""
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
    assert theirs.pop("fill_hole_area") == 8  # here an option of the tracker
    side = resolution // 16
    theirs["image_size"] = resolution
    layer = theirs["memory_attention"]["layer"]
    layer["self_attention"]["feat_sizes"] = layer["cross_attention"]["feat_sizes"] = [side, side]
    ours = OmegaConf.to_container(load_config(f"{name}-{resolution}"))
    assert isinstance(ours, dict)
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
        if not OmegaConf.is_config(value) and key not in own:
            assert demo.get(key) == value, key
    assert (demo.multimask_max_pt_num, large.multimask_max_pt_num) == (0, 1)
    one_mask = {"dynamic_multimask_via_stability": False}
    assert demo.sam_mask_decoder_extra_args == {**large.sam_mask_decoder_extra_args, **one_mask}


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


# a file of one's own


def test_ones_own_file(small_config: Path) -> None:
    config = load_config(str(small_config))
    assert config.image_size == 128
    assert config._target_ == "surgsam2.model.network.SurgSAM2Network"
    assert config.binarize_mask_from_pts_for_mem_enc is True
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
    assert config.num_maskmem == 5
    assert config.binarize_mask_from_pts_for_mem_enc is False


def changed(source: Path, folder: Path, change: Any) -> Path:
    """A copy of a config file with its `model` node changed."""
    config = OmegaConf.load(source)
    change(config.model)
    path = folder / "own.yaml"
    OmegaConf.save(config, path)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: [1, 2", "the config cannot be read"),
        ("\tmodel:\n\t- x", "the config cannot be read"),
        ("model: !!python/object/apply:os.system ['true']", "the config cannot be read"),
        ("model:\n  a: ${nowhere}", "the config cannot be read"),
        ("model:\n  a: ${", "the config cannot be read"),
        ("model: {a: 1, a: 2}", "the config cannot be read"),
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


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "torch.load",
        "surgsam2.model.build.load_model",
        "sam2.build_sam.os.system",  # sam2's module, not sam2's function
        "sam2.modeling.sam2_base.torch.load",
        "sam2.modeling.sam2_utils.copy.deepcopy",
        "sam2.modeling.backbones.utils.nn.Linear",
        "sam2.modeling.sam2_utils.get_1d_sine_pe",  # not a class
        "sam2.modeling.memory_attention.RoPEAttention",  # defined elsewhere
        "sam2.modeling.nowhere.Network",
        "sam2.utils.transforms.SAM2Transforms",  # would import torchvision
        "sam2..modeling.sam2_base.SAM2Base",
        "sam2.modeling.",
        "",
        "${oc.env:TARGET}",
        7,
        None,
        ["os.system"],
    ],
)
@pytest.mark.parametrize("place", ["image_encoder", "image_encoder.trunk", "deep", "list"])
def test_other_code_is_refused_at_any_depth(
    tmp_path: Path,
    small_config: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: object,
    place: str,
) -> None:
    monkeypatch.setenv("TARGET", "os.system")
    trace = tmp_path / "trace"
    node = {"_target_": target, "_args_": [f"touch '{trace}'"]}

    def plant(model: DictConfig) -> None:
        if place == "deep":
            model.image_encoder.trunk.extra = {"a": {"b": {"c": node}}}
        elif place == "list":
            model.extra = [0, [[node]]]
        else:
            OmegaConf.update(model, f"{place}._target_", target)

    path = changed(small_config, tmp_path, plant)
    shown = "os.system" if target == "${oc.env:TARGET}" else target
    message = refusal(path)
    assert f"_target_ {shown!r} is refused" in message
    with pytest.raises(InputError, match="is refused"):
        surgsam2.load_model("demo", config=str(path), device="cpu")
    assert not trace.exists()


def test_the_models_own_target_is_replaced(tmp_path: Path, small_config: Path) -> None:
    trace = tmp_path / "trace"
    path = changed(
        small_config, tmp_path, lambda m: m.update(_target_="os.system", _args_=[f"touch {trace}"])
    )
    assert load_config(str(path))._target_ == "surgsam2.model.network.SurgSAM2Network"
    with pytest.raises(InputError, match="does not describe a network"):
        surgsam2.load_model("demo", config=str(path), device="cpu")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("memory_temporal_stride_for_eval", 2),
        ("non_overlap_masks_for_mem_enc", True),
        ("image_size", 100),
        ("image_size", 0),
        ("num_maskmem", 1),
        ("max_obj_ptrs_in_encoder", 0),
        ("max_cond_frames_in_attn", 1),
    ],
)
def test_settings_the_tracker_does_not_follow_are_refused(
    tmp_path: Path, small_config: Path, key: str, value: object
) -> None:
    path = changed(small_config, tmp_path, lambda m: m.update({key: value}))
    with pytest.raises(InputError, match=f"config setting {key} must be .*, got {value!r}"):
        surgsam2.load_model("demo", config=str(path), device="cpu")


def test_the_pruning_of_another_program_is_pointed_to_ours(
    tmp_path: Path, small_config: Path
) -> None:
    path = changed(small_config, tmp_path, lambda m: m.update(num_frame_to_prune=2))
    with pytest.raises(InputError, match=r"remove it and give the number to EFP \(--prune\)"):
        surgsam2.load_model("demo", config=str(path), device="cpu")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(unheard_of=1), "unheard_of"),
        (lambda m: m.pop("memory_encoder"), "memory_encoder"),
        (lambda m: m.update(image_encoder=7), "does not describe a network"),
        (lambda m: m.image_encoder.trunk.update(stages=[1]), "trunk"),
        (lambda m: m.update(image_encoder="???"), "image_encoder"),
    ],
)
def test_a_config_of_no_network(
    tmp_path: Path, small_config: Path, change: Any, words: str
) -> None:
    path = changed(small_config, tmp_path, change)
    with pytest.raises(InputError) as caught:
        surgsam2.load_model("demo", config=str(path), device="cpu")
    message = str(caught.value)
    assert "\n" not in message
    assert words in message
    assert "own.yaml" in message


def test_loading_leaves_the_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one = surgsam2.load_model("demo", device="cpu").network
    assert torch.equal(torch.rand(1), expected)
    two = surgsam2.load_model("demo", device="cpu").network
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b), "random weights are not the same every time"
