"""The CPU backend against sam2's own modules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from surgsam2 import EFP
from surgsam2.model.builder import build_network
from surgsam2.model.configs import Config, load_config
from surgsam2.model.cpu import backend, hiera, image, matmul
from surgsam2.model.frame_data import Decoded, ImageFeatures, MemoryBatch
from surgsam2.model.network import SurgSAM2Network
from tests.model.helpers import sam2_modules

pytestmark = pytest.mark.skipif(
    not matmul.is_available(), reason="the CPU backend needs an x86 processor with AVX2"
)
needs_bfloat16 = pytest.mark.skipif(
    not matmul.is_available(torch.bfloat16), reason="bfloat16 products need AVX-512"
)
CLOSE = 1e-4
"""Largest difference, on features of about 4."""


def padded(config: Config) -> Config:
    """Windows that do not divide the feature maps, as in SAM 2 at 512 and 1024 pixels."""
    trunk = config["image_encoder"]["trunk"]
    trunk["window_spec"] = [8, 4, 14, 6]
    trunk["window_pos_embed_bkg_spatial_size"] = [7, 7]
    return config


def unchanged(config: Config) -> Config:
    return config


def single_mask(config: Config) -> Config:
    """As in some SAM 2 configurations: one mask while tracking, another where it is unstable."""
    config["multimask_output_for_tracking"] = False
    config["sam_mask_decoder_extra_args"] = {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    }
    return config


@pytest.fixture(scope="module", params=[unchanged, padded, single_mask])
def network(request: pytest.FixtureRequest) -> SurgSAM2Network:
    change_config: Callable[[Config], Config] = request.param
    return a_network(change_config)


def a_network(change_config: Callable[[Config], Config] = unchanged) -> SurgSAM2Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = change_config(load_config("demo"))
        network = build_network(config, "demo", SurgSAM2Network, seed=3).eval()
        for parameter in network.parameters():
            if parameter.ndim == 1:  # biases and scales that differ
                parameter.data += 0.1 * torch.randn_like(parameter)
    return network.requires_grad_(False)


def a_memory(network: SurgSAM2Network, objects: int, pointers: int = 5) -> MemoryBatch:
    generator = torch.Generator().manual_seed(5)
    side = network.image_size // 16
    maps = torch.randn(objects, 7, network.memory_channels, side, side, generator=generator)
    return MemoryBatch(
        maps=maps.bfloat16(),
        map_ages=torch.tensor([[0, 6, 5, 4, 3, 2, 1]] * objects),
        pointers=torch.randn(objects, pointers, network.hidden_dim, generator=generator),
        pointer_ages=torch.arange(1.0, pointers + 1).expand(objects, -1),
    )


def a_frame(
    network: SurgSAM2Network, objects: int = 2
) -> tuple[ImageFeatures, torch.Tensor, Decoded, torch.Tensor]:
    """Every step of one frame."""
    picture = torch.randn(
        1, 3, network.image_size, network.image_size, generator=torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        features = network.encode_image(picture)
        conditioned = network.attend(features, a_memory(network, objects), EFP(), 15)
        decoded = network.decode_tracked(features, conditioned)
        memory = network.encode_memory(features, decoded, prompted=False)
    return features, conditioned, decoded, memory


def assert_close(a: torch.Tensor, b: torch.Tensor, atol: float = CLOSE) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


def test_every_step_equals_sam2s(network: SurgSAM2Network) -> None:
    with sam2_modules():
        expected = a_frame(network)
    features, conditioned, decoded, memory = a_frame(network)
    assert features.size == expected[0].size
    assert_close(features.tokens, expected[0].tokens)
    assert_close(features.position, expected[0].position)
    for ours, theirs in zip(features.high_res, expected[0].high_res, strict=True):
        assert_close(ours, theirs)
    assert_close(conditioned, expected[1])
    for name, value in vars(decoded).items():
        assert_close(value, getattr(expected[2], name))
    # memories are rounded to bfloat16: a different last digit may round the other way
    assert_close(memory.float(), expected[3].float(), atol=0.02)


@needs_bfloat16
def test_bfloat16_is_as_close_to_float32_as_sam2s_autocast(network: SurgSAM2Network) -> None:
    expected = a_frame(network)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = a_frame(network)
        with torch.no_grad():
            assert isinstance(network.backend_for(ours[0].tokens), backend.CpuBackend)
        with sam2_modules():
            theirs = a_frame(network)

    def error(one: torch.Tensor, other: torch.Tensor) -> float:
        return float((one.float() - other.float()).norm() / other.float().norm())

    pairs = [
        (ours[0].tokens, theirs[0].tokens, expected[0].tokens),
        *zip(ours[0].high_res, theirs[0].high_res, expected[0].high_res, strict=True),
        (ours[1], theirs[1], expected[1]),
        (ours[2].low_res, theirs[2].low_res, expected[2].low_res),
        (ours[3], theirs[3], expected[3]),
    ]
    for our, their, exact in pairs:
        assert error(our, exact) < max(1.2 * error(their, exact), 0.01)
    for float32 in (ours[0].tokens, *ours[0].high_res, ours[1], *vars(ours[2]).values()):
        assert float32.dtype == torch.float32


def test_prompts_are_decoded_in_float32(network: SurgSAM2Network) -> None:
    features = a_frame(network)[0]
    points, labels = torch.tensor([[[40.0, 50.0]]]), torch.tensor([[1]], dtype=torch.int32)
    with torch.no_grad():
        expected = network.decode_points(features, points, labels)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            decoded = network.decode_points(features, points, labels)
    assert torch.equal(decoded.low_res, expected.low_res)
    assert torch.equal(decoded.pointers, expected.pointers)


def test_maps_in_strips(network: SurgSAM2Network, monkeypatch: pytest.MonkeyPatch) -> None:
    with sam2_modules():
        expected, *_ = a_frame(network)
    block, parts = hiera.apply_block, []

    def counted(*args: Any) -> torch.Tensor:
        parts.append(args)
        return block(*args)

    monkeypatch.setattr(hiera, "apply_block", counted)
    # five windows of the first stage: some are left over
    monkeypatch.setattr(hiera, "_STRIP_VALUES", 5 * 64 * 128)
    features, *_ = a_frame(network)
    assert len(parts) > 3 * len(network.image_encoder.trunk.blocks)
    assert_close(features.tokens, expected.tokens)
    for ours, theirs in zip(features.high_res, expected.high_res, strict=True):
        assert_close(ours, theirs)


def test_maps_smaller_than_a_window() -> None:
    network = build_network(load_config("demo", 64), "demo", SurgSAM2Network)
    network = network.eval().requires_grad_(False)
    picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        features = network.encode_image(picture)
        with sam2_modules():
            expected = network.encode_image(picture)
    assert_close(features.tokens, expected.tokens)


def test_it_is_really_used(network: SurgSAM2Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the comparison above would compare sam2 with itself."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("sam2's own module was called")

    modules = (
        network.image_encoder,
        network.memory_attention,
        network.sam_mask_decoder,
        network.memory_encoder,
    )
    for module in modules:
        monkeypatch.setattr(module, "forward", refuse)
    a_frame(network)
    for module in modules:
        with sam2_modules(), pytest.raises(AssertionError, match="own module"), torch.no_grad():
            module()


def test_a_guess_is_a_mask_prompt(network: SurgSAM2Network) -> None:
    features, conditioned, decoded, _ = a_frame(network)
    guess = 10 * torch.randn_like(decoded.low_res)
    with torch.no_grad():
        ours = backend.CpuBackend(network, torch.float32).decode_masks(
            features, conditioned, guess, multimask=False
        )
        theirs = network.predict_masks(features, conditioned, multimask=False, mask_inputs=guess)
    for name, value in vars(ours).items():
        assert_close(value, getattr(theirs, name))
    assert not torch.allclose(ours.low_res, decoded.low_res, atol=0.01)


def test_objects_do_not_touch_each_other(network: SurgSAM2Network) -> None:
    _, together, _, _ = a_frame(network, objects=3)
    _, alone, _, _ = a_frame(network, objects=1)
    memory = a_memory(network, 3)
    with torch.no_grad():
        features, *_ = a_frame(network, 1)
        tensors = {k: v[2:] for k, v in vars(memory).items() if isinstance(v, torch.Tensor)}
        last = replace(memory, **tensors)
        third = network.attend(features, last, EFP(), 15)
    assert together.shape[0] == 3
    assert alone.shape[0] == 1
    assert_close(together[2:], third)


def test_precision_follows_autocast_and_gradients_exclude_the_backend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    x = torch.zeros(1)
    assert backend.inference_precision(x) is None, "gradients are on"
    with torch.no_grad():
        assert backend.inference_precision(x) == torch.float32
        assert backend.inference_precision(x.half()) is None
        with torch.autocast("cpu", dtype=torch.bfloat16):
            for present, chosen in ((True, torch.bfloat16), (False, None)):
                monkeypatch.setattr(matmul, "has_bfloat16_products", lambda: present)  # noqa: B023
                assert backend.inference_precision(x) == chosen
            assert backend.inference_precision(x.bfloat16()) is None
        with torch.autocast("cpu", dtype=torch.float16):
            assert backend.inference_precision(x) is None


def test_objects_out_of_sight() -> None:
    """An absent object has SAM 2's mask and pointer for absent objects."""
    network = a_network()
    logits = a_frame(network)[2].presence_logits
    last = network.sam_mask_decoder.pred_obj_score_head.layers[-1]
    last.bias.data -= logits.mean()
    assert sorted((a_frame(network)[2].presence_logits > 0).flatten().tolist()) == [False, True]
    with sam2_modules():
        expected = a_frame(network)[2]
    decoded = a_frame(network)[2]
    for name, value in vars(decoded).items():
        assert_close(value, getattr(expected, name))
    assert (decoded.low_res == -1024).flatten(1).all(1).sum() == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"fixed_no_obj_ptr": False},
        {"soft_no_obj_ptr": True},
        {"use_high_res_features_in_sam": False},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_other_builds_of_the_decoder(settings: dict[str, bool]) -> None:
    """Other pointers of absent objects, which sam2's modules compute, and no finer maps."""

    def changed(config: Config) -> Config:
        config.update(settings)
        return config

    network = a_network(changed)
    decoded = a_frame(network)[2]
    with sam2_modules():
        expected = a_frame(network)[2]
    assert_close(decoded.pointers, expected.pointers)
    assert_close(decoded.low_res, expected.low_res)


def averaged(config: Config) -> Config:
    config["image_encoder"]["neck"]["fuse_type"] = "avg"
    return config


def convolutional(config: Config) -> Config:
    """The built-in model's network."""
    return load_config("lite")


@pytest.mark.parametrize(("change_config", "supported"), [(averaged, False), (convolutional, True)])
def test_encoders_of_other_builds(
    change_config: Callable[[Config], Config], supported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The built-in model's is computed by the CPU backend, others by their own module.

    The other steps are computed by the CPU backend, in both precisions.
    """
    network = a_network(change_config)
    assert image.supports(network.image_encoder, network.image_size) == supported
    with sam2_modules():
        expected = a_frame(network)
    with torch.autocast("cpu", torch.bfloat16), sam2_modules():
        rounded = a_frame(network)[0]
    for module in (network.memory_attention, network.sam_mask_decoder, network.memory_encoder):
        monkeypatch.setattr(module, "forward", None)
    ours = a_frame(network)
    assert_close(ours[0].tokens, expected[0].tokens)
    for got, wanted in zip(ours[0].high_res, expected[0].high_res, strict=True):
        assert_close(got, wanted)
    assert_close(ours[1], expected[1])
    assert_close(ours[2].low_res, expected[2].low_res)
    if matmul.is_available(torch.bfloat16):
        with torch.autocast("cpu", torch.bfloat16):
            features = a_frame(network)[0]
        assert features.tokens.dtype == torch.float32
        # sums in another order are rounded to other bfloat16 numbers, so both errors count
        ours_off, theirs_off = (
            (tokens.float() - expected[0].tokens).norm()
            for tokens in (features.tokens, rounded.tokens)
        )
        assert ours_off < 1.2 * theirs_off


def test_changed_weights_are_seen() -> None:
    network = a_network()
    before = a_frame(network)
    with torch.no_grad():
        network.sam_mask_decoder.conv_s0.weight.mul_(2)
        network.image_encoder.trunk.pos_embed.add_(1)
        network.memory_attention.layers[0].cross_attn_image.v_proj.weight.mul_(2)
    after = a_frame(network)
    with sam2_modules():
        expected = a_frame(network)
    assert (before[1] - after[1]).abs().max() > 100 * CLOSE
    assert_close(after[0].high_res[0], expected[0].high_res[0])
    assert_close(after[1], expected[1])


@pytest.mark.parametrize("fused", [True, False])
def test_weights_trained_after_the_first_frame_are_seen(fused: bool) -> None:
    """A fused optimizer leaves no trace in the version numbers of tensors."""
    network = a_network()
    a_frame(network)
    layer = network.sam_mask_decoder.conv_s0.requires_grad_(True)
    layer(torch.ones(1, layer.in_channels, 1, 1)).sum().backward()
    torch.optim.AdamW(layer.parameters(), lr=0.1, fused=fused).step()
    with sam2_modules():
        expected = a_frame(network)[0].high_res[0]
    assert_close(a_frame(network)[0].high_res[0], expected)


def test_weights_made_in_inference_mode() -> None:
    with torch.inference_mode():
        network = a_network()
    with sam2_modules():
        expected = a_frame(network)
    assert_close(a_frame(network)[1], expected[1])


@pytest.mark.parametrize("pointers", [0, 1, 15])
def test_any_number_of_pointers(pointers: int) -> None:
    network = a_network()
    features = a_frame(network)[0]
    memory = a_memory(network, 2, pointers)
    with torch.no_grad():
        with sam2_modules():
            expected = network.attend(features, memory, EFP(), 15)
        assert_close(network.attend(features, memory, EFP(), 15), expected)


def test_rotary_tables_left_on_another_device() -> None:
    """The tables are not buffers: they stay on a GPU when the network moves away."""
    network = a_network()
    expected = a_frame(network)[1]
    attn = network.memory_attention.layers[0].self_attn
    table = attn.freqs_cis
    asked: list[object] = []

    class Elsewhere(torch.Tensor):
        def to(self, device: object) -> torch.Tensor:  # type: ignore[override]
            asked.append(device)
            return table

    attn.freqs_cis = torch.zeros_like(table).as_subclass(Elsewhere)
    assert_close(a_frame(network)[1], expected)
    assert asked == [torch.device("cpu")]


def test_sam2s_modules_run_on_other_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    network = a_network()
    with sam2_modules():
        expected = a_frame(network)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert torch.equal(a_frame(network)[1], expected[1])
