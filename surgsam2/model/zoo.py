"""Known checkpoints: where they are to be had, and where they are kept on this machine."""

from __future__ import annotations

import os
import re
import urllib.request
import zipfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from tqdm import tqdm

from surgsam2.errors import DownloadError, InputError

_PUBLIC = "https://dl.fbaipublicfiles.com/segment_anything_2"
_AUTHORS = "https://github.com/jinlab-imvr/Surgical-SAM-2"
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class KnownCheckpoint:
    """A published checkpoint. `url` is None where it has to be fetched by hand."""

    name: str
    config: str
    filename: str
    source: str
    url: str | None = None

    @property
    def path(self) -> Path:
        """Where the file is, or will be, on this machine."""
        return cache_folder() / self.filename


def cache_folder() -> Path:
    """``$SURGSAM2_CACHE``, else ``~/.cache/surgsam2``."""
    return Path(os.environ.get("SURGSAM2_CACHE") or "~/.cache/surgsam2").expanduser()


def known_checkpoints() -> dict[str, KnownCheckpoint]:
    """By name: the official SAM 2 and SAM 2.1 files, and the SurgSAM2 authors'."""
    entries = [
        KnownCheckpoint(
            name=f"{family}-hiera-{size}",
            config=f"{family}-hiera-{size}-512",
            filename=f"{family}_hiera_{size.replace('-', '_')}.pt",
            source="Meta, Apache-2.0, https://github.com/facebookresearch/sam2",
            url=f"{_PUBLIC}/{date}/{family}_hiera_{size.replace('-', '_')}.pt",
        )
        for family, date in (("sam2.1", "092824"), ("sam2", "072824"))
        for size in ("tiny", "small", "base-plus", "large")
    ]
    entries.append(
        KnownCheckpoint(
            name="surgsam2-hiera-small-512",
            config="surgsam2-hiera-small-512",
            filename="sam2.1_hiera_s_endo18.pth",
            source=f"the SurgSAM2 authors; follow the link to the weights in {_AUTHORS}",
        )
    )
    return {entry.name: entry for entry in entries}


def find_known(name: str) -> KnownCheckpoint | None:
    """The checkpoint for a model name, with or without a resolution (`…-512`, `…-1024`)."""
    known = known_checkpoints()
    return known.get(name) or known.get(re.sub("-(512|1024)$", "", name))


def download(name: str) -> Path:
    """Fetch a known checkpoint into the cache folder, unless it is there.

    Returns:
        Path of the complete file.

    Raises:
        InputError: no checkpoint of that name.
        DownloadError: no automatic source, no network, or an incomplete transfer.
    """
    entry = find_known(name)
    if entry is None:
        raise InputError(f"unknown model {name!r}; known: {', '.join(known_checkpoints())}")
    if entry.path.is_file():
        return entry.path
    if entry.url is None:
        raise DownloadError(
            f"{entry.name} has no direct download: get it from {entry.source}, then put it at "
            f"{entry.path}"
        )
    part = entry.path.with_name(entry.filename + ".part")
    try:
        entry.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _fetch(entry.url, part)
            if not zipfile.is_zipfile(part):  # a login page, for instance
                raise OSError("what came is not a checkpoint")
            part.replace(entry.path)
        finally:  # also after Ctrl-C
            part.unlink(missing_ok=True)
    except (OSError, HTTPException) as error:  # URLError and timeouts are OSErrors
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise DownloadError(
            f"could not download {entry.url} ({reason}); check the network, or fetch the file by "
            f"hand and put it at {entry.path}"
        ) from error
    return entry.path


def _fetch(url: str, target: Path) -> None:
    with (
        urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as response,
        target.open("wb") as file,
    ):
        total = int(response.headers.get("Content-Length") or 0)
        done = 0
        with tqdm(total=total or None, unit="B", unit_scale=True, desc=target.stem) as bar:
            while block := response.read(1 << 20):
                done += file.write(block)
                bar.update(len(block))
    if total and done != total:
        raise OSError(f"got {done} of {total} bytes")
