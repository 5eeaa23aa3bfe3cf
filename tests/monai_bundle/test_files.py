"""The files of the bundle agree with MONAI's specification and with the library."""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft201909Validator
from monai.bundle import verify_metadata

from surgsam2.cluster.options import ListOptions
from surgsam2.commands import segment
from surgsam2.job import JobOptions
from surgsam2.job.options import VideoOptions
from surgsam2.model.build import load_model
from surgsam2.model.bundle import OWN
from surgsam2.model.options import ModelOptions
from surgsam2.monai_bundle.evaluation import BundleEvaluation
from surgsam2.monai_bundle.network import frame_network
from surgsam2.monai_bundle.segmentation import VideoJobs
from surgsam2.monai_bundle.training import RecipeTrainer, recipe_settings
from surgsam2.storage.options import Options
from surgsam2.tracking.options import TrackingOptions
from surgsam2.version import __version__
from tests.conftest import REPOSITORY
from tests.monai_bundle.conftest import CONFIGS

SCHEMA = Path(__file__).with_name("meta_schema.json")


def content(name: str) -> dict[str, Any]:
    return json.loads((CONFIGS / name).read_text(encoding="utf-8"))


def problems(metadata: dict[str, Any]) -> list[str]:
    validator = Draft201909Validator(json.loads(SCHEMA.read_text()))
    return [error.message for error in validator.iter_errors(metadata)]


def test_metadata_is_valid() -> None:
    assert problems(content("metadata.json")) == []
    verify_metadata(meta_file=str(CONFIGS / "metadata.json"), filepath=str(SCHEMA))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("task", None, "'task' is a required property"),
        ("version", 1, "1 is not of type 'string'"),
        ("network_data_format", {"inputs": {}}, "'outputs' is a required property"),
    ],
)
def test_wrong_metadata_is_found(key: str, value: Any, message: str, tmp_path: Path) -> None:
    metadata = content("metadata.json") | {key: value}
    if value is None:
        del metadata[key]
    assert message in problems(metadata)
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=re.escape(message)):
        verify_metadata(meta_file=str(path), filepath=str(SCHEMA))


def test_metadata_agrees_with_the_library() -> None:
    metadata = content("metadata.json")
    assert metadata["version"] == __version__
    assert metadata["version"] in metadata["changelog"]
    pins = dict(
        re.findall(r"^([\w-]+)==([\w.]+)", (REPOSITORY / "constraints.txt").read_text(), re.M)
    )
    packages = metadata["required_packages_version"]
    assert packages.pop("surgsam2") == __version__
    assert packages == {name: pins[name] for name in packages}
    assert metadata["monai_version"] == pins["monai"]
    assert metadata["pytorch_version"] == pins["torch"]
    side = load_model("demo", device="cpu").image_size
    (image,) = metadata["network_data_format"]["inputs"].values()
    (pred,) = metadata["network_data_format"]["outputs"].values()
    assert image["spatial_shape"] == pred["spatial_shape"] == [side, side]
    networks = [content(f"{name}.json")["network_def"] for name in ("inference", "train")]
    for network in networks:
        assert network.pop("_desc_")
        assert network["image_size"] == side
    assert networks[0] == networks[1]


def test_the_figures_are_those_of_the_card() -> None:
    card = (OWN / "docs" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]*) \|[^|]*\|[^|]*\| ([\d.]+) \|", card, re.M)
    figures = {f"J&F, {prompt}": float(value) for prompt, value in rows}
    metrics = content("metadata.json")["eval_metrics"]
    assert metrics == {name: figures[name] for name in metrics}
    assert len(metrics) == 3


def test_no_large_file_is_missing() -> None:
    """The weights that the configurations need are in the bundle, so there is nothing to fetch."""
    assert (OWN / "models" / "model.pt").is_file()
    assert not (OWN / "large_files.yml").exists()


def test_the_licence_is_the_projects() -> None:
    assert (OWN / "LICENSE").read_bytes() == (REPOSITORY / "LICENSE").read_bytes()


def test_inference_has_the_defaults_of_the_command() -> None:
    config = content("inference.json")
    parser = ArgumentParser()
    segment.add_parser(parser.add_subparsers())
    command = vars(parser.parse_args(["segment", "V", "--prompts", "P", "--output", "O"]))
    ours = {"bundle_root", "output_dir", "datalist", "dataset_dir", "correct"}
    objects = {"dataset", "inferer", "evaluator", "network_def", "imports", "initialize", "run"}
    objects |= {"preprocessing", "postprocessing", "_comment"}
    shared = set(config) - ours - objects
    # The default model of a bundle is its own, and its device is an object for MONAI's tools.
    for name in shared - {"video", "prompts", "model", "device"}:
        assert config[name] == command[name], name


def options_of(*groups: type[Options]) -> set[str]:
    return {option.name for group in groups for option in group.described()}


RUN_OPTIONS = options_of(ModelOptions, VideoOptions, JobOptions, ListOptions)
RUN_OPTIONS -= options_of(TrackingOptions)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dataset", set(signature(VideoJobs).parameters)),
        ("inferer", options_of(TrackingOptions)),
        ("evaluator", {"dataset", "inferer", "correct"} | RUN_OPTIONS),
        ("network_def", set(signature(frame_network).parameters)),
    ],
)
def test_inference_passes_on_all_that_its_objects_take(name: str, expected: set[str]) -> None:
    section = content("inference.json")[name]
    given = {key for key in section if not key.startswith("_")}
    assert given == expected
    if name in ("inferer", "evaluator"):
        assert all(section[key] == f"@{key}" for key in given)


def test_training_passes_on_all_that_its_objects_take() -> None:
    trainer = content("train.json")["train"]["trainer"]
    taken = {*signature(RecipeTrainer).parameters, *signature(recipe_settings).parameters}
    assert set(trainer) - {"_target_"} == taken - {"options"}


def test_evaluation_has_the_defaults_of_the_library() -> None:
    config = content("evaluate.json")
    names = set(config["evaluator"]) - {"_target_"}
    assert names == set(signature(BundleEvaluation).parameters)
    assert all(config["evaluator"][name] == f"@{name}" for name in names)
    defaults = {name: config[name] for name in names} | {"model": "demo", "device": "auto"}
    evaluation = BundleEvaluation(**{**defaults, "dataset_dir": "d", "output_dir": "o"})
    assert vars(evaluation) == vars(BundleEvaluation("d", "o"))
