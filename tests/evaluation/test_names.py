"""Different runs have different names."""

from __future__ import annotations

from pathlib import Path

import pytest

from surgsam2.evaluation.runs.names import model_names, numbered, path_names, pruning_name


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("a/best.pt", "b/best.pt", "b/best.yaml", "a/x/masks/f", "b/x/masks/f"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/best.pt"], ["best"]),
        (["a/best.pt", "b/best.pt"], ["a/best", "b/best"]),
        (["b/best.pt", "b/best.yaml"], ["best.pt", "best.yaml"]),
        (["a/x/masks", "b/x/masks", "a/best.pt"], ["a/x/masks", "b/x/masks", "best"]),
        (["a/best.pt", "a/../a/best.pt"], ["best", "best"]),
    ],
)
def test_parent_folders_tell_paths_apart(files, paths, names):
    assert path_names([str(files / path) for path in paths]) == names


def test_names_of_known_models_stay_whole(files, monkeypatch):
    monkeypatch.chdir(files)
    assert path_names(["sam2.1-hiera-small-1024", "demo"]) == ["sam2.1-hiera-small-1024", "demo"]
    assert path_names(["."]) == [files.name]


def test_configuration_is_named_where_the_size_is_the_same():
    prunings = [pruning_name(form) for form in ("off", "off", "capped", "off")]
    names = model_names(["m"] * 4, ["c", "d", "c", "c"], [512] * 4, prunings)
    assert names == [
        "m, c, 512, EFP off",
        "m, d, 512, EFP off",
        "m, 512, EFP",
        "m, c, 512, EFP off (2)",
    ]


def test_numbers_are_the_last_resort():
    assert numbered(["a", "a", "a (2)", "a"]) == ["a", "a (3)", "a (2)", "a (4)"]
