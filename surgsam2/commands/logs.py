"""Logging of commands to standard error, as text or JSON lines, without repeated messages."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from surgsam2.storage.text import printable

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")


@contextmanager
def logging_to_stderr(level: str, form: str = "text") -> Iterator[None]:
    """Log to standard error in the block, and at its end count the messages that were repeated.

    Args:
        level: the least important level that is logged, one of `LEVELS`.
        form: `text`; or `json`, which writes an object per line with time (UTC), level, logger
            and message.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        _JsonLines() if form == "json" else _TextLines("surgsam2: %(levelname)s: %(message)s")
    )
    repeats = _RepeatFilter()
    handler.addFilter(repeats)
    root, ours = logging.getLogger(), logging.getLogger("surgsam2")
    before = root.level, ours.level  # a command may change the level of our messages
    root.addHandler(handler)
    root.setLevel(level.upper())
    try:
        yield
    finally:
        handler.removeFilter(repeats)
        for (name, number, _), (count, last) in repeats.left_out.items():
            logging.getLogger(name).log(number, "%d more like this, the last: %s", count, last)
        root.removeHandler(handler)
        root.setLevel(before[0])
        ours.setLevel(before[1])


class _RepeatFilter(logging.Filter):
    """A filter that passes the first warning or error of each kind and counts the others.

    Messages are of one kind if they are equal before their values are inserted, so that messages
    about different frames count as one kind.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[tuple[str, int, str]] = set()
        self._lock = threading.Lock()
        self.left_out: dict[tuple[str, int, str], tuple[int, str]] = {}
        """For each kind, the number of messages that were not shown, and the last one."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        kind = (record.name, record.levelno, str(record.msg))
        with self._lock:
            if kind in self._seen:
                count, _ = self.left_out.get(kind, (0, ""))
                self.left_out[kind] = count + 1, record.getMessage()
                return False
            self._seen.add(kind)
        return True


class _TextLines(logging.Formatter):
    """Writes messages without characters that a terminal might obey."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)
