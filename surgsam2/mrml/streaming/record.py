"""Stores in a scene where a streamed video and its masks are, and finds them again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from surgsam2.errors import InputError
from surgsam2.mrml.attribute_text import attribute_text
from surgsam2.mrml.video_nodes import STREAM_ATTRIBUTE
from surgsam2.storage.hashing import quick_fingerprint
from surgsam2.storage.json_text import parse_json
from surgsam2.storage.output_folder import token_of
from surgsam2.video.image_folder import find_images

_DEPTH = 4  # folders between a file and the scene's, when both were moved together


class FilesMovedError(InputError):
    """A file or folder that a streamed video needs is not where it was.

    `relocate` tells the scene its new place.

    Args:
        message: the text for the user.
        path: where the file or folder was.
        video: True when the video is missing, False when the folder of masks is.
    """

    def __init__(self, message: str, path: str, *, video: bool) -> None:
        super().__init__(message)
        self.path = path
        """Where the file or folder was."""
        self.video = video
        """True when the video is missing, False when the folder of masks is."""


@dataclass(frozen=True)
class Record:
    """The files of a streamed video, as the scene stores them."""

    video: str
    """Absolute path with forward slashes, of a file or a folder of images."""
    fingerprint: str
    """`fingerprint_of` the video."""
    masks: str
    """Absolute path of the folder that has the label images in ``masks``."""
    token: str = ""
    """The folder's token; see `give_token`. A scene without the right one, such as a stranger's,
    cannot choose a folder. Scenes of earlier versions have none."""

    @staticmethod
    def of(browser: Any) -> Record | None:
        """Return the record of a browser; None when its video is not streamed.

        Raises:
            InputError: the record is damaged.
        """
        text = browser.GetAttribute(STREAM_ATTRIBUTE)
        if text is None:
            return None
        try:
            values = parse_json(text)
            if not all(isinstance(value, str) and "\0" not in value for value in values):
                raise TypeError("a value is not text")
            return Record(*values)
        except (ValueError, TypeError) as error:
            raise InputError(
                f"the scene's record of where the video of {browser.GetName()!r} is was damaged; "
                "open the video anew"
            ) from error

    def store(self, browser: Any) -> None:
        """Store the record in a browser."""
        browser.SetAttribute(STREAM_ATTRIBUTE, attribute_text(astuple(self)))

    def found(self, scene: Any) -> Record:
        """Return the record with the present places: the old ones, or relative to the scene file.

        Raises:
            FilesMovedError: something is not there, or another video is in its place.
        """
        video = next((p for p in _places(self.video, scene) if self._is_video(p)), None)
        if video is None:
            there = Path(self.video).exists()
            what = "another file is now in the place of" if there else "there is no longer"
            raise FilesMovedError(
                f"{what} the video {self.video}, nor is it beside the scene; put it back, or say "
                "where it is now (relocate)",
                self.video,
                video=True,
            )
        places = [place for place in _places(self.masks, scene) if place.is_dir()]
        masks = next(
            (place for place in places if self.token and token_of(place) == self.token), None
        )
        if masks is None:
            problem = (
                f"the scene does not prove that {self.masks} is the folder that it was made with, "
                f"where the masks of {video.name} are written; if it is, choose it"
                if places
                else f"there is no longer the folder {self.masks} with the masks of {video.name}, "
                "nor is it beside the scene; put it back, or say where it is now"
            )
            raise FilesMovedError(f"{problem} (relocate)", self.masks, video=False)
        return replace(self, video=video.as_posix(), masks=masks.as_posix())

    def _is_video(self, path: Path) -> bool:
        try:
            return fingerprint_of(path) == self.fingerprint
        except InputError:
            return False


def fingerprint_of(video: Path) -> str:
    """Return the `quick_fingerprint` of a video file, or of the images in a folder.

    Raises:
        InputError: the file or folder cannot be read.
    """
    try:
        return quick_fingerprint(find_images(video).paths if video.is_dir() else [video])
    except OSError as error:
        raise InputError(f"cannot read {video}: {error}") from error


def _places(path: str, scene: Any) -> Iterator[Path]:
    """Yield the path itself, then its last parts in the scene's folder and in the one above."""
    yield Path(path)
    root = scene.GetRootDirectory()
    if not root:
        return
    parts = PurePosixPath(path).parts
    for base in (Path(root), Path(root).parent):
        for count in range(1, min(_DEPTH, len(parts) - 1) + 1):
            yield base.joinpath(*parts[-count:])
