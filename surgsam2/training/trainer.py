"""Training runs on MONAI's engines: `train` and the bundle's configurations come here."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from ignite.engine import Engine, Events
from ignite.metrics import Average
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import (
    LrScheduleHandler,
    TensorBoardStatsHandler,
    ValidationHandler,
)
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from surgsam2.data import Sequence
from surgsam2.errors import InputError, SurgSAM2Error
from surgsam2.export.bundle_folder import write_bundle
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.checkpoint import infer_config, read_checkpoint
from surgsam2.model.network import SurgSAM2Network
from surgsam2.model.pruning import EFP
from surgsam2.storage.atomic_file import writing
from surgsam2.training.batches import ClipBatches, batches_from, open_source
from surgsam2.training.checkpoints import (
    flat_state,
    mean_state,
    read_progress,
    save_atomically,
    save_weights,
)
from surgsam2.training.config import TrainConfig, load_recipe
from surgsam2.training.distributed import Place, processes
from surgsam2.training.freezing import apply_freezing
from surgsam2.training.learner import Learner
from surgsam2.training.optimizer import make_optimizer
from surgsam2.training.rollout import ClipBatch
from surgsam2.training.schedule import make_schedule
from surgsam2.training.start import start_network
from surgsam2.training.validation import score_sequence

logger = logging.getLogger(__name__)

PROGRESS, BEST, LAST, MEAN = "progress.pt", "best.pt", "last.pt", "mean.pt"
MODEL = "model.pt"
SETTINGS, BUNDLE = "settings.yaml", "bundle"
_MOST_BAD_STEPS = 20


class DivergedError(SurgSAM2Error, RuntimeError):
    """The loss stayed infinite or undefined."""


def train(
    recipe: str,
    output: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> Path:
    """Run all stages of a recipe; a run that was interrupted goes on where it stopped.

    Args:
        recipe: see `load_recipe`.
        output: folder of the run. Each stage has a folder in it, with its settings, its
            best and last weights, TensorBoard events and what resuming needs.
        overrides: settings that win over the recipe's.

    Returns:
        The trained model, `output`/model.pt, in half precision: the mean that the last stage
        ends in if it has `mean_with`, else its weights with the best J&F (without validation,
        the last ones). `output`/bundle is the same model as a MONAI bundle.
    """
    stages = load_recipe(recipe, overrides)
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names):
        raise InputError(f"{recipe}: stages need different names, got {', '.join(names)}")
    for number, stage in enumerate(stages):
        other = stage.mean_with.stage if stage.mean_with is not None else None
        if other is not None and other not in names[:number]:
            raise InputError(f"{recipe}: mean_with.stage {other!r} is no stage before {stage.name}")
    root = Path(output)
    weights: Path | None = None
    ends: dict[str, Path] = {}
    with processes(device) as place:
        for stage in stages:
            folder = root / stage.name
            if not (folder / LAST).is_file():
                run = TrainingRun(stage, folder, place, weights=weights)
                run.run()
            weights = folder / LAST
            if stage.mean_with is not None:
                weights, earlier = folder / MEAN, ends[stage.mean_with.stage]
                _write_mean(weights, folder / LAST, earlier, stage.mean_with.share, place)
            ends[stage.name] = weights
        assert weights is not None
        best = weights.with_name(BEST)
        chosen = best if weights.name == LAST and best.is_file() else weights
        if place.first:
            state = flat_state(read_checkpoint(chosen), half=True)
            save_atomically(state, root / MODEL)
            settings = yaml.safe_load((chosen.with_name(SETTINGS)).read_text(encoding="utf-8"))
            network = settings["network"] or infer_config(state, chosen)
            write_bundle(root / BUNDLE, state, network, settings["image_size"])
    return root / MODEL


def _write_mean(path: Path, last: Path, earlier: Path, share: float, place: Place) -> None:
    if place.first:
        save_atomically(mean_state(read_checkpoint(last), read_checkpoint(earlier), share), path)
    if place.world > 1:
        torch.distributed.barrier()


class TrainingRun:
    """One stage: MONAI's trainer and evaluator with their handlers.

    Steps do not depend on the state of any random generator: batch, prompts and dropout of
    step k follow from the seed and k. So a resumed run does what an uninterrupted one does.

    Args:
        folder: of this stage; continued from when it holds the progress of an earlier run.
        place: device and rank.
        weights: to start from instead of those that `config` names.
    """

    def __init__(
        self, config: TrainConfig, folder: Path, place: Place, *, weights: Path | None = None
    ) -> None:
        self.config = config
        self.folder = folder
        self._place = place
        if not config.data:
            raise InputError("data is empty: name at least one source to train on")
        sources = [(source, open_source(source)) for source in config.data]
        network, resolved, name = start_network(config, weights)
        self._settings = replace(config, network=name, image_size=int(resolved.image_size))
        self.network: SurgSAM2Network = network.to(place.device)
        trained = apply_freezing(self.network, config.freeze)
        size = int(self.network.image_size)
        self._batches = ClipBatches(
            sources, config.augment, size, config.seed, place.rank, place.world
        )
        epoch_length = config.steps or self._batches.steps_per_epoch
        self.steps = config.epochs * epoch_length
        self.optimizer = make_optimizer(self.network, config.optimizer)
        self.schedule = make_schedule(self.optimizer, self.steps, config.optimizer)
        self._learner: nn.Module = Learner(self.network, config)
        if place.world > 1:
            # which parts a step uses depends on its prompts
            self._learner = DistributedDataParallel(
                self._learner,
                device_ids=[place.device.index] if place.device.type == "cuda" else None,
                find_unused_parameters=True,
            )
        self._bad_steps = 0
        self.evaluator = self._make_evaluator(resolved, name)
        self.trainer = SupervisedTrainer(
            device=place.device,
            max_epochs=config.epochs,
            train_data_loader=_Stream(self),
            epoch_length=epoch_length,
            network=self._learner,
            optimizer=self.optimizer,
            loss_function=_no_loss,
            iteration_update=self._update,
            decollate=False,
        )
        self._attach_handlers()
        logger.info(
            "stage %s: %d steps, %d of %d parameter tensors trained",
            config.name, self.steps, len(trained), sum(1 for _ in self.network.parameters()),
        )  # fmt: skip

    def run(self) -> None:
        """Train to the end, from the progress in the folder if there is some."""
        progress = self.folder / PROGRESS
        if self._place.first:
            with writing(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            settings = yaml.safe_dump(_plain(asdict(self._settings)), sort_keys=False)
            (self.folder / SETTINGS).write_text(settings, encoding="utf-8")
        if progress.is_file():
            self._resume(progress)
        if self.trainer.state.iteration < self.steps:
            self.trainer.run()
        if self._place.first:
            save_weights(self.network, self.folder / LAST)
            progress.unlink(missing_ok=True)
        if self._place.world > 1:
            torch.distributed.barrier()

    def _resume(self, path: Path) -> None:
        progress = read_progress(path)
        self.network.load_state_dict(progress["network"])
        self.optimizer.load_state_dict(progress["optimizer"])
        self.schedule.load_state_dict(progress["schedule"])
        state = self.trainer.state
        state.iteration = progress["step"]
        state.epoch = progress["step"] // state.epoch_length
        if self.evaluator is not None:
            self.evaluator.state.best_metric = progress["best"]
            self.evaluator.state.best_metric_epoch = progress["best_epoch"]
        logger.info("%s: going on after step %d of %d", path, state.iteration, self.steps)

    def _save_progress(self, engine: Engine) -> None:
        best = self.evaluator.state if self.evaluator is not None else None
        save_atomically(
            {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "schedule": self.schedule.state_dict(),
                "step": engine.state.iteration,
                "best": float(best.best_metric) if best is not None else -1.0,
                "best_epoch": int(best.best_metric_epoch) if best is not None else -1,
            },
            self.folder / PROGRESS,
        )

    def _update(self, engine: Any, clips: ClipBatch) -> dict[str, float]:
        step = engine.state.iteration - 1
        config, place = self.config, self._place
        rng = np.random.default_rng((config.seed, step, place.rank, 5))
        torch.manual_seed(_seed_of(config.seed, step, place.rank))
        self._learner.train()
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss, terms = self._learner(clips.to(place.device), rng)
        output: dict[str, float] = {name: float(value) for name, value in terms.items()}
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._trained(), config.optimizer.clip)
        output["gradient_norm"] = float(norm)
        self._step_if_finite(step)
        output["loss"] = float(loss.detach())
        output["lr"] = float(self.schedule.get_last_lr()[0])
        return output

    def _step_if_finite(self, step: int) -> None:
        # the same decision on every process: gradients are summed over all of them
        finite = all(bool(p.grad.isfinite().all()) for p in self._trained() if p.grad is not None)
        if finite:
            self.optimizer.step()
            self._bad_steps = 0
            return
        self._bad_steps += 1
        logger.warning("step %d: gradient is not finite, left out", step)
        if self._bad_steps >= _MOST_BAD_STEPS:
            raise DivergedError(
                f"no finite gradient in {_MOST_BAD_STEPS} steps; lower optimizer.lr and go on "
                f"from the last good weights"
            )

    def _trained(self) -> list[nn.Parameter]:
        return [p for p in self.network.parameters() if p.requires_grad]

    @property
    def _dtype(self) -> torch.dtype:
        if self.config.dtype == "auto":
            return torch.bfloat16 if self._place.device.type == "cuda" else torch.float32
        return torch.bfloat16 if self.config.dtype == "bfloat16" else torch.float32

    def _autocast(self) -> torch.autocast:
        enabled = self._dtype != torch.float32
        return torch.autocast(self._place.device.type, dtype=torch.bfloat16, enabled=enabled)

    def _make_evaluator(self, resolved: Any, name: str) -> SupervisedEvaluator | None:
        config = self.config.validation
        clips = [
            (sequence, prompt)
            for source in config.sources
            for sequence in open_source(source)[: config.clips]
            for prompt in config.prompts
        ]
        if not clips:
            return None
        device = self._place.device
        model = SurgSAM2Model(name, self.network, resolved, device, self._dtype, EFP(), None)

        def score(engine: Engine, item: list[tuple[Sequence, str]]) -> dict[str, Any]:
            self.network.eval()
            ((sequence, prompt),) = item
            scores = score_sequence(model, sequence, prompt, config.frames)
            if scores is None:
                return {"j": [], "f": [], "overlap": [], "prompt": prompt}
            n = scores.objects
            return {
                "j": [scores.j] * n,
                "f": [scores.f] * n,
                "overlap": [scores.overlap] * n,
                "prompt": prompt,
            }

        def mean_of(*keys: str, prompt: str | None = None) -> Average:
            def take(output: dict[str, Any]) -> torch.Tensor:
                wanted = prompt in (None, output["prompt"])
                values = [v for key in keys for v in output[key]] if wanted else []
                return torch.tensor(values, dtype=torch.float64)

            return _MeanOfAll(output_transform=take)

        return SupervisedEvaluator(
            device=device,
            val_data_loader=[[clip] for clip in clips],
            network=self.network,
            epoch_length=len(clips),
            iteration_update=score,
            key_val_metric={"J&F": mean_of("j", "f")},
            additional_metrics={
                **{f"J {p}": mean_of("j", prompt=p) for p in config.prompts},
                "overlap of objects": mean_of("overlap"),
            },
            decollate=False,
        )

    def _attach_handlers(self) -> None:
        config = self.config
        LrScheduleHandler(
            self.schedule,  # type: ignore[arg-type]
            print_lr=False,
            epoch_level=False,
        ).attach(self.trainer)
        if self.evaluator is not None:
            ValidationHandler(config.validation.every, self.evaluator).attach(self.trainer)
        if not self._place.first:
            return
        if self.evaluator is not None:
            self.evaluator.add_event_handler(Events.COMPLETED, self._keep_if_best)
            self._log_to_tensorboard(self.evaluator, iterations=False)
            self.evaluator.add_event_handler(Events.COMPLETED, self._log_validation)
        self.trainer.add_event_handler(
            Events.ITERATION_COMPLETED(every=config.save_every), self._save_progress
        )
        self.trainer.add_event_handler(Events.EPOCH_COMPLETED, self._save_progress)
        self.trainer.add_event_handler(
            Events.ITERATION_COMPLETED(every=config.log_every), self._log
        )
        self._log_to_tensorboard(self.trainer, iterations=True)

    def _log_to_tensorboard(self, engine: Engine, *, iterations: bool) -> None:
        try:
            handler = TensorBoardStatsHandler(
                log_dir=str(self.folder / "tensorboard"),
                iteration_log=self.config.log_every if iterations else False,
                epoch_log=not iterations,
                output_transform=lambda output: output if iterations else None,
                global_epoch_transform=lambda _: self.trainer.state.epoch,
            )
        except Exception as error:  # MONAI's own type for a package that is not there
            logger.warning("no TensorBoard events: %s", error)
            return
        handler.attach(engine)

    def _log(self, engine: Engine) -> None:
        output = engine.state.output
        assert isinstance(output, dict)
        numbers = " ".join(f"{k} {v:.4g}" for k, v in output.items())
        logger.info("%s %d/%d %s", self.config.name, engine.state.iteration, self.steps, numbers)

    def _log_validation(self, engine: Engine) -> None:
        epoch = self.trainer.state.epoch
        numbers = " ".join(f"{k} {float(v):.3f}" for k, v in engine.state.metrics.items())
        logger.info("%s epoch %d: %s", self.config.name, epoch, numbers)

    def _keep_if_best(self, engine: Engine) -> None:
        state: Any = engine.state
        if state.best_metric_epoch == state.epoch:
            save_weights(self.network, self.folder / BEST)


class _Stream:
    """The batches from the trainer's current step on."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run

    def __iter__(self) -> Iterator[ClipBatch]:
        run = self._run
        first = run.trainer.state.iteration
        return batches_from(run._batches, first, run.steps, run.config.workers)


class _MeanOfAll(Average):
    """The mean of all values of all updates; an update may have none. 0 for none at all."""

    def update(self, output: torch.Tensor) -> None:
        for value in output.tolist():
            super().update(value)

    def compute(self) -> float:
        return float(super().compute()) if self.num_examples else 0.0


def _seed_of(*numbers: int) -> int:
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _no_loss(*args: Any) -> torch.Tensor:
    raise AssertionError("the learner computes the loss")
