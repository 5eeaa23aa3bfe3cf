"""The image encoder of the next frames on a CUDA stream of its own, beside the tracker's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

from surgsam2.model.frame_data import ImageFeatures


class StreamEncoder:
    """Copies, resizes and encodes the next frames of recorded video in a thread and a stream.

    `close` must be called in the end.

    Args:
        autocast: makes the context in which work runs, which belongs to a thread.
        device: a CUDA device.
    """

    def __init__(
        self, autocast: Callable[[], AbstractContextManager[object]], device: torch.device
    ) -> None:
        self._autocast = autocast
        self._device = device
        self._stream = torch.cuda.Stream(device)
        # the weights may still be on their way to the device
        self._stream.wait_stream(torch.cuda.current_stream(device))
        self._executor = ThreadPoolExecutor(1, "surgsam2-encode")

    def submit(self, work: Callable[[], ImageFeatures]) -> Future[Any]:
        """Run the encoder on a frame beside the tracker."""
        return self._executor.submit(self._run, work)

    def finish(self, encoding: Future[Any]) -> None:
        """Wait until the work is given to the device, and let this thread's stream wait for it.

        An error of the work is not raised.
        """
        wait([encoding])
        if encoding.exception() is not None:
            return
        features, computed = encoding.result()
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(computed)
        always = [features.tokens, features.position, *features.high_res]
        for tensor in (*always, features.picture, features.target_inputs):
            if tensor is not None:
                tensor.record_stream(stream)  # its memory stays until this stream is done

    @contextmanager
    def sharing_cores(self) -> Iterator[None]:
        """Change nothing: the tracker's work is not on the cores."""
        yield

    def _run(self, work: Callable[[], ImageFeatures]) -> tuple[ImageFeatures, torch.cuda.Event]:
        with torch.no_grad(), torch.cuda.stream(self._stream), self._autocast():
            features = work()
            return features, self._stream.record_event()

    def close(self) -> None:
        """Drop the work that has not begun and wait for the rest."""
        self._executor.shutdown(cancel_futures=True)
