"""The builder of networks agrees with hydra and refuses hostile configurations."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from sam2.modeling.sam2_base import SAM2Base
from torch import nn

import surgsam2
from surgsam2 import cli
from surgsam2.errors import CheckpointError, InputError
from surgsam2.export.bundle_folder import write_bundle, zip_bundle
from surgsam2.model import builder
from surgsam2.model.builder import NETWORK, PARTS, Part, build_network
from surgsam2.model.configs import Config, config_names, load_config
from surgsam2.model.network import SurgSAM2Network
from tests.model.helpers import changed, skeleton

TRUNK = "sam2.modeling.backbones.hieradet.Hiera"
TRUNKS = f"{TRUNK} or surgsam2.model.efficientnet.EfficientNetLite"


def refusal(config: Config) -> str:
    with pytest.raises(InputError) as caught:
        build_network(config, "own", SurgSAM2Network)
    message = str(caught.value)
    assert message.startswith("config 'own' does not describe a network: ")
    assert "\n" not in message
    assert len(message) < 600
    return message


def refusal_of_file(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        surgsam2.load_model("demo", config=str(path), device="cpu")
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < 600 + len(str(path))
    return message


# equality with hydra


@pytest.mark.parametrize("name", config_names())
def test_every_shipped_configuration_is_allowed(name: str) -> None:
    network = skeleton(load_config(name))
    assert type(network) is SurgSAM2Network


@pytest.mark.parametrize("name", ["demo", "sam2.1-hiera-tiny-512"])
def test_the_network_is_the_one_that_hydra_makes(name: str) -> None:
    """Parts, settings and the random weights of a seed equal those of hydra's network."""
    config = load_config(name)
    ours = build_network(config, name, SurgSAM2Network, seed=3)
    torch.manual_seed(3)
    theirs = instantiate(config, _convert_="all")
    assert str(ours) == str(theirs)
    weights = theirs.state_dict()
    assert list(ours.state_dict()) == list(weights)
    for key, tensor in ours.state_dict().items():
        assert torch.equal(tensor, weights[key]), key
    for one, other in zip(ours.modules(), theirs.modules(), strict=True):
        assert settings(one) == settings(other)


def settings(module: nn.Module) -> dict[str, Any]:
    """Return the plain attributes of a module."""
    plain = {key: value for key, value in vars(module).items() if key[0] != "_"}
    return {
        key: value
        for key, value in plain.items()
        if value is None or isinstance(value, bool | int | float | str | list | tuple | dict)
    }


def test_the_class_of_the_network_is_the_callers_choice() -> None:
    config = {**load_config("demo"), "_target_": "os.system"}
    assert type(skeleton(config, SAM2Base)) is SAM2Base


def test_building_leaves_the_random_state_and_the_configuration_alone() -> None:
    config = load_config("demo", 64)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    build_network(config, "demo", SurgSAM2Network)
    assert torch.equal(torch.rand(1), expected)
    assert config == load_config("demo", 64)


@pytest.mark.parametrize(
    "change",
    [
        {"image_encoder.trunk.weights_path": None},
        {"image_encoder.trunk.q_stride": [2, 2]},
        {"image_encoder.trunk.dim_mul": 2},
        {"image_encoder.trunk.drop_path_rate": 0.1},
        {"image_encoder.trunk.global_att_blocks": None},
        {"image_encoder.neck.fpn_top_down_levels": None},
        {"image_encoder.neck.fuse_type": "avg"},
        {"image_encoder.neck.position_encoding.warmup_cache": False},
        {"memory_attention.layer.activation": "gelu"},
        {"memory_encoder.fuser.layer.use_dwconv": False},
        {"max_cond_frames_in_attn": -1},
        {"sam_mask_decoder_extra_args": None},
        {"memory_temporal_stride_for_eval": 1, "non_overlap_masks_for_mem_enc": False},
        {"soft_no_obj_ptr": True, "fixed_no_obj_ptr": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_of_sam2_are_allowed(change: Config) -> None:
    config = load_config("demo", 64)
    for place, value in change.items():
        put(config, place, value)
    build_network(config, "own", SurgSAM2Network)


def test_plain_attention_is_allowed() -> None:
    config = load_config("demo", 64)
    attention = config["memory_attention"]["layer"]["self_attention"]
    for key in ("rope_theta", "feat_sizes"):
        del attention[key]
    attention["_target_"] = "sam2.modeling.sam.transformer.Attention"
    build_network(config, "own", SurgSAM2Network)


def put(config: Config, place: str, value: Any) -> None:
    *parents, key = place.split(".")
    for parent in parents:
        config = config[parent]
    config[key] = value


# foreign code and files

GADGETS = [
    "{_target_: pathlib.Path.touch, _args_: [{_target_: pathlib.Path, _args_: ['MARKER']}]}",
    "{_target_: logging.FileHandler, filename: 'MARKER'}",
    "{_target_: os.system, _args_: ['touch MARKER']}",
]
"""Functions that hydra would call; each makes a file in some version of hydra."""


def escaped(gadget: str) -> str:
    """A text to OmegaConf when it resolves a file, and a call when hydra resolves it again."""
    return f"\\${{oc.create:{gadget}}}"


def planted(place: str, text: str) -> Callable[[Config], None]:
    def plant(model: Config) -> None:
        trunk = model["image_encoder"]["trunk"]
        match place:
            case "trunk":
                model["image_encoder"]["trunk"] = text
            case "argument":
                trunk["embed_dim"] = text
            case "list":
                trunk["stages"] = [1, text, 4, 1]
            case "nested list":
                trunk["stages"] = [[[text]], 2, 4, 1]
            case "key":
                trunk[text] = 1
            case "target":
                trunk["_target_"] = text
            case "extra":
                model["sam_mask_decoder_extra_args"] = {"dynamic_multimask_via_stability": text}
            case "unused":
                model["unused"] = [{"deep": [text]}]

    return plant


PLACES = ["trunk", "argument", "list", "nested list", "key", "target", "extra", "unused"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("gadget", GADGETS)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_an_escaped_interpolation_runs_nothing(
    tmp_path: Path, small_config: Path, gadget: str, place: str, depth: int
) -> None:
    """An interpolation is refused without escape, escaped once and escaped twice."""
    marker = tmp_path / "marker"
    text = escaped(gadget.replace("MARKER", str(marker)))
    text = text[1:] if depth == 0 else "\\" * 2 * (depth - 1) + text
    path = changed(small_config, tmp_path, planted(place, text))
    assert "may not hold interpolations" in refusal_of_file(path)
    config = load_config("demo", 64)
    planted(place, text)(config)  # the builder checks also what was not read from a file
    refusal(config)
    assert not marker.exists()


def test_the_text_of_the_exploit_as_it_is_written(tmp_path: Path, small_config: Path) -> None:
    marker = tmp_path / "marker"
    gadget = GADGETS[0].replace("MARKER", str(marker))
    path = changed(small_config, tmp_path, lambda model: model.update(image_encoder="HERE"))
    text = path.read_text().replace("HERE", f'"\\\\${{oc.create:{gadget}}}"')
    path.write_text(text)
    assert "may not hold interpolations" in refusal_of_file(path)
    assert not marker.exists()


@pytest.fixture
def hostile_bundle(
    demo_weights: dict[str, torch.Tensor], small_config: Path, tmp_path: Path
) -> tuple[Path, Path]:
    """Return a bundle folder whose network file holds the exploit, and the file it would make."""
    marker, folder = tmp_path / "marker", tmp_path / "bundle"
    write_bundle(folder, demo_weights, str(small_config))
    text = escaped(GADGETS[0].replace("MARKER", str(marker)))
    path = changed(small_config, tmp_path, planted("trunk", text))
    shutil.copyfile(path, folder / "configs" / "network.yaml")
    return folder, marker


def test_a_hostile_bundle_folder(hostile_bundle: tuple[Path, Path], tmp_path: Path) -> None:
    folder, marker = hostile_bundle
    with pytest.raises(InputError, match="may not hold interpolations"):
        surgsam2.load_model(folder, device="cpu")
    packed = tmp_path / "bundle.zip"
    zip_bundle(folder, packed)
    shutil.unpack_archive(packed, tmp_path / "unpacked")
    with pytest.raises(InputError, match="may not hold interpolations"):
        surgsam2.load_model(next((tmp_path / "unpacked").iterdir()), device="cpu")
    with pytest.raises(CheckpointError):
        surgsam2.load_model(packed, device="cpu")
    assert not marker.exists()


@pytest.mark.parametrize("command", ["segment", "check", "bundle"])
def test_a_hostile_bundle_in_the_commands(
    hostile_bundle: tuple[Path, Path],
    tmp_path: Path,
    command: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, marker = hostile_bundle
    config = str(folder / "configs" / "network.yaml")
    weights = str(folder / "models" / "model.pt")
    out = str(tmp_path / "out")
    prompts = tmp_path / "p.json"
    objects = [{"id": 1, "prompts": [{"frame": 0, "points": [[8, 8, 1]]}]}]
    prompts.write_text(json.dumps({"version": 1, "objects": objects}))
    frames = tmp_path / "frames"
    frames.mkdir()
    from PIL import Image

    Image.new("RGB", (16, 16)).save(frames / "00000.png")
    arguments = {
        "segment": [
            "segment", str(frames), "--prompts", str(prompts), "--output", out,
            "--model", str(folder), "--device", "cpu",
        ],
        "check": ["segment", str(frames), "--prompts", str(prompts), "--output", out,
                  "--model", weights, "--config", config, "--device", "cpu"],
        "bundle": ["bundle", "--model", weights, "--config", config, "--output", out],
    }[command]  # fmt: skip
    assert cli.main(arguments) == 2
    assert "may not hold interpolations" in capsys.readouterr().err
    assert not marker.exists()
    assert not (tmp_path / "out" / "masks").exists()


TARGETS = [
    "os.system",
    "builtins.eval",
    "torch.load",
    "surgsam2.model.build.load_model",
    "sam2.build_sam.os.system",
    "sam2.modeling.sam2_base.torch.load",
    "sam2.modeling.sam2_base.SAM2Base",  # a network is not a part of a network
    "sam2.modeling.backbones.utils.PatchEmbed",
    "sam2.modeling.memory_attention.RoPEAttention",
    "sam2.modeling.backbones.image_encoder.FpnNeck",  # a part of another role
    "sam2.modeling.nowhere.Network",
    "",
    7,
    None,
    ["os.system"],
    {"_target_": TRUNK},
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("place", [part for part in NETWORK if isinstance(NETWORK[part], Part)])
def test_a_part_is_of_a_class_of_its_table(place: str, target: object) -> None:
    config = load_config("demo", 64)
    config.setdefault(place, {})["_target_"] = target
    own = "surgsam2.model." if place in ("mask_motion", "target_model") else "sam2.modeling."
    assert f"{place}._target_ must be {own}" in refusal(config)
    deep = load_config("demo", 64)
    deep["image_encoder"]["trunk"] = {"_target_": target, "_args_": ["touch marker"]}
    assert f"image_encoder.trunk._target_ must be {TRUNKS}, got" in refusal(deep)


@pytest.mark.parametrize("node", [TRUNK, 7, None, True, [], [TRUNK], 2001.5])
def test_a_part_is_a_table(node: object) -> None:
    config = load_config("demo", 64)
    config["image_encoder"]["trunk"] = node
    assert "image_encoder.trunk must be a table, got" in refusal(config)
    config = load_config("demo", 64)
    del config["image_encoder"]["trunk"]["_target_"]
    assert f"image_encoder.trunk._target_ must be {TRUNKS}, got None" in refusal(config)


@pytest.mark.parametrize("key", ["_partial_", "_args_", "_convert_", "_recursive_", "_mode_", "x"])
@pytest.mark.parametrize("place", ["", "image_encoder", "memory_attention.layer.self_attention"])
def test_other_arguments_are_refused(key: str, place: str) -> None:
    config = load_config("demo", 64)
    put(config, f"{place}.{key}".lstrip("."), True)
    assert f"{place or 'model'} has the key '{key}', which is no argument of" in refusal(config)


@pytest.mark.parametrize("key", [7, None, True, 1.5, "activation", "num_multimask_outputs"])
def test_other_keys_are_refused(key: object) -> None:
    config = load_config("demo", 64)
    config["sam_mask_decoder_extra_args"][key] = 1
    message = refusal(config)
    assert f"sam_mask_decoder_extra_args has the key {key!r}, which is no argument of" in message


def test_a_file_of_weights_is_not_opened(
    tmp_path: Path, small_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    monkeypatch.setattr("sam2.modeling.backbones.hieradet.g_pathmgr.open", opened.append)
    path = changed(
        small_config,
        tmp_path,
        lambda model: model["image_encoder"]["trunk"].update(weights_path="/etc/passwd"),
    )
    message = refusal_of_file(path)
    assert "image_encoder.trunk.weights_path must be null, got '/etc/passwd'" in message
    assert not opened


@pytest.mark.parametrize("kind", [kind for kinds in PARTS.values() for kind in kinds])
def test_no_argument_is_free_text(kind: type) -> None:
    """No value of any argument is a name, a path or a number without bounds."""
    arguments = next(kinds[kind] for kinds in PARTS.values() if kind in kinds)
    for name, argument in arguments.items():
        if isinstance(argument, builder.Value):
            for value in ("", "x", "/etc/passwd", "os.system", 10**9 + 1, -(10**9), 1e30,
                          float("nan"), float("inf"), [1] * 1001, {}, [[]], b"", ()):  # fmt: skip
                assert not argument.accepts(value), (name, value)


# sizes


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"image_encoder.trunk.embed_dim": 4096}, "image_encoder.trunk: "),
        ({"image_encoder.trunk.stages": [64, 64, 64, 64]}, ""),
        ({"image_encoder.trunk.dim_mul": 4, "image_encoder.trunk.embed_dim": 512}, ""),
        ({"memory_attention.layer.dim_feedforward": 16384,
          "memory_attention.layer.d_model": 4096}, "memory_attention.layer: "),
        ({"memory_attention.layer.dim_feedforward": 8192,
          "memory_attention.num_layers": 64}, "memory_attention: "),
        ({"memory_attention.layer.self_attention.embedding_dim": 1024,
          "memory_attention.layer.self_attention.feat_sizes": [128, 128]},
         "memory_attention: "),
        ({"memory_encoder.fuser.layer.dim": 4096,
          "memory_encoder.fuser.layer.use_dwconv": False}, "memory_encoder.fuser.layer: "),
        ({"memory_encoder.fuser.layer.dim": 512,
          "memory_encoder.fuser.num_layers": 64}, "memory_encoder.fuser: "),
    ],
)  # fmt: skip
def test_a_network_that_is_too_large(
    changes: Config, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large network is refused before its memory is allocated, 1.2 GB with the real limit."""
    most = 20_000_000
    monkeypatch.setattr(builder, "MOST_NUMBERS", most)
    config = load_config("demo", 64)
    for where, value in changes.items():
        put(config, where, value)
    before = peak()
    assert f"{place}the network's tensors would hold more than {most} numbers" in refusal(config)
    assert peak() - before < 4 * most + 300e6


def peak() -> float:
    """Return the peak of the resident memory of this process in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_the_limit_leaves_room_for_every_network_of_sam2() -> None:
    counted = []

    class Counting(builder._Budget):
        def __exit__(self, *reason: Any) -> None:
            counted.append(self._made)
            super().__exit__(*reason)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "_Budget", Counting)
        network = skeleton(load_config("sam2.1-hiera-large-1024"))
    parameters = sum(p.numel() for p in network.parameters())
    assert parameters <= counted[0] < 1.05 * parameters
    assert counted[0] < 0.8 * builder.MOST_NUMBERS


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("image_size", 100, "must be a multiple of 32 from 32 to 2048, got 100"),
        ("image_size", 0, "must be a multiple of 32"),
        ("image_size", 64.0, "must be a multiple of 32"),
        ("image_size", True, "must be a multiple of 32"),
        ("image_size", 2**40, "must be a multiple of 32"),
        ("num_maskmem", 1, "must be a whole number from 2 to 64, got 1"),
        ("num_maskmem", 10**12, "must be a whole number from 2 to 64"),
        ("max_obj_ptrs_in_encoder", 0, "must be a whole number from 2 to 1000, got 0"),
        ("max_cond_frames_in_attn", 1, "must be -1 or a whole number from 2 to 1000, got 1"),
        ("memory_temporal_stride_for_eval", 2, "must be 1, got 2"),
        ("non_overlap_masks_for_mem_enc", True, "must be false, got True"),
        ("image_encoder.trunk.stages", [1] * 9, "must be a list of 1 to 8 items"),
        ("image_encoder.trunk.stages", [], "must be a list of 1 to 8 items"),
        ("image_encoder.trunk.stages", [10**9], "must be a list of 1 to 8 items"),
        ("image_encoder.trunk.stages", (1, 2), "must be a list of 1 to 8 items"),
        ("image_encoder.trunk.drop_path_rate", float("nan"), "must be a number from 0 to 1"),
        ("image_encoder.neck.fpn_interp_model", "area", 'must be "nearest" or "bilinear" or'),
        ("image_encoder.neck.position_encoding.normalize", 1, "must be true or false, got 1"),
        ("memory_attention.layer.activation", "glu", 'must be "relu" or "gelu", got'),
        ("sam_mask_decoder_extra_args", 7, "must be a table, got 7"),
        ("sam_mask_decoder_extra_args", "", "must be a table, got ''"),
        ("num_frame_to_prune", 2, "left out, because it belongs to another program; give the "
         "number to EFP (--prune), got 2"),
    ],
)  # fmt: skip
def test_values_out_of_bounds(place: str, value: object, words: str) -> None:
    config = load_config("demo", 64)
    put(config, place, value)
    assert f"{place} must be {words.removeprefix('must be ')}" in refusal(config)


def test_the_target_model_needs_fine_features() -> None:
    config = load_config("lite")
    put(config, "use_high_res_features_in_sam", False)
    assert "target_model needs use_high_res_features_in_sam" in refusal(config)


def test_messages_stay_short() -> None:
    config = load_config("demo", 64)
    for value in ("\x1b[31m" + "x" * 10_000, [["y" * 100] * 100] * 100, int("9" * 4000)):
        config["image_size"] = value
        message = refusal(config)
        assert "\x1b" not in message
        assert len(message) < 400
    config["image_size"] = 64
    config["z" * 10_000] = 1
    assert len(refusal(config)) < 400


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.pop("memory_encoder"), "required positional argument: 'memory_encoder'"),
        (lambda m: m["image_encoder"]["trunk"].update(stages=[1]), "its arguments do not fit"),
        (lambda m: m["memory_encoder"]["mask_downsampler"].update(stride=1), "division by zero"),
        (lambda m: m["image_encoder"]["neck"].update(backbone_channel_list=[1]), "do not match"),
        (lambda m: m.update(image_encoder="???"), "image_encoder must be a table, got '???'"),
    ],
)  # fmt: skip
def test_a_config_of_no_network(change: Callable[[Config], Any], words: str) -> None:
    config = load_config("demo", 64)
    change(config)
    assert words in refusal(config)


def test_a_shortage_of_memory_does_not_blame_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("sam2.modeling.backbones.hieradet.PatchEmbed", fail)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        build_network(load_config("demo", 64), "demo", SurgSAM2Network)


def test_tables_of_positions_on_a_gpu_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """`PositionEmbeddingSine` computes tables in advance where a GPU is found."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "device", lambda *_: "cpu")
    monkeypatch.setattr(builder, "MOST_NUMBERS", 10_000_000)
    config = load_config("demo", 64)
    config["image_encoder"]["neck"]["position_encoding"].update(image_size=2048, strides=[8])
    assert "image_encoder.neck.position_encoding: the network's tensors" in refusal(config)


# configuration files


@pytest.mark.parametrize(
    "text",
    [
        "model: {image_encoder: 2001-99-99}",
        "2001-99-99: {}\nmodel: {image_size: 2001-12-14t21:59:43.10-05:00}",
        "model: {image_size: !!bool maybe}",
        "model: {image_size: !!int ''}",
        "model: {image_size: 0x_}",
        "model: {image_size: ._}",
        "model: {image_size: =}",
        "model: {<<: 7}",
        "model: {? [1, 2] : 3}",
        "model: {? {a: 1} : 3}",
        "model: {image_size: .nan, num_maskmem: .inf}",
        "model: {image_size: 1e999}",
        "model: {image_size: 190:20:30}",
        "--- {model: {}}\n--- {model: {}}",
        "model: " + "[" * 5000,
        "model: " + "[" * 5000 + "]" * 5000,
        "model: " + "{a: " * 500 + "}" * 500,
        "\n".join(" " * i + "model:" for i in range(400)),
        "model: &a [*a]",
        "model: &a {image_size: *a}",
        "model:\n  a0: &a0 [1, 2]\n"
        + "".join(f"  a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60)),
        "model: {image_size: 0x" + "f" * 20_000 + "}",
        "model: {image_size: " + "9" * 20_000 + "}",
        "model: {image_size: 1" + ":59" * 20_000 + "}",
        "model: {" + "x" * 20_000 + ": 1}",
        "model: {image_size: '" + "x" * 20_000 + "'}",
        "model: {image_size: 64}\n#" + "x" * 200_000,
        "model: [" + "1, " * 20_000 + "]",
    ],
    ids=range(28),
)
def test_crafted_files_are_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    refusal_of_file(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "own.yaml")
    assert "it is not a file" in refusal_of_file(tmp_path / "own.yaml")


def test_building_needs_no_hydra_and_evaluates_nothing(built_in_config: Path) -> None:
    """`hydra.utils.instantiate` is not called while a model is loaded."""
    code = (
        "import sys, hydra.utils, hydra._internal.instantiate._instantiate2 as i\n"
        "def fail(*a, **k): raise SystemExit('hydra instantiates')\n"
        "hydra.utils.instantiate = i.instantiate = i._resolve_target = fail\n"
        "import surgsam2\n"
        f"model = surgsam2.load_model('demo', config={str(built_in_config)!r}, device='cpu')\n"
        "from omegaconf import OmegaConf\n"
        "assert model.config.image_size == 128 and OmegaConf.is_dict(model.config)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
