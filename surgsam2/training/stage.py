"""MONAI's trainer for one stage of a recipe."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer
from monai.handlers import LrScheduleHandler, ValidationHandler
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import LambdaLR

from surgsam2.errors import SurgSAM2Error
from surgsam2.model.build import SurgSAM2Model
from surgsam2.model.checkpoint import load_state, read_checkpoint
from surgsam2.model.pruning import EFP
from surgsam2.training.batches import ClipBatches, batches_from, open_source
from surgsam2.training.best_weights import BestWeights
from surgsam2.training.checkpoints import read_progress, save_atomically, save_weights
from surgsam2.training.config import TrainConfig
from surgsam2.training.distributed import Place, wait_for_all
from surgsam2.training.freezing import apply_freezing, part_of, resolve_freezing
from surgsam2.training.learner import Learner
from surgsam2.training.optimizer import make_optimizer
from surgsam2.training.pretrained import require_pretrained
from surgsam2.training.propagation import start_from_trunk
from surgsam2.training.reporting import (
    ProgressLog,
    attach_tensorboard,
    warn_of_shared_sequences,
)
from surgsam2.training.rollout import ClipBatch
from surgsam2.training.run_folder import (
    LAST,
    PROGRESS,
    Changes,
    add_to_history,
    write_settings,
)
from surgsam2.training.schedule import make_schedule
from surgsam2.training.start import start_network
from surgsam2.training.threads import use_fastest_threads
from surgsam2.training.validation import ClipEvaluator

logger = logging.getLogger(__name__)

_MOST_BAD_STEPS = 20
"""Number of steps in a row without a finite gradient that ends a run."""

Threads = int | Literal["auto"] | None
"""Number of CPU threads; `auto` measures which is fastest, None leaves PyTorch's."""


class DivergedError(SurgSAM2Error, RuntimeError):
    """The loss or the gradient stayed infinite or undefined."""


class StageTrainer(SupervisedTrainer):
    """MONAI's trainer for one stage of a recipe.

    An iteration runs a batch of clips through the network frame by frame, with simulated prompts.
    The learning rate, validation, best weights and what resuming needs are attached when the run
    begins. The data are opened then, too.

    Args:
        config: settings of the stage.
        folder: folder of the stage.
        place: this process among those of the run.
        weights: checkpoint that the stage before ended in; None starts as `config` says.
        train_handlers: further handlers of MONAI or Ignite. A `ValidationHandler` with a
            `ClipEvaluator` among them replaces the trainer's own validation.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        place: Place,
        *,
        weights: Path | None = None,
        train_handlers: Sequence[Any] | None = None,
    ) -> None:
        self.config, self.folder, self.place = config, folder, place
        self._trunk = config.pretrained_trunk if config.from_scratch and weights is None else ""
        if self._trunk:
            require_pretrained(self._trunk)
        network, self._resolved, self.network_name = start_network(config, weights)
        self._network = network
        freezing = resolve_freezing(config.freeze, self.network_name)
        self._settings = replace(
            config,
            network=self.network_name,
            image_size=int(self._resolved["image_size"]),
            freeze=freezing,
        )
        trained = apply_freezing(network, freezing)
        self.trained_parts = sorted({part_of(name) for name in trained})
        """Parts of the network that are trained: fields of `FreezeConfig`."""
        self.from_random = config.from_scratch and weights is None
        self.evaluator = _evaluator_in(train_handlers or ())
        """Evaluator of the validation; None where there are no validation clips."""
        self._validates = self.evaluator is not None
        self.changes: Changes = {}
        """Settings with which an interrupted run is continued."""
        self.threads: Threads = None
        """Number of CPU threads; see `train`."""
        self.best = BestWeights(
            self, folder, config.name, writes=place.first, patience=config.validation.patience
        )
        self._bad_steps = 0
        self._batches: ClipBatches | None = None
        super().__init__(
            device=place.device,
            max_epochs=config.epochs,
            train_data_loader=_Stream(self),
            epoch_length=config.steps or 1,
            network=network.to(place.device),
            optimizer=make_optimizer(network, config.optimizer),
            loss_function=_no_loss,
            train_handlers=train_handlers,
            decollate=False,
        )
        self._learner: nn.Module = Learner(network, config)
        self.schedule: LambdaLR | None = None

    @property
    def batches(self) -> ClipBatches:
        """The batches of the run, by the number of the step."""
        self.prepare()
        assert self._batches is not None
        return self._batches

    @property
    def steps(self) -> int:
        """Number of steps of the whole run."""
        return int(self.state.max_epochs * self.state.epoch_length)

    def prepare(self) -> None:
        """Open the data and attach what the run needs, once.

        Raises:
            InputError, DatasetError: the data cannot be used.
            CheckpointError: the image classifier's weights cannot be used.
        """
        if self._batches is not None:
            return
        config, place = self.config, self.place
        sources = [(source, open_source(source)) for source in config.data]
        size = int(self._resolved["image_size"])
        self._batches = ClipBatches(
            sources, config.augment, size, config.seed, place.rank, place.world
        )
        self.state.epoch_length = config.steps or self._batches.steps_per_epoch
        if self._trunk and not (self.folder / PROGRESS).is_file():
            start_from_trunk(self._network, self._trunk, self._batches)
        if place.world > 1:
            self._learner = DistributedDataParallel(
                self._learner,
                device_ids=[place.device.index] if place.device.type == "cuda" else None,
                find_unused_parameters=True,  # Which parts a step uses depends on its prompts.
            )
        self._make_evaluator()
        self._attach_handlers()
        logger.info(
            "stage %s: %d steps, trained: %s", config.name, self.steps,
            ", ".join(part.replace("_", " ") for part in self.trained_parts),
        )  # fmt: skip
        warn_of_shared_sequences(
            config.name,
            sources,
            self.evaluator.sources if self.evaluator is not None else [],
            config.patient,
        )

    def start_from(self, weights: Path) -> None:
        """Load the weights that another stage ended in.

        Raises:
            CheckpointError: they do not fit the network.
        """
        state = read_checkpoint(weights)
        load_state(self.network, state, path=weights, config_name=self.network_name)
        self.from_random, self._trunk = False, ""

    def run(self) -> None:  # type: ignore[override]
        """Train the stage, see `run_stage`."""
        self.run_stage()

    def run_stage(self) -> None:
        """Train to the end, from the saved progress in the folder if there is any.

        Raises:
            DivergedError: the loss is undefined, or no gradient was finite for 20 steps.
            OutputError: a file cannot be written.
        """
        self.prepare()
        progress = self.folder / PROGRESS
        resumed = self.state.iteration == 0 and progress.is_file()
        saved_threads = self._resume(progress) if resumed else None
        self._start_schedule()
        if self.place.first:
            write_settings(self.folder, self._settings)
        self._choose_threads(saved_threads)
        self._note_in_history(
            "resumed" if resumed else "started", step=self.state.iteration,
            network=self.network_name, trained=self.trained_parts, steps=self.steps,
            threads=torch.get_num_threads(),
            changes={name: list(change) for name, change in self.changes.items()},
        )  # fmt: skip
        if self.evaluator is not None and self.state.iteration == 0 and not self.from_random:
            self.evaluator.run()
        if self.state.iteration < self.steps and not self.best.is_exhausted:
            super().run()
        if self.place.first:
            save_weights(self.network, self.folder / LAST)
            progress.unlink(missing_ok=True)
            self._note_in_history("ended", step=self.state.iteration, **self.best.state_dict())
            self.best.report()
        wait_for_all(self.place)

    def _choose_threads(self, saved: int | None) -> None:
        """Set the number of CPU threads; `saved` is that of an interrupted run, None for none."""
        if self.threads is None or self.place.device.type != "cpu":
            return
        number = saved if self.threads == "auto" else self.threads
        if number is not None:
            torch.set_num_threads(number)
        elif self.place.world == 1 and self.state.iteration < self.steps:
            clips = self.batches[self.state.iteration]

            def step() -> None:
                self._forward(clips, self.state.iteration)[0].backward()

            use_fastest_threads(step)
            self.optimizer.zero_grad(set_to_none=True)

    def _resume(self, path: Path) -> int | None:
        """Load the saved progress; return the number of CPU threads of the interrupted run."""
        progress = read_progress(path)
        load_state(self.network, progress["network"], path=path, config_name=self.network_name)
        given = [dict(group) for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(progress["optimizer"])
        self.state.iteration = progress["step"]
        self.state.epoch = progress["step"] // self.state.epoch_length
        # Rates and decays are those of the settings, which may have been changed.
        for group, own in zip(self.optimizer.param_groups, given, strict=True):
            group.update({k: v for k, v in own.items() if k != "params"}, initial_lr=own["lr"])
        self.best.load_state_dict(progress["best"])
        if self.evaluator is not None and progress["best_epoch"] >= 0:
            self.evaluator.state.best_metric = self.best.best
            self.evaluator.state.best_metric_epoch = progress["best_epoch"]
        logger.info("%s: resuming after step %d of %d", path, self.state.iteration, self.steps)
        threads = progress.get("threads")
        return int(threads) if threads is not None else None

    def _start_schedule(self) -> None:
        """Attach the learning rate, from the step at which the run begins."""
        if self.schedule is not None:
            return
        done = self.state.iteration
        self.schedule = make_schedule(self.optimizer, self.steps, self.config.optimizer, done)
        LrScheduleHandler(
            self.schedule,  # type: ignore[arg-type]
            print_lr=False,
            epoch_level=False,
        ).attach(self)

    def _save_progress(self, engine: Engine | None = None) -> None:
        """Save what `_resume` reads; Ignite passes the engine."""
        evaluator = self.evaluator.state if self.evaluator is not None else None
        save_atomically(
            {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.state.iteration,
                "best": self.best.state_dict(),
                "best_epoch": int(evaluator.best_metric_epoch) if evaluator is not None else -1,
                "threads": torch.get_num_threads(),
            },
            self.folder / PROGRESS,
        )

    def _forward(self, clips: ClipBatch, step: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Return loss and terms of a batch; everything random follows from the step's number."""
        rng = np.random.default_rng((self.config.seed, step, self.place.rank, 5))
        torch.manual_seed(_seed_of(self.config.seed, step, self.place.rank))
        self._learner.train()
        self.optimizer.zero_grad(set_to_none=True)
        dtype = self.dtype
        with (
            torch.autocast(
                self.place.device.type, dtype=torch.bfloat16, enabled=dtype != torch.float32
            ),
            _fastest_attention(self.place.device.type, dtype),
        ):
            loss, terms = self._learner(clips.to(self.place.device), rng)
        return loss, terms

    def _iteration(self, engine: Any, batchdata: Any) -> list[dict[str, Any]]:  # type: ignore[override]
        """Train on one batch of clips; Ignite calls it.

        Returns:
            One table of numbers in a list, as MONAI's handlers expect the output of a trainer.
        """
        step = self.state.iteration - 1
        loss, terms = self._forward(batchdata, step)
        if not bool(loss.isfinite()):
            self._stop_at(step, float(loss.detach()), batchdata)
        output: dict[str, Any] = {name: float(value) for name, value in terms.items()}
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._trained(), self.config.optimizer.clip)
        output["gradient_norm"] = float(norm)
        self._step_if_finite(step)
        output["loss"] = float(loss.detach())
        assert self.schedule is not None
        output["lr"] = float(self.schedule.get_last_lr()[0])
        return [output]

    def _stop_at(self, step: int, loss: float, clips: ClipBatch) -> None:
        """Keep the weights before this step and raise `DivergedError` with the clips' names."""
        self.state.iteration = step
        if self.place.first:
            self._save_progress()
        self._note_in_history("stopped", step=step, loss=str(loss), clips=list(clips.names))
        raise DivergedError(
            f"stage {self.config.name}, step {step}: the loss is {loss}, with the clips "
            f"{'; '.join(clips.names)}. The weights before this step are kept in "
            f"{self.folder / PROGRESS}: look at these clips, or resume with --continue-with and a "
            "lower optimizer.lr, or dtype=float32"
        )

    def _step_if_finite(self, step: int) -> None:
        """Have the optimizer move the weights, unless the gradient is not finite.

        Raises:
            DivergedError: no gradient was finite for 20 steps.
        """
        # Every process decides alike, because gradients are summed over all of them.
        finite = all(bool(p.grad.isfinite().all()) for p in self._trained() if p.grad is not None)
        if finite:
            self.optimizer.step()
            self._bad_steps = 0
            return
        self._bad_steps += 1
        logger.warning("step %d: the gradient is not finite, so the step is left out", step)
        if self._bad_steps >= _MOST_BAD_STEPS:
            raise DivergedError(
                f"no finite gradient in {_MOST_BAD_STEPS} steps; resume with --continue-with and a "
                f"lower optimizer.lr"
            )

    def _trained(self) -> list[nn.Parameter]:
        """Return the parameters that are trained."""
        return [p for p in self.network.parameters() if p.requires_grad]

    @property
    def dtype(self) -> torch.dtype:
        """Number format of autocast; float32 is none."""
        if self.config.dtype == "auto":
            return torch.bfloat16 if self.place.device.type == "cuda" else torch.float32
        return torch.bfloat16 if self.config.dtype == "bfloat16" else torch.float32

    def _make_evaluator(self) -> None:
        """Open the validation clips; `evaluator` becomes None where there are none."""
        network: Any = self.network
        model = SurgSAM2Model(
            self.network_name, network, self._resolved, self.place.device, self.dtype, EFP(), None
        )
        if self.evaluator is None:
            self.evaluator = ClipEvaluator(self.config.validation, model)
        self.evaluator.adopt(model)
        if not self.evaluator.open():
            self.evaluator = None

    def _attach_handlers(self) -> None:
        """Attach validation and best weights, and in the first process progress, logs and files."""
        config = self.config
        if self.evaluator is not None:
            if not self._validates:
                ValidationHandler(config.validation.every, self.evaluator).attach(self)
            self.best.attach(self.evaluator)
        if not self.place.first:
            return
        if self.evaluator is not None:
            attach_tensorboard(self.evaluator, self.folder, lambda: self.state.epoch)
        self.add_event_handler(
            Events.ITERATION_COMPLETED(every=config.save_every), self._save_progress
        )
        self.add_event_handler(Events.EPOCH_COMPLETED, self._save_progress)
        ProgressLog(config.name, config.log_every, lambda: self.steps).attach(self)
        attach_tensorboard(self, self.folder, lambda: self.state.epoch, every=config.log_every)

    def _note_in_history(self, event: str, **facts: Any) -> None:
        if self.place.first:
            add_to_history(self.folder, event, **facts)


@contextmanager
def _fastest_attention(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Take plain matrix products on CPUs in bfloat16, where the fused kernel is slower.

    Their sums may be bfloat16 inside the context. PyTorch has one such setting for the process.
    """
    if device != "cpu" or dtype != torch.bfloat16:
        yield
        return
    before = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


def _evaluator_in(handlers: Sequence[Any]) -> ClipEvaluator | None:
    """Return the evaluator of the first handler that validates clips, or None."""
    for handler in handlers:
        if isinstance(handler, ValidationHandler) and isinstance(handler.validator, ClipEvaluator):
            return handler.validator
    return None


class _Stream:
    """The batches from the trainer's current step on."""

    def __init__(self, trainer: StageTrainer) -> None:
        self._trainer = trainer

    def __iter__(self) -> Iterator[ClipBatch]:
        trainer = self._trainer
        first = trainer.state.iteration
        return batches_from(trainer.batches, first, trainer.steps, trainer.config.workers)


def _seed_of(*numbers: int) -> int:
    """Return a seed for PyTorch, from 0 to 2^63 - 1, that numbers decide."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _no_loss(*args: Any) -> torch.Tensor:
    """Stand in for the loss function that MONAI's trainer asks for; it is never called."""
    raise AssertionError("the learner computes the loss")
