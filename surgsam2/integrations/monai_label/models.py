"""The model that the server uses: the one that it was started with, or the newest trained one."""

from __future__ import annotations

import threading
from pathlib import Path

from surgsam2.model.build import SurgSAM2Model, load_model
from surgsam2.training.run_folder import BUNDLE, MODEL


class Models:
    """The trained models in a folder, and the one in use.

    Args:
        folder: has one folder for each training, named by its number; it need not exist.
        start: the model that is used until one is trained: a known name, a checkpoint file or the
            folder of a bundle.
    """

    def __init__(self, folder: Path, start: str) -> None:
        self._folder, self._start = folder, start
        self._lock = threading.Lock()
        self._loaded: tuple[str, str, SurgSAM2Model] | None = None

    def current(self) -> str:
        """Return the model to use: the bundle of the newest finished training, or the start."""
        finished = [n for n in self._numbers() if (self._folder / str(n) / MODEL).is_file()]
        return str(self._folder / str(max(finished)) / BUNDLE) if finished else self._start

    def next_folder(self) -> Path:
        """Return the folder for another training, which does not exist yet."""
        return self._folder / str(max(self._numbers(), default=0) + 1)

    def load(self, device: str) -> SurgSAM2Model:
        """Return the current model, which stays loaded until another one is current.

        Args:
            device: `auto`, `cpu`, `cuda:0` or `mps`.

        Raises:
            CheckpointError, InputError: as `surgsam2.load_model`.
        """
        with self._lock:
            name = self.current()
            if self._loaded is None or self._loaded[:2] != (name, device):
                self._loaded = (name, device, load_model(name, device=device))
            return self._loaded[2]

    def _numbers(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return [int(path.name) for path in self._folder.iterdir() if path.name.isdigit()]
