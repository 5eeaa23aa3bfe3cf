"""The bundle's `evaluate.json`: the same options as the command, and none that is ignored."""

from __future__ import annotations

import json

import pytest

from surgsam2.errors import InputError
from surgsam2.evaluation.bundle import BundleEvaluation, check_overrides
from tests.conftest import REPOSITORY

CONFIG = REPOSITORY / "surgsam2" / "bundle" / "configs" / "evaluate.json"


def test_bundle_configuration_lists_what_the_evaluation_takes():
    config = json.loads(CONFIG.read_text())
    names = set(config["evaluator"]) - {"_target_"}
    assert all(config["evaluator"][name] == f"@{name}" for name in names)
    assert names <= set(config)
    defaults = {name: config[name] for name in names}
    evaluation = BundleEvaluation(**{**defaults, "dataset_dir": "d", "output_dir": "o"})
    same = BundleEvaluation("d", "o")
    assert vars(evaluation) == vars(same), "configuration and code have the same defaults"
    for name in ("dataset_dir", "output_dir"):
        with pytest.raises(InputError, match=f"--{name}"):
            BundleEvaluation(**{"dataset_dir": "d", "output_dir": "o", name: ""})


def test_bundle_refuses_unknown_names():
    check_overrides(CONFIG, ["run", "--prompts", "mask", "--evaluator::seed", "3", "--run_id=run"])
    with pytest.raises(InputError, match="no option --promts; there are baselines"):
        check_overrides(CONFIG, ["--promts", "mask"])
    with pytest.raises(InputError, match="bundle_root"):
        check_overrides(CONFIG.with_name("nothing.json"), [])


def test_bundle_runs_under_monai(a_vos_dataset, a_spec, tmp_path, monkeypatch):
    monai_bundle = pytest.importorskip("monai.bundle")
    pytest.importorskip("ignite")
    monkeypatch.chdir(tmp_path)
    monai_bundle.run(
        config_file=str(CONFIG),
        bundle_root=str(CONFIG.parents[1]),
        dataset_dir=str(a_vos_dataset),
        output_dir=str(tmp_path / "out"),
        model=a_spec.model,
        config=a_spec.config,
        prompts=("mask",),
        device="cpu",
    )
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["runs"][0]["prompts"] == "mask"
    assert (tmp_path / "out" / "report.html").is_file()
