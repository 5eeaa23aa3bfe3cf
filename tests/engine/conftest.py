"""One engine process for all tests that leave it alive, because starting one takes seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from surgsam2.engine import EngineClient, Event, ModelLoaded

TIMEOUT = 120.0
"""Seconds to wait for an event."""

E = TypeVar("E")


class Driver:
    """A client, and every event that it has returned."""

    def __init__(self, client: EngineClient) -> None:
        self.client = client
        self.seen: list[Event] = []

    def until(self, kind: type[E], request: int | None = None) -> E:
        """Poll until there is an event of this kind, and of this request if one is given."""
        return self.when(
            lambda e: (
                isinstance(e, kind) and (request is None or getattr(e, "request", None) == request)
            )
        )

    def when(self, wanted: Callable[[Event], bool]) -> E:
        """Poll until there is an event that is wanted, and return it."""
        end = time.monotonic() + TIMEOUT
        start = len(self.seen)
        while time.monotonic() < end:
            self.seen += self.client.poll(0.05)
            found = [event for event in self.seen[start:] if wanted(event)]
            if found:
                return found[0]  # type: ignore[return-value]
            if not self.client.alive and not self.client.pending:
                break
        raise AssertionError(f"not reported; reported: {self.seen[start:]}")

    def of(self, request: int, kind: type[E]) -> list[E]:
        """Return the events of this kind and request so far."""
        return [e for e in self.seen if isinstance(e, kind) and e.request == request]  # type: ignore[attr-defined]


def new_driver(**options: object) -> Driver:
    """Return the driver of a new client."""
    return Driver(EngineClient(**options))  # type: ignore[arg-type]


def load(driver: Driver, checkpoint: Path, config: Path) -> ModelLoaded:
    """Load a model and return its event."""
    number = driver.client.load_model(checkpoint, config=str(config), device="cpu")
    return driver.until(ModelLoaded, number)


@pytest.fixture(scope="session")
def shared_driver(demo_checkpoint: Path, small_config: Path) -> Iterator[Driver]:
    driver = new_driver()
    driver.client.start()
    load(driver, demo_checkpoint, small_config)
    yield driver
    driver.client.close()


@pytest.fixture
def engine(shared_driver: Driver) -> Driver:
    """An engine process that has loaded the small model and does nothing."""
    assert shared_driver.client.alive
    shared_driver.client.cancel()
    shared_driver.seen.clear()
    return shared_driver
