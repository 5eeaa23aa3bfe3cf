"""`surgsam2 serve` lets applications on other machines use the engine of this one."""

from __future__ import annotations

import argparse
import contextlib
import socket
import ssl
import sys
from pathlib import Path

from surgsam2.errors import InputError


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add `serve`."""
    parser = subparsers.add_parser(
        "serve", help="let applications on other machines use the engine of this one"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="IP",
        help="address to listen at; all but this machine's own need --cert and --key (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--port", type=int, metavar="N", help="TCP port (7462)")
    parser.add_argument(
        "--token-file", type=Path, required=True, metavar="FILE",
        help="file with one secret a line; clients show theirs. A new one is made if there is none",
    )  # fmt: skip
    parser.add_argument("--cert", type=Path, metavar="FILE", help="TLS certificate chain (PEM)")
    parser.add_argument("--key", type=Path, metavar="FILE", help="TLS private key (PEM)")
    parser.add_argument(
        "--sessions", type=int, default=1, metavar="N",
        help="clients that are served at once, each with an engine process (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--queue", type=int, default=16, metavar="N",
        help="clients that may wait for their turn (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--keep-seconds", type=float, default=120.0, metavar="N",
        help="seconds that a session waits for a client whose connection was lost (%(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "--health-port", type=int, metavar="N",
        help="port on this machine's own address for /health and /metrics (none)",
    )  # fmt: skip
    group = parser.add_argument_group("limits of a session")
    group.add_argument(
        "--models", type=Path, metavar="FOLDER",
        help="folder with checkpoints and configurations that clients may use by file name",
    )  # fmt: skip
    group.add_argument(
        "--cache", type=Path, metavar="FOLDER",
        help="keep videos in this folder after a session; without it they are deleted",
    )  # fmt: skip
    group.add_argument(
        "--video-gb", type=float, default=64.0, metavar="N",
        help="gigabytes that the videos of a session, or of the cache, may take (%(default)g)",
    )  # fmt: skip
    group.add_argument(
        "--memory-gb", type=float, metavar="N",
        help="gigabytes of memory that a session may take (no limit; not on Windows)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C or SIGTERM; return 0."""
    from surgsam2.engine.remote.address import DEFAULT_PORT
    from surgsam2.engine.remote.health import serve_health
    from surgsam2.engine.remote.server import EngineServer, ServerLimits
    from surgsam2.engine.server.standard_streams import SessionSettings

    _check(args)
    tls = _tls(args.cert, args.key)
    tokens = _tokens(args.token_file)
    listener = _listen(args.host, DEFAULT_PORT if args.port is None else args.port)
    settings = SessionSettings(
        models=args.models and str(args.models.absolute()),
        cache=args.cache and str(args.cache.absolute()),
        video_gb=args.video_gb,
        memory_gb=args.memory_gb,
    )
    server = EngineServer(
        listener,
        tokens,
        tls=tls,
        arguments=settings.as_arguments(),
        limits=ServerLimits(args.sessions, args.queue, args.keep_seconds),
    )
    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        if args.health_port is not None:
            try:
                http = serve_health(server, "127.0.0.1", args.health_port)
            except OSError as error:
                raise InputError(f"--health-port {args.health_port}: {error.strerror}") from error
            stack.callback(http.server_close)
        how = "with TLS" if tls else "without TLS, for this machine alone"
        print(f"serving at {args.host} port {server.port} {how}; Ctrl-C ends it", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.run()
    return 0


def _check(args: argparse.Namespace) -> None:
    from surgsam2.engine.remote.address import is_loopback

    if (args.cert is None) != (args.key is None):
        raise InputError("--cert and --key belong together; give both")
    if args.cert is None and not is_loopback(args.host):
        raise InputError(
            f"--host {args.host} is reached by other machines, and needs TLS: give --cert and "
            "--key, or use 127.0.0.1 and connect by ssh"
        )
    for name, least in (("sessions", 1), ("queue", 0), ("keep_seconds", 0), ("video_gb", 0)):
        if not getattr(args, name) >= least:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} must be at least {least}, got {getattr(args, name)}")
    if args.models is not None and not args.models.is_dir():
        raise InputError(f"--models {args.models}: there is no such folder")


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    if cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"--cert {cert}, --key {key}: cannot be used ({error})") from error
    return context


def _tokens(path: Path) -> list[str]:
    """Return the secrets of a file; a file that does not exist is made with a new one."""
    from surgsam2.engine.remote.tokens import make_token_file, read_tokens

    if make_token_file(path):
        print(f"a new token is in {path}; give it to those who may connect", file=sys.stderr)
    return read_tokens(path)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=64)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--host {host} --port {port}: cannot listen there ({reason})") from error
