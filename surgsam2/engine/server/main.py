"""The engine's process: connect, load what is heavy, carry out requests until the end."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from surgsam2.engine.protocol.messages import EXPLAINED, PROTOCOL_VERSION, Message, ProtocolError
from surgsam2.engine.server.connection import Link
from surgsam2.engine.server.job_queue import KINDS, Job, Jobs
from surgsam2.version import __version__

if TYPE_CHECKING:
    from surgsam2.engine.server.engine import Engine

_BROKEN_CONNECTION = 4


class Server:
    """Sorts messages: requests wait for the engine, everything else is taken at once.

    Args:
        link: to the application.
        folder: of the shared files.
    """

    def __init__(self, link: Link, folder: Path) -> None:
        self._link = link
        self._folder = folder
        self.jobs = Jobs()
        self._engine: Engine | None = None

    def load_engine(self) -> Engine:
        """Import what is heavy; takes seconds, in which the application is watched already.

        Raises:
            ImportError, OSError: a package is missing or broken.
        """
        import torch

        from surgsam2.engine.server.engine import Engine

        self._engine = Engine(self._link.send, self.jobs, self._folder)
        self._link.send(
            "ready",
            {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "surgsam2": __version__,
                "pid": os.getpid(),
            },
        )
        return self._engine

    def on_message(self, message: Message) -> None:
        """Called by the reading thread; never raises."""
        try:
            self._sort(message)
        except ProtocolError as error:
            header = {"request": _number(message), "kind": "protocol", "message": str(error)}
            self._link.send("failed", header)

    def _sort(self, message: Message) -> None:
        if message.kind in KINDS:
            self.jobs.put(Job(message.get("request", int), message.kind, message))
        elif message.kind == "cancel":
            self.jobs.cancel_all()
        elif self._engine is not None and message.kind in ("frame", "release", "live_frame"):
            self._pass_on(self._engine, message)
        else:
            raise ProtocolError(f"unknown message {message.kind!r:.80}")

    @staticmethod
    def _pass_on(engine: Engine, message: Message) -> None:
        if message.kind == "release":
            engine.release(message.get("block", str), message.get("slot", int))
        elif message.kind == "frame":
            engine.answer_frame(
                message.get("video", int),
                message.get("slot", int),
                message.optional("problem", str),
            )
        else:
            engine.live_frame(
                message.get("live", int), message.get("slot", int), message.get("stamp", float)
            )


def _number(message: Message) -> int | None:
    number = message.header.get("request")
    return number if type(number) is int else None


def main() -> None:
    """Run the process that `EngineClient` starts; never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is the application's
    settings = json.loads(sys.stdin.readline())
    folder = Path(settings["folder"])
    connection = socket.create_connection(("127.0.0.1", settings["port"]))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link = Link(connection)
    hello = {"protocol": PROTOCOL_VERSION, "token": settings["token"], "surgsam2": __version__}
    link.send("hello", hello)
    server = Server(link, folder)

    def on_end(reason: str) -> None:
        """At once, whatever the engine is doing: nobody waits for it any more."""
        if reason:
            link.send("failed", {"request": None, "kind": "protocol", "message": reason})
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(_BROKEN_CONNECTION if reason else 0)

    link.read_in_thread(server.on_message, on_end)
    try:
        engine = server.load_engine()
    except (ImportError, OSError) as error:
        reason = " ".join(str(error).split())
        text = (
            f"the engine needs a package that is missing or broken in {sys.executable} ({reason}); "
            f"to see what to do, run: {sys.executable} -m surgsam2 doctor"
        )
        link.send("failed", {"request": None, "kind": "install", "message": text})
        os._exit(EXPLAINED)
    engine.run()
