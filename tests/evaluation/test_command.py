"""The command `surgsam2 evaluate`."""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import pytest

from surgsam2 import cli
from surgsam2.commands import evaluate as command
from surgsam2.errors import DatasetError, InputError, OutputError
from surgsam2.monai_bundle.evaluation import BundleEvaluation
from surgsam2.storage import atomic_file as atomic
from surgsam2.tracking import segment


def run_command(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["evaluate", *map(str, arguments)])
    return int(args.run(args))


def test_command_writes_results_and_prints_the_table(a_vos_dataset, a_spec, tmp_path, capsys):
    out = tmp_path / "out"
    assert run_command(
        a_vos_dataset, "--model", a_spec.model, "--config", a_spec.config, "--prompts", "mask",
        "--pruning", "capped,off", "--device", "cpu", "--output", out,
    ) == 0  # fmt: skip
    assert sorted(p.name for p in out.iterdir()) == ["report.html", "results.csv", "results.json"]
    results = json.loads((out / "results.json").read_text())
    assert [run["efp"] for run in results["runs"] if run["kind"] == "model"] == ["capped", "off"]
    text = capsys.readouterr().out
    assert "strong, 128, EFP off" in text
    assert "first mask copied" in text


def test_command_scores_predictions(a_truth, tmp_path, capsys):
    other = Path(shutil.copytree(a_truth, tmp_path / "other"))
    (other / "a" / "00001.png").unlink()
    assert run_command(
        "--predictions", a_truth, "--predictions", other, "--ground-truth", a_truth,
        "--name", "good", "--name", "bad", "--output", tmp_path / "out",
    ) == 0  # fmt: skip
    text = capsys.readouterr().out
    assert "good" in text
    assert "missing-frame" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a DATASET"),
        (["--predictions", "p"], "belong together"),
        (["d", "--predictions", "p", "--ground-truth", "g"], "leave out DATASET"),
        (["d", "--prompts", "2pt"], "2pt"),
        (["d", "--baselines", "kalman"], "copy, flow"),
        (["nowhere"], "not a folder"),
        (["d", "--name", "x", "--name", "y"], "2 --name for 1 models"),
        (["--predictions", ".", "--ground-truth", ".", "--baselines", "kalman"], "copy, flow"),
    ],
)
def test_command_refuses_with_one_line(tmp_path, arguments, message):
    with pytest.raises((InputError, DatasetError), match=message) as caught:
        run_command(*arguments, "--output", tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_unwritable_output_is_found_before_a_model_is_loaded(
    a_vos_dataset, a_spec, tmp_path, monkeypatch, capfd
):
    out = tmp_path / "file"
    out.write_text("")
    monkeypatch.setattr(type(a_spec), "load", lambda spec: pytest.fail("a model was loaded"))
    assert evaluate_by_command(a_vos_dataset, a_spec, out) == 2
    assert "cannot write" in capfd.readouterr().err
    with pytest.raises(OutputError, match="cannot write"):
        BundleEvaluation(str(a_vos_dataset), str(out / "sub"), model=a_spec.model).run()


@pytest.fixture
def an_interrupted_tracker(a_perfect_tracker, monkeypatch):
    """Replace `segment_video` by a tracker that Ctrl-C stops on its fourth frame."""
    track = segment.segment_video

    def stopped(*arguments, **options):
        for result in track(*arguments, **options):
            if result.frame_index == 3:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(segment, "segment_video", stopped)


def evaluate_by_command(dataset: Path, spec, out: Path) -> int:
    return cli.main(
        ["evaluate", str(dataset), "--model", spec.model, "--config", str(spec.config),
         "--prompts", "mask", "--device", "cpu", "--output", str(out)]
    )  # fmt: skip


def test_ctrl_c_while_tracking_writes_nothing(
    an_interrupted_tracker, a_vos_dataset, a_spec, tmp_path, capfd
):
    assert evaluate_by_command(a_vos_dataset, a_spec, tmp_path / "out") == 130
    assert capfd.readouterr().err.splitlines()[-1:] == ["surgsam2: stopped"]
    assert not (tmp_path / "out").exists()


def test_ctrl_c_while_writing_leaves_no_half_file(
    a_perfect_tracker, a_vos_dataset, a_spec, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.html").write_text("an older report")
    rename = atomic.os.replace

    def replace(source, target):
        if Path(target).name == "report.html":
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(atomic.os, "replace", replace)
    assert evaluate_by_command(a_vos_dataset, a_spec, out) == 130
    assert sorted(p.name for p in out.iterdir()) == ["report.html", "results.csv", "results.json"]
    json.loads((out / "results.json").read_text())
    assert (out / "report.html").read_text() == "an older report"
