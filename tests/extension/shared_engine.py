"""`SharedEngine`: one engine process for many tests, because each start takes seconds."""

from __future__ import annotations

from surgsam2.engine import EngineClient, Event, Ready


class SharedEngine(EngineClient):
    """An engine client whose process goes on after `close`, for the next test.

    A logic that starts it is told that it is ready, as by a new process. A process that was
    killed is started anew.
    """

    def __init__(self) -> None:
        super().__init__()
        self._in_use = False
        self._ready: Ready | None = None

    @property
    def alive(self) -> bool:
        return self._in_use and super().alive

    def start(self) -> None:
        self._in_use = True
        if super().alive and self._ready is not None:
            self._events.append(self._ready)
        else:
            super().start()

    def close(self) -> None:
        self.cancel()
        self._events.clear()
        self._in_use = False

    def poll(self, timeout: float = 0.0) -> list[Event]:
        if not self._in_use:
            return []
        events = super().poll(timeout)
        for event in events:
            if isinstance(event, Ready):
                self._ready = event
        return events

    def end(self) -> None:
        """End the process."""
        super().close()
