"""The best weights of a stage, compared with the weights that it started from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import SupervisedTrainer

from surgsam2.training.checkpoints import save_weights
from surgsam2.training.run_folder import BEST
from surgsam2.training.validation import KEY_METRIC, ClipEvaluator

logger = logging.getLogger(__name__)


class BestWeights:
    """A handler that keeps the weights with the best J&F and warns if training harms.

    A validation before the first step gives the score of the start. The training ends early after
    a number of validations that were no better than the best one, if `patience` says so.

    Args:
        trainer: its network is saved.
        folder: where `best.pt` is written.
        name: what log messages begin with.
        writes: whether this process writes files and logs.
        patience: number of validations in a row without a better J&F after which the training
            ends; None never ends it early.
    """

    def __init__(
        self,
        trainer: SupervisedTrainer,
        folder: Path,
        name: str,
        *,
        writes: bool,
        patience: int | None = None,
    ) -> None:
        self._trainer, self._folder, self._name, self._writes = trainer, folder, name, writes
        self._patience, self._waited = patience, 0
        self.best = -1.0
        """Best J&F so far; -1 before the first validation."""
        self.start: float | None = None
        """J&F of the weights that the stage started from, where they were validated."""

    def attach(self, evaluator: ClipEvaluator) -> None:
        """Compare after every validation."""
        evaluator.add_event_handler(Events.COMPLETED, self._compare)

    def state_dict(self) -> dict[str, Any]:
        """Return the scores, for resuming."""
        return {"best": self.best, "start_score": self.start, "waited": self._waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take the scores of an interrupted run."""
        self.best, self.start = state["best"], state["start_score"]
        self._waited = state.get("waited", 0)  # earlier versions had no early end

    @property
    def is_exhausted(self) -> bool:
        """Whether the training ends early."""
        return self._patience is not None and self._waited >= self._patience

    def _compare(self, evaluator: Engine) -> None:
        """Keep the weights if they are the best so far, and end the training if it is time."""
        state, score = self._trainer.state, float(evaluator.state.metrics[KEY_METRIC])
        when = f"epoch {state.epoch}" if state.iteration else "before training"
        if self._writes:
            numbers = " ".join(f"{k} {float(v):.3f}" for k, v in evaluator.state.metrics.items())
            logger.info("%s %s: %s", self._name, when, numbers)
        if state.iteration == 0:
            self.start = score
        elif self.start is not None and score < self.start:
            logger.warning(
                "%s %s: J&F %.3f is below the %.3f of the weights that the run started from",
                self._name, when, score, self.start,
            )  # fmt: skip
        self._waited += 1
        if score > self.best:
            self.best, self._waited = score, 0
            if self._writes:
                save_weights(self._trainer.network, self._folder / BEST)
        if self.is_exhausted:
            logger.info(
                "%s %s: ends early, J&F was no better in %d validations in a row",
                self._name, when, self._waited,
            )  # fmt: skip
            self._trainer.terminate()

    def report(self) -> None:
        """Warn if no validation was better than the start."""
        if self.start is not None and self.best <= self.start:
            logger.warning(
                "%s: training did not improve J&F on the validation clips (%.3f at the start); %s "
                "has the weights of the start. Try another optimizer.lr, train more parts (freeze) "
                "or use more data",
                self._name, self.start, self._folder / BEST,
            )  # fmt: skip
