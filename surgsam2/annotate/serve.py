"""Serve the page until it is stopped."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import uvicorn

from surgsam2.annotate.chooser import VideoChooser, find_videos
from surgsam2.annotate.consent import Consent
from surgsam2.annotate.engine_link import EngineLink
from surgsam2.annotate.server import make_app
from surgsam2.engine import EngineClient
from surgsam2.engine.remote.tokens import client_token
from surgsam2.errors import InputError
from surgsam2.model.options import ModelOptions
from surgsam2.prompts import load_class_list
from surgsam2.tracking.options import TrackingOptions

_SUFFIX = "-annotated"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def annotate(
    video: Path | str,
    folder: Path | str | None = None,
    model: ModelOptions | None = None,
    *,
    tracking: TrackingOptions | None = None,
    classes: Path | str | None = None,
    engine: str | None = None,
    authorities: Path | str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    certificate: Path | str | None = None,
    key: Path | str | None = None,
    on_ready: Callable[[str], None] = print,
) -> None:
    """Serve the page; return when the server is stopped by Ctrl-C.

    Args:
        video: a video file, an image folder, or a folder of video files, of which the page lets
            choose.
        folder: the folder for masks and prompts; a project or results in it are continued. For a
            folder of videos, each of them has its own folder in it, called after the video
            (with its suffix where two differ in it only). None is the `default_folder` of `video`.
        model: which model segments; None is the built-in one.
        tracking: which memories are kept and how masks are made; direction, range and overlap
            have no effect.
        classes: the classes that objects can have, as for `load_class_list`; None takes the
            package's list of surgical objects.
        engine: address of an engine on another machine, as for `surgsam2.connect`; None is this
            machine. The page asks before anything is sent there.
        authorities: file with certificates that are trusted for it besides the system's.
        host: the address to listen on. Another one than loopback needs a certificate.
        port: the port; 0 takes a free one.
        certificate: a PEM file with the certificate for TLS.
        key: a PEM file with the key of the certificate.
        on_ready: called once with the address to open, when the server listens.

    Raises:
        InputError: an address cannot be used, or would be open to others without TLS.
        VideoError: the video cannot be read.
        OutputError: the folder cannot be used.
    """
    if host not in LOOPBACK and not (certificate and key):
        raise InputError(
            f"host {host!r} can be reached from other machines; give --certificate and --key for "
            "TLS, or leave --host at 127.0.0.1"
        )
    with contextlib.ExitStack() as resources:
        path = Path(video)
        videos = find_videos(path) if path.is_dir() else {}
        stems = Counter(one.stem for one in videos.values())
        own = default_folder(path) if folder is None else Path(folder)

        def project_folder(one: Path) -> Path:
            if not videos:
                return own
            name = one.stem if stems[one.stem] == 1 else one.name
            return own / f"{name}{_SUFFIX}"

        chosen = load_class_list("general" if classes is None else classes)
        chooser = resources.enter_context(
            VideoChooser(
                videos or {path.name: path},
                project_folder,
                _engine(
                    engine, authorities, model or ModelOptions(), tracking or TrackingOptions()
                ),
                chosen,
            )
        )
        listening = resources.enter_context(_listen(host, port))
        port = listening.getsockname()[1]
        token = secrets.token_urlsafe(24)
        names = LOOPBACK if host in LOOPBACK else (host,)
        hosts = frozenset(f"[{name}]:{port}" if ":" in name else f"{name}:{port}" for name in names)
        secure = certificate is not None
        shown = f"[{host}]" if ":" in host else host
        address = f"http{'s' if secure else ''}://{shown}:{port}/?token={token}"
        server = _Server(
            uvicorn.Config(
                make_app(chooser, token, hosts, secure),
                log_level="warning",
                access_log=False,
                server_header=False,
                ssl_certfile=certificate and str(certificate),
                ssl_keyfile=key and str(key),
                timeout_graceful_shutdown=2,
                ws_max_size=32 * 2**20,
            ),
            lambda: on_ready(address),
        )
        with contextlib.suppress(KeyboardInterrupt):  # This is how a person ends the server.
            server.run(sockets=[listening])


def _engine(
    address: str | None,
    authorities: Path | str | None,
    model: ModelOptions,
    tracking: TrackingOptions,
) -> EngineLink:
    """Return the engine at an address; None is this machine."""
    if address is None:
        return EngineLink(EngineClient(), model, tracking=tracking)
    client = EngineClient(address=address, token=client_token(), authorities=authorities)
    return EngineLink(client, model, Consent(address), tracking)


def default_folder(video: Path) -> Path:
    """Return the folder for the masks and prompts of a video, if none is named."""
    return Path(f"{video.absolute().stem}{_SUFFIX}")


def _listen(host: str, port: int) -> socket.socket:
    """Return a bound socket.

    Raises:
        InputError: the port is in use or the address does not exist.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise InputError(
            f"cannot listen on {host} port {port} ({error}); choose another --port, or leave it "
            "out for a free one"
        ) from error
    return listening


class _Server(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()
