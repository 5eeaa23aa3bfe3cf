"""Evaluation of models, or of masks that already exist, on a dataset.

Each model, prompt setting and sequence is one pass. The masks of a frame are scored and
then dropped, so memory does not grow with the length of a video. Scoring runs between
frames, on all cores, and is not part of the measured time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from surgsam2.errors import DatasetError, InputError
from surgsam2.evaluation.environment import environment
from surgsam2.evaluation.metrics.returns import score_returns, summarize_returns
from surgsam2.evaluation.prompting import PROMPT_SETTINGS, PromptSetting, prompts_for
from surgsam2.evaluation.runs.baselines import BASELINES, run_baseline
from surgsam2.evaluation.runs.model import OVERLAPS, LoadedFacts, ModelSpec, run_model, titles
from surgsam2.evaluation.runs.names import numbered, path_names
from surgsam2.evaluation.runs.predictions import SizeMismatch, score_predictions
from surgsam2.evaluation.runs.tracking import Progress, score_tracking
from surgsam2.evaluation.share import ALONE, Share
from surgsam2.evaluation.truth.datasets import Truth, Values, open_truth
from surgsam2.evaluation.truth.problems import Problems
from surgsam2.evaluation.truth.protocols import COUNTING, Protocol, get_protocol, published_results
from surgsam2.evaluation.truth.returns import open_returns, parse_name
from surgsam2.evaluation.truth.sequences import Scan, scan

__all__ = ["ModelSpec", "evaluate", "evaluate_predictions", "prompts_for", "score_tracking"]


def evaluate(
    dataset: Path | str | None,
    *,
    protocol: str = "vos",
    split: str | None = None,
    sequences: list[str] | None = None,
    values: Values = "objects",
    prompts: Sequence[PromptSetting] = PROMPT_SETTINGS,
    models: Sequence[ModelSpec] = (ModelSpec(),),
    baselines: Sequence[str] = tuple(BASELINES),
    seed: int = 0,
    progress: Progress | None = None,
    share: Share = ALONE,
) -> dict[str, Any]:
    """Track every sequence with every model and prompt setting, and score the masks.

    Args:
        dataset: Folder in the layout of the protocol; None for ``returns``, whose sequences
            are generated.
        protocol: ``vos``, ``endovis17``, ``endovis18`` or ``returns``.
        split: Split of the protocol; None takes its default.
        sequences: Names of sequences, instead of a split.
        values: Whether the pixel values of label PNGs are objects or the protocol's classes.
        prompts: Prompt settings. Each is a run of its own per model.
        models: Models to run. Input sizes and forms of pruning are compared by several specs.
        baselines: Trivial baselines to run, of ``copy`` and ``flow``.
        seed: Seed of the points that are sampled from the truth.
        progress: Called after each group of frames.
        share: The runs that this process carries out, among several processes; each of them
            receives the record of all runs.

    Returns:
        The record of the evaluation, for `write_report`.

    Raises:
        DatasetError: The dataset cannot be used.
        InputError: A name or a value is unknown.
        SurgSAM2Error: A model cannot be loaded.
    """
    chosen = get_protocol(protocol)
    _check_baselines(baselines)
    problems = Problems()
    if (dataset is None) != (chosen.name == "returns"):
        need = "needs no dataset" if dataset is not None else "needs a dataset folder"
        raise InputError(f"protocol {chosen.name} {need}, got {dataset}")
    if dataset is None:
        dataset = Path("generated clips")
        truth = open_returns(split, sequences)
    else:
        dataset = Path(dataset)
        truth = open_truth(dataset, chosen, problems, split=split, only=sequences, values=values)
    scans = _scan_all(truth, problems, dataset)
    faults = problems.as_list()
    # With several models, each is loaded once first, so that a wrong name is found at once.
    facts = [LoadedFacts.of(spec.load()) for spec in models] if len(models) > 1 else []
    own = {}
    device = None
    for i, spec in enumerate(models):
        mine = {i * len(prompts) + k: setting for k, setting in enumerate(prompts)}
        mine = {number: setting for number, setting in mine.items() if share.has(number)}
        if not mine:
            continue
        model = spec.load()
        device = str(model.device)
        title = titles(models, facts or [LoadedFacts.of(model)])[i]
        for number, setting in mine.items():
            own[number] = run_model(
                spec, model, setting, scans, truth, title=title, seed=seed, progress=progress
            )
        del model
    for number, name in enumerate(baselines, len(models) * len(prompts)):
        if share.has(number):
            own[number] = run_baseline(name, scans, truth, progress=progress)
    runs = share.gather(own)
    if chosen.name == "returns":
        for run in runs:
            _add_returns(run)
    return _results(
        dataset,
        chosen,
        None if sequences else split or chosen.default_split,
        scans,
        runs,
        faults=faults,
        device=device,
        settings={
            "prompt settings": ", ".join(prompts),
            "seed of the points": seed,
        },
    )


def evaluate_predictions(
    predictions: Sequence[Path | str],
    ground_truth: Path | str,
    *,
    protocol: str = "vos",
    split: str | None = None,
    sequences: list[str] | None = None,
    values: Values = "objects",
    names: Sequence[str] = (),
    baselines: Sequence[str] = tuple(BASELINES),
    size_mismatch: SizeMismatch = "missing",
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score folders of label PNGs; no model is needed.

    The optical-flow baseline is left out where the truth has no images.

    Args:
        predictions: Folders to compare with each other.
        ground_truth: Folder of true label PNGs, or of a dataset.
        protocol: ``vos``, ``endovis17`` or ``endovis18``.
        split: Split of the protocol; None takes its default.
        sequences: Names of sequences, instead of a split.
        values: Whether the pixel values of label PNGs are objects or the protocol's classes.
        names: Names of the first folders in tables; the others are named after their paths.
        baselines: Trivial baselines to run, of ``copy`` and ``flow``.
        size_mismatch: How a prediction of another size than the truth counts.
        progress: Called after each frame.

    Returns:
        The record of the evaluation, for `write_report`.

    Raises:
        DatasetError: The truth or the predictions cannot be used.
        InputError: A name or a value is unknown.
    """
    ground_truth = Path(ground_truth)
    if len(names) > len(predictions):
        raise InputError(
            f"there are {len(predictions)} folders of predictions for {len(names)} names"
        )
    chosen = get_protocol(protocol)
    _check_baselines(baselines)
    problems = Problems()
    truth = open_truth(
        ground_truth,
        chosen,
        problems,
        split=split,
        only=sequences,
        values=values,
        labels_only=True,
    )
    scans = _scan_all(truth, problems, ground_truth)
    faults = problems.as_list()
    runs = []
    folder_names = path_names([str(folder) for folder in predictions])
    titles_of_folders = numbered([*names, *folder_names[len(names) :]])
    for folder, name in zip(predictions, titles_of_folders, strict=True):
        runs.append(
            score_predictions(
                Path(folder),
                scans,
                name=name,
                class_names=truth.class_names,
                size_mismatch=size_mismatch,
                progress=progress,
            )
        )
    without_images = [each.sequence.name for each in scans if each.sequence.open is None]
    for name in baselines:
        if without_images and BASELINES[name].needs_frames:
            faults.append(_left_out(BASELINES[name].name, without_images))
        else:
            runs.append(run_baseline(name, scans, truth, progress=progress))
    return _results(
        ground_truth,
        chosen,
        None if sequences else split or chosen.default_split,
        scans,
        runs,
        faults=faults,
        settings={
            "predictions of another size": "counted as missing"
            if size_mismatch == "missing"
            else "resized by nearest neighbour",
        },
    )


def _add_returns(run: dict[str, Any]) -> None:
    """Add to a run the scores of its objects' returns, by event and length of the absence."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for sequence in run["sequences"]:
        event, absence, _ = parse_name(sequence["name"])
        for item in sequence["objects"]:
            item["returns"] = score_returns(item)
            groups.setdefault((event, absence), []).extend(item["returns"])
    everything = [each for group in groups.values() for each in group]
    run["returns"] = {
        "overall": summarize_returns(everything),
        "groups": [
            {"event": event, "absence": absence, **summarize_returns(group)}
            for (event, absence), group in groups.items()
        ],
    }


def _left_out(baseline: str, sequences: Sequence[str]) -> dict[str, Any]:
    """Return the entry of a baseline without its images, in the form of `Problems.as_list`."""
    return {
        "kind": "baseline-left-out",
        "sequence": "",
        "message": f"baseline left out: no images of {', '.join(sequences)}",
        "counted": f'the report has no "{baseline}"',
        "frames": [],
    }


def _check_baselines(names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise InputError(f"baselines are {', '.join(BASELINES)}, got {', '.join(unknown)}")


def _scan_all(truth: Truth, problems: Problems, folder: Path) -> list[Scan]:
    scans = [scan(sequence, problems) for sequence in truth.sequences]
    scans = [each for each in scans if each.first_frames]
    if not scans:
        raise DatasetError(f"no object in any annotated frame of {folder}")
    return scans


def _results(
    folder: Path,
    protocol: Protocol,
    split: str | None,
    scans: Sequence[Scan],
    runs: list[dict[str, Any]],
    *,
    faults: list[dict[str, Any]],
    settings: dict[str, Any],
    device: str | None = None,
) -> dict[str, Any]:
    """Make the record of an evaluation. `faults` of the truth are added to every run."""
    prompted = any(run["kind"] == "model" for run in runs)
    for run in runs:
        run["problems"] = faults + run["problems"]
    sequences = ", ".join(each.sequence.name for each in scans)
    name = folder.absolute().name
    return {
        "version": 1,
        "title": f"Evaluation on {name}",
        "convention": protocol.convention,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "protocol": {
            "name": protocol.name,
            "title": protocol.title + (f", split {split}" if split else ""),
            "split": split,
            # The first sentence is about prompts.
            "counting": [*COUNTING, OVERLAPS] if prompted else list(COUNTING[1:]),
        },
        "dataset": {
            "name": name,
            "sequences": len(scans),
            "objects": sum(len(each.first_frames) for each in scans),
            "frames": sum(len(each.annotated) for each in scans),
        },
        "settings": {**settings, "sequences": sequences},
        "environment": environment(device),
        "runs": runs,
        "published": published_results(protocol.name, split),
    }
