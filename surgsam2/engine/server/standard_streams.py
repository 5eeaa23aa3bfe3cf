"""The engine process for an application on another machine, through its standard streams.

The server of the session passes them on; see `surgsam2.engine.remote.session`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from surgsam2.engine.protocol.framing import PROTOCOL_VERSION
from surgsam2.engine.protocol.messages import Hello
from surgsam2.engine.protocol.payloads import InlinePayloads
from surgsam2.engine.protocol.requests import TO_ENGINE
from surgsam2.engine.server.connection import Connection, PipeStream
from surgsam2.engine.server.main import BROKEN_CONNECTION, carry_out_requests
from surgsam2.engine.server.remote_files import RemoteFiles
from surgsam2.storage.json_text import parse_json
from surgsam2.version import __version__


@dataclass(frozen=True)
class SessionSettings:
    """What one session with an application on another machine may use."""

    models: str | None = None
    """Folder with checkpoints and configurations that may be named; None is none."""
    cache: str | None = None
    """Folder in which videos stay after the session; None keeps none."""
    video_gb: float = 64.0
    """Gigabytes that the videos of the session, or of the cache, may take."""
    memory_gb: float | None = None
    """Gigabytes of memory that the process may take; None sets no limit."""

    def as_arguments(self) -> list[str]:
        """Return the arguments of the engine process that say this."""
        return ["--settings", json.dumps(asdict(self))]


def main(arguments: list[str]) -> None:
    """Run the engine process; never returns.

    Args:
        arguments: the command line, without the name of the program.
    """
    parser = argparse.ArgumentParser(prog="python -m surgsam2.engine --standard-streams")
    parser.add_argument("--settings", type=parse_json, default={})
    settings = SessionSettings(**parser.parse_args(arguments).settings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stream = _take_standard_streams()
    if settings.memory_gb is not None:
        _limit_memory(int(settings.memory_gb * 2**30))
    models, cache = (folder and Path(folder) for folder in (settings.models, settings.cache))
    files = RemoteFiles(models or None, cache or None, int(settings.video_gb * 2**30))
    connection = Connection(stream, InlinePayloads(), TO_ENGINE)
    connection.send(Hello("", PROTOCOL_VERSION, __version__))

    def on_end(reason: str) -> None:
        files.close()
        os._exit(BROKEN_CONNECTION if reason else 0)

    carry_out_requests(connection, on_end, files)


def _take_standard_streams() -> PipeStream:
    """Return the standard streams; what libraries print goes to the error output instead."""
    source, target = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return PipeStream(source, target)


def _limit_memory(size: int) -> None:
    """Limit the data of this process to `size` bytes, where the system can do that."""
    try:
        import resource
    except ImportError:  # Windows
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard == resource.RLIM_INFINITY or size < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (size, hard))
