"""A stage compares with its start, names bad clips and says how long it will take."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.engines import SupervisedTrainer
from monai.handlers import StatsHandler, from_engine
from PIL import Image

from surgsam2.data import VOSDataset
from surgsam2.data.sequence import FileSequence
from surgsam2.model.checkpoint import read_checkpoint
from surgsam2.training import threads
from surgsam2.training.checkpoints import read_progress
from surgsam2.training.config import SourceConfig
from surgsam2.training.reporting import duration, warn_of_shared_sequences
from surgsam2.training.run_folder import BEST, LAST, PROGRESS
from surgsam2.training.stage import DivergedError, StageTrainer
from tests.evaluation.conftest import write_vos_sequence

from .conftest import a_config, cpu
from .test_run_folder import history


@pytest.fixture
def validated(some_settings: dict[str, Any]) -> dict[str, Any]:
    validation = {"sources": some_settings["data"], "clips": 1, "frames": 3}
    return some_settings | {"validation": validation, "epochs": 1, "steps": 2}


def with_scores(
    run: StageTrainer, scores: list[float], monkeypatch: pytest.MonkeyPatch
) -> StageTrainer:
    """The validations of `run` give these values of J&F."""
    values = iter(scores)
    run.prepare()
    assert run.evaluator is not None
    monkeypatch.setattr(run.evaluator, "_process_function", lambda engine, item: {
        "j": [value := next(values)], "f": [value], "overlap": [0.0], "prompt": "mask",
    })  # fmt: skip
    return run


def test_training_that_harms_keeps_the_start(
    validated: dict[str, Any],
    demo_weights: dict[str, torch.Tensor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = StageTrainer(a_config(validated), tmp_path, cpu())
    with caplog.at_level(logging.WARNING):
        with_scores(run, [0.222, 0.137], monkeypatch).run()
    assert "J&F 0.137 is below the 0.222 of the weights that the run started from" in caplog.text
    assert "training did not improve J&F" in caplog.text
    best, last = read_checkpoint(tmp_path / BEST), read_checkpoint(tmp_path / LAST)
    assert all(torch.equal(best[name], demo_weights[name]) for name in best)
    assert any(not torch.equal(last[name], demo_weights[name]) for name in last)
    assert (history(tmp_path)[-1]["start_score"], history(tmp_path)[-1]["best"]) == (0.222, 0.222)


def test_training_that_helps_keeps_its_weights(
    validated: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = StageTrainer(a_config(validated), tmp_path, cpu())
    with caplog.at_level(logging.WARNING):
        with_scores(run, [0.222, 0.393], monkeypatch).run()
    assert "J&F" not in caplog.text
    best, last = read_checkpoint(tmp_path / BEST), read_checkpoint(tmp_path / LAST)
    assert all(torch.equal(best[name], last[name]) for name in best)


def test_an_undefined_loss_stops_with_the_names_of_its_clips(
    some_settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = StageTrainer(a_config(some_settings), tmp_path, cpu())
    forward = run._forward

    def undefined_in_step_1(clips: Any, step: int) -> Any:
        loss, terms = forward(clips, step)
        return (loss * float("nan") if step == 1 else loss), terms

    monkeypatch.setattr(run, "_forward", undefined_in_step_1)
    with pytest.raises(DivergedError, match=r"stage tiny, step 1: the loss is nan") as caught:
        run.run()
    (name,) = run.batches[1].names
    assert name in str(caught.value)
    assert name.startswith("5")  # the seed of a generated clip
    assert "frames" in name
    progress = read_progress(tmp_path / PROGRESS)
    assert progress["step"] == 1
    assert all(bool(t.isfinite().all()) for t in progress["network"].values())
    assert history(tmp_path)[-1]["clips"] == [name]


def test_shared_sequences_are_named(
    validated: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = StageTrainer(a_config(validated), tmp_path, cpu())
    with caplog.at_level(logging.WARNING):
        run.prepare()
    assert run.evaluator is not None
    (source,) = run.evaluator.sources
    assert "the validation uses sequences that are trained on" in caplog.text
    assert source[1][0].name in caplog.text


def test_a_copied_sequence_and_a_shared_patient_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy under another name is the same video; patients are what a pattern finds."""
    sides = [tmp_path / "train", tmp_path / "held"]
    for side, names in zip(sides, (["p1_a", "p2_a"], ["p2_b", "copy"]), strict=True):
        for sequence in names:
            write_vos_sequence(side, sequence, frames=2)
            first = side / "JPEGImages" / sequence / "00000.png"
            grey = {"p1_a": 50, "copy": 50, "p2_a": 60, "p2_b": 70}[sequence]
            Image.new("RGB", Image.open(first).size, (grey, grey, grey)).save(first)
    opened = [[(SourceConfig(path=str(s)), list(VOSDataset(s)))] for s in sides]
    monkeypatch.delattr(FileSequence, "read_frame")  # many frames take long to decode
    warn_of_shared_sequences("tiny", *opened, "^p[0-9]+")
    assert "trained on, so its scores say little about other videos: copy (p1_a in" in caplog.text
    assert "patients are on both sides" in caplog.text
    assert "other patients: p2" in caplog.text


def test_the_trainer_is_monais_and_takes_its_handlers(
    some_settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    some_settings |= {"epochs": 1, "steps": 1}
    handler = StatsHandler(
        tag_name="loss",
        output_transform=from_engine(["loss"], first=True),
        iteration_print_logger=lambda engine: noted.append(engine.state.output[0]["loss"]),
    )
    noted: list[float] = []
    run = StageTrainer(a_config(some_settings), tmp_path, cpu(), train_handlers=[handler])
    assert isinstance(run, SupervisedTrainer)
    with caplog.at_level(logging.INFO):
        run.run()
    assert len(noted) == 1
    assert "tiny 1/1, 0 s left, " in caplog.text


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_mixed_precision_on_the_cpu(
    dtype: str, some_settings: dict[str, Any], tmp_path: Path
) -> None:
    """Weights and gradients stay float32, and PyTorch's setting for sums is put back."""
    some_settings |= {"epochs": 1, "steps": 1, "dtype": dtype}
    run = StageTrainer(a_config(some_settings), tmp_path, cpu())
    short_sums = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed
    seen = set()
    run.network.sam_mask_decoder.output_hypernetworks_mlps[0].layers[0].register_forward_hook(
        lambda module, inputs, output: seen.add((output.dtype, short_sums()))
    )
    run.run()
    assert seen == {(getattr(torch, dtype), dtype == "bfloat16")}
    assert not short_sums()
    assert {t.dtype for t in read_checkpoint(tmp_path / LAST).values()} == {torch.float32}


@pytest.mark.parametrize(
    ("seconds", "text"), [(4, "4 s"), (95, "2 min"), (3600, "1 h 0 min"), (7505, "2 h 5 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("cost", "chosen"),
    [({4: 1.0, 2: 2.0}, 4), ({4: 3.0, 2: 2.0, 1: 2.5}, 2), ({4: 3.0, 2: 2.0, 1: 1.0}, 1)],
)
def test_the_fastest_number_of_threads(
    cost: dict[int, float], chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = [4]

    def seconds(step: Callable[[], object]) -> float:
        step()
        return cost[used[-1]]

    monkeypatch.setattr(threads, "_seconds", seconds)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    assert threads.use_fastest_threads(lambda: None) == chosen
    assert used[-1] == chosen
