"""`train`: all stages of a recipe, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from surgsam2.errors import InputError
from surgsam2.export.bundle_folder import write_bundle
from surgsam2.model.checkpoint import infer_config, read_checkpoint
from surgsam2.storage.yaml_file import read_yaml
from surgsam2.training.checkpoints import flat_state, mean_state, save_atomically
from surgsam2.training.config import TrainConfig, load_recipe, merge
from surgsam2.training.distributed import Place, find_place, process_group, wait_for_all
from surgsam2.training.facts import training_facts
from surgsam2.training.run_folder import (
    BEST,
    BUNDLE,
    LAST,
    MEAN,
    MODEL,
    SETTINGS,
    Changes,
    check_settings,
    remove_run,
)
from surgsam2.training.stage import StageTrainer, Threads


def train(
    recipe: str,
    output: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    continue_with: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    device: str = "auto",
    threads: Threads = None,
) -> Path:
    """Run all stages of a recipe, or resume a run where it was interrupted.

    Args:
        recipe: a built-in recipe or a YAML file, see `load_recipe`.
        output: folder of the run. Each stage has a folder in it, with its settings, its history,
            its best and last weights, TensorBoard events and what resuming needs.
        overrides: settings that win over the recipe's.
        continue_with: settings that win over those too, and that may differ from the settings of
            the interrupted run in `output`. The history records the change.
        overwrite: whether to remove an earlier run in `output` first.
        device: `auto`, `cpu`, `cuda:0` or `mps`.
        threads: number of CPU threads; `auto` measures which is fastest (and takes that of the
            interrupted run when it resumes); None leaves PyTorch's.

    Returns:
        The trained model, `output`/model.pt, in half precision: the mean that the last stage
        ends in if it has `mean_with`, else its weights with the best J&F (without validation,
        the last ones). `output`/bundle is the same model as a MONAI bundle.

    Raises:
        InputError: a setting is wrong, or `output` holds a run with other settings.
        DatasetError: the data cannot be used.
        DivergedError: the loss is undefined.
        OutputError: a file cannot be written.
    """
    return run_recipe(
        load_stages(recipe, merge(overrides or {}, continue_with or {})),
        Path(output),
        find_place(device),
        overwrite=overwrite,
        continue_with=continue_with,
        threads=threads,
    )


def run_recipe(
    stages: Sequence[TrainConfig],
    root: Path,
    place: Place,
    *,
    overwrite: bool = False,
    continue_with: Mapping[str, Any] | None = None,
    threads: Threads = None,
    last: StageTrainer | None = None,
) -> Path:
    """Run the stages that are not finished yet, as `train`.

    Args:
        stages: the stages, with `continue_with` applied.
        root: folder of the run.
        place: this process among those of the run.
        overwrite: see `train`.
        continue_with: see `train`.
        threads: see `train`.
        last: trainer of the last stage; None makes one. It may have run before.

    Returns:
        The path of the model.
    """
    changes: dict[str, Changes] = {}
    again = last is not None and last.state.iteration > 0
    if overwrite and not again:
        if place.first:
            remove_run(root)
    else:
        changes = check_settings(root, stages, continue_with)
    with process_group(place):
        if overwrite:
            wait_for_all(place)
        weights = None
        for stage in stages:
            own = last if stage is stages[-1] else None
            if not (root / stage.name / LAST).is_file() or (own is not None and again):
                trainer = own or StageTrainer(stage, root / stage.name, place, weights=weights)
                if own is not None and weights is not None and not again:
                    own.start_from(weights)
                trainer.changes = changes.get(stage.name, {})
                trainer.threads = threads
                trainer.run_stage()
            weights = finish_stage(root, stage, stages, place)
        assert weights is not None
        return write_model(root, weights, place)


def load_stages(recipe: str, overrides: Mapping[str, Any]) -> list[TrainConfig]:
    """Read the stages of a recipe and check their names.

    Raises:
        InputError: as `load_recipe`; two stages have one name; `mean_with` names no earlier stage.
    """
    stages = load_recipe(recipe, overrides)
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names):
        raise InputError(f"{recipe}: stages need different names, got {', '.join(names)}")
    for number, stage in enumerate(stages):
        other = stage.mean_with.stage if stage.mean_with is not None else None
        if other is not None and other not in names[:number]:
            raise InputError(f"{recipe}: mean_with.stage {other!r} is no stage before {stage.name}")
    return stages


def finish_stage(
    root: Path, stage: TrainConfig, stages: Sequence[TrainConfig], place: Place
) -> Path:
    """Return the weights that a completed stage ends in, after writing its mean if it has one."""
    last = root / stage.name / LAST
    if stage.mean_with is None:
        return last
    other = next(s for s in stages if s.name == stage.mean_with.stage)
    earlier = root / other.name / (LAST if other.mean_with is None else MEAN)
    path = last.with_name(MEAN)
    if place.first:
        mean = mean_state(read_checkpoint(last), read_checkpoint(earlier), stage.mean_with.share)
        save_atomically(mean, path)
    wait_for_all(place)
    return path


def write_model(root: Path, weights: Path, place: Place) -> Path:
    """Write the model and its bundle from the weights that the last stage ended in.

    Returns:
        The path of the model.
    """
    best = weights.with_name(BEST)
    chosen = best if weights.name == LAST and best.is_file() else weights
    if place.first:
        state = flat_state(read_checkpoint(chosen), half=True)
        save_atomically(state, root / MODEL)
        settings = read_yaml(chosen.with_name(SETTINGS), "file of settings")
        network = settings["network"] or infer_config(state, chosen)
        facts = training_facts(chosen.parent)
        write_bundle(root / BUNDLE, state, network, settings["image_size"], facts)
    return root / MODEL
