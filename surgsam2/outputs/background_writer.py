"""A thread that writes results while the network works on the next frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, ParamSpec

P = ParamSpec("P")

AHEAD = 2
"""Number of results that may wait to be written; each holds a frame and its masks."""


class BackgroundWriter(Generic[P]):
    """Calls a function in a thread of its own, in order, with a bounded number of calls waiting.

    An error that the function raises is raised by a later `put` or `drain`; the calls after the
    failed one are dropped. Leaving the ``with`` block waits for all calls.

    Args:
        function: the function to call.
    """

    def __init__(self, function: Callable[P, None]) -> None:
        self._function = function
        self._waiting: deque[Future[None]] = deque()
        self._failed = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="surgsam2-write")

    def put(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Have the function called with these arguments; wait while too many calls do."""
        self._waiting.append(self._thread.submit(self._call, *args, **kwargs))
        while len(self._waiting) > AHEAD:
            self._waiting.popleft().result()

    def drain(self) -> None:
        """Wait until every call has been made."""
        while self._waiting:
            self._waiting.popleft().result()

    def _call(self, *args: P.args, **kwargs: P.kwargs) -> None:
        if self._failed:
            return
        try:
            self._function(*args, **kwargs)
        except BaseException:
            self._failed = True
            raise

    def __enter__(self) -> BackgroundWriter[P]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown()
        # A stop that was asked for must not hide that a result could not be written.
        if error is None or isinstance(error, KeyboardInterrupt):
            self.drain()
