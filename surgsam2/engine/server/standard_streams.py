"""The engine process for an application on another machine, through its standard streams.

`ssh` carries them, or `surgsam2 serve`.
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

from surgsam2.engine.protocol.framing import PROTOCOL_VERSION
from surgsam2.engine.protocol.messages import Hello
from surgsam2.engine.protocol.payloads import InlinePayloads
from surgsam2.engine.protocol.requests import TO_ENGINE
from surgsam2.engine.server.connection import Connection, PipeStream
from surgsam2.engine.server.main import BROKEN_CONNECTION, carry_out_requests
from surgsam2.engine.server.remote_files import RemoteFiles
from surgsam2.version import __version__


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that limit what a session may use."""
    parser.add_argument(
        "--models", type=Path, metavar="FOLDER",
        help="folder with checkpoints and configurations that clients may use by file name",
    )  # fmt: skip
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER",
        help="keep videos in this folder after a session; without it they are deleted",
    )  # fmt: skip
    parser.add_argument(
        "--video-gb", type=float, default=64.0, metavar="N",
        help="gigabytes that the videos of a session, or of the cache, may take (%(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--memory-gb", type=float, metavar="N",
        help="gigabytes of memory that a session may take (no limit; not on Windows)",
    )  # fmt: skip


def as_arguments(args: argparse.Namespace) -> list[str]:
    """Return parsed arguments of `add_arguments` as those of a new engine process."""
    result = ["--video-gb", str(args.video_gb)]
    for name in ("models", "cache", "memory_gb"):
        value = getattr(args, name)
        if value is not None:
            text = str(value.absolute()) if isinstance(value, Path) else str(value)
            result += [f"--{name.replace('_', '-')}", text]
    return result


def main(arguments: list[str]) -> None:
    """Run the engine process; never returns.

    Args:
        arguments: the command line, without the name of the program.
    """
    parser = argparse.ArgumentParser(prog="python -m surgsam2.engine --standard-streams")
    add_arguments(parser)
    args = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stream = _take_standard_streams()
    if args.memory_gb is not None:
        _limit_memory(int(args.memory_gb * 2**30))
    files = RemoteFiles(args.models, args.cache, int(args.video_gb * 2**30))
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
