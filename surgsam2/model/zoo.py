"""Known checkpoints: their sources, and their place on this machine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from surgsam2.errors import DownloadError, InputError
from surgsam2.model.transfer import fetch
from surgsam2.storage.folder_lock import exclusive
from surgsam2.storage.hashing import sha256_of

_PUBLIC = "https://dl.fbaipublicfiles.com/segment_anything_2"
_AUTHORS = "https://github.com/jinlab-imvr/Surgical-SAM-2"
_SHA256 = {
    "sam2.1-hiera-tiny": "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69",
    "sam2.1-hiera-small": "6d1aa6f30de5c92224f8172114de081d104bbd23dd9dc5c58996f0cad5dc4d38",
    "sam2.1-hiera-base-plus": "a2345aede8715ab1d5d31b4a509fb160c5a4af1970f199d9054ccfb746c004c5",
    "sam2.1-hiera-large": "2647878d5dfa5098f2f8649825738a9345572bae2d4350a2468587ece47dd318",
    "sam2-hiera-tiny": "65b50056e05bcb13694174f51bb6da89c894b57b75ccdf0ba6352c597c5d1125",
    "sam2-hiera-small": "95949964d4e548409021d47b22712d5f1abf2564cc0c3c765ba599a24ac7dce3",
    "sam2-hiera-base-plus": "d0bb7f236400a49669ffdd1be617959a8b1d1065081789d7bbff88eded3a8071",
    "sam2-hiera-large": "7442e4e9b732a508f80e141e7c2913437a3610ee0c77381a66658c3a445df87b",
}

_SIZES = {
    "tiny": (38_962_498, "the smallest for real video; start with it on a CPU or for live video"),
    "small": (46_060_354, "recommended for real video; -512 behind the name is faster"),
    "base-plus": (80_850_178, "larger and slower; wants a GPU"),
    "large": (224_446_642, "the largest and slowest; wants a GPU"),
}
"""Number of parameters, and advice, by the size of the image encoder."""
_SAM2_PARAMETERS = 16_512  # parameters that SAM 2 lacks and SAM 2.1 has


@dataclass(frozen=True)
class KnownCheckpoint:
    """A published checkpoint."""

    name: str
    """Name of the model."""
    config: str
    """Name of its configuration."""
    filename: str
    """Name of the file in the cache folder."""
    source: str
    """Publisher, licence and address, for messages."""
    parameters: int
    """Number of parameters; the file has four bytes for each."""
    advice: str
    """What the model is good for."""
    url: str | None = None
    """https address of the file; None where it has to be fetched by hand."""
    sha256: str | None = None
    """SHA-256 of the published file, 64 hexadecimal digits; None where none is known."""

    @property
    def path(self) -> Path:
        """Path of the file on this machine, whether it exists or not."""
        return cache_folder() / self.filename


def cache_folder() -> Path:
    """Return ``$SURGSAM2_CACHE``, or ``~/.cache/surgsam2`` where that is not set."""
    return Path(os.environ.get("SURGSAM2_CACHE") or "~/.cache/surgsam2").expanduser()


def known_checkpoints() -> dict[str, KnownCheckpoint]:
    """Return the files of SAM 2, SAM 2.1 and the SurgSAM2 authors by name."""
    entries = [
        KnownCheckpoint(
            name=f"{family}-hiera-{size}",
            config=f"{family}-hiera-{size}-512",
            filename=f"{family}_hiera_{size.replace('-', '_')}.pt",
            source="Meta, Apache-2.0, https://github.com/facebookresearch/sam2",
            parameters=_SIZES[size][0] - (_SAM2_PARAMETERS if family == "sam2" else 0),
            advice=_SIZES[size][1] if family == "sam2.1" else "the earlier release of SAM 2.1",
            url=f"{_PUBLIC}/{date}/{family}_hiera_{size.replace('-', '_')}.pt",
            sha256=_SHA256[f"{family}-hiera-{size}"],
        )
        for family, date in (("sam2.1", "092824"), ("sam2", "072824"))
        for size in ("tiny", "small", "base-plus", "large")
    ]
    entries.append(
        KnownCheckpoint(
            name="surgsam2-hiera-small-512",
            config="surgsam2-hiera-small-512",
            filename="sam2.1_hiera_s_endo18.pth",
            parameters=_SIZES["small"][0],
            advice="fine-tuned on surgical video (EndoVis 2018) by the SurgSAM2 authors",
            source=f"the SurgSAM2 authors; follow the link to the weights in {_AUTHORS}",
        )
    )
    return {entry.name: entry for entry in entries}


def find_known(name: str) -> KnownCheckpoint | None:
    """Return the checkpoint of a name with or without a resolution (`…-512`), or None."""
    known = known_checkpoints()
    return known.get(name) or known.get(re.sub("-(512|1024)$", "", name))


def download(name: str) -> Path:
    """Download a known checkpoint into the cache folder, unless it is there.

    Only https is used, also after redirection. An interrupted transfer is continued. The file
    gets its name once its SHA-256 is the published one.

    Args:
        name: of the checkpoint, with or without a resolution.

    Returns:
        Path of the complete file.

    Raises:
        InputError: no checkpoint of that name.
        DownloadError: no address, no network, an incomplete transfer, another file than the
            published one, or a second download at the same time.
    """
    entry = find_known(name)
    if entry is None:
        if name == "demo":
            raise InputError("the model demo is built in; there is nothing to download")
        raise InputError(f"unknown model {name!r}; known: {', '.join(known_checkpoints())}")
    if entry.path.is_file():
        return entry.path
    if entry.url is None:
        raise DownloadError(
            f"{entry.name} has no direct download: get it from {entry.source}, then put it at "
            f"{entry.path}"
        )
    try:
        entry.path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(entry.path.parent / "download.lock"):
            part = entry.path.with_name(entry.filename + ".part")
            fetch(entry.url, part)
            if sha256_of(part) != entry.sha256:
                part.unlink()
                raise OSError("the received file is not the published one: its SHA-256 differs")
            part.replace(entry.path)
    except BlockingIOError as error:
        raise DownloadError(
            f"another download into {entry.path.parent} is under way; wait until it has finished"
        ) from error
    except (OSError, HTTPException) as error:  # URLError and timeouts are OSErrors
        reason = " ".join(str(getattr(error, "reason", error)).split())
        raise DownloadError(
            f"could not download {entry.url} ({reason}); check the network, or fetch the file by "
            f"hand and put it at {entry.path}"
        ) from error
    return entry.path
