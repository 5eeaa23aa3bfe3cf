"""The videos that can be annotated in one run of the server, and the one that is open."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from surgsam2.annotate.engine_link import EngineLink
from surgsam2.annotate.frames import FramePictures
from surgsam2.annotate.project import Project
from surgsam2.annotate.session import Send, Session
from surgsam2.errors import InputError, VideoError
from surgsam2.prompts.object_class import ClassList
from surgsam2.video import VIDEO_SUFFIXES, open_video


def find_videos(folder: Path) -> dict[str, Path]:
    """Return the videos of a folder by name, in alphabetical order; hidden files do not count.

    Raises:
        VideoError: the folder cannot be listed.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    except OSError as error:
        raise VideoError(f"{folder}: cannot list the folder ({error.strerror})") from error
    return {path.name: path for path in files if path.is_file() and not path.name.startswith(".")}


class VideoChooser:
    """Opens one of several videos at a time. Use it in a ``with`` block.

    Args:
        videos: the path of each video by its name.
        folder: returns the project folder of a video.
        engine: the engine, which belongs to the chooser and stays when another video is opened.
        classes: the classes that objects get by their names.

    Raises:
        VideoError: the first video cannot be read.
        OutputError: its folder cannot be used.
    """

    def __init__(
        self,
        videos: Mapping[str, Path],
        folder: Callable[[Path], Path],
        engine: EngineLink,
        classes: ClassList | None = None,
    ) -> None:
        self._videos, self._folder = dict(videos), folder
        self._classes = classes
        self.engine = engine
        """The engine."""
        self._resources = ExitStack()
        self._run = secrets.token_hex(4)
        self._number = 0
        self._running = False
        self._open(next(iter(self._videos)))

    def __enter__(self) -> VideoChooser:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._resources.close()
        finally:
            self.engine.close()

    @property
    def key(self) -> str:
        """Part of the addresses of the open video's frames, which browsers keep.

        Each video has another one, and in each run, which may listen at the same port.
        """
        return f"{self._run}-{self._number}"

    def start(self) -> None:
        """Start the engine."""
        self._running = True
        self.session.start()

    def open(self, name: str) -> None:
        """Open another video and close the one before, whose project is saved.

        If that is refused, the video before stays open.

        Raises:
            InputError: there is no such video.
            VideoError: it cannot be read.
            OutputError: its folder cannot be used, or the project cannot be saved.
        """
        if name not in self._videos:
            raise InputError(f"there is no video {name!r} here")
        send = self.session.disconnect()
        try:
            if name != self._name:
                self.session.project.save()
                self._open(name)
        finally:
            if send is not None:
                self.connect(send)

    def connect(self, send: Send) -> None:
        """Connect the page; it gets the whole state at once."""
        names = list(self._videos)
        self.session.connect(send, {"key": self.key, "videos": names, "chosen": self._name})

    def _open(self, name: str) -> None:
        path = self._videos[name]
        with ExitStack() as resources:
            video = resources.enter_context(open_video(path))
            size = (video.width, video.height, video.frame_count)
            folder = self._folder(path)
            project = resources.enter_context(Project(folder, *size, self._classes))
            self.session = Session(video, path.absolute(), project, self.engine)
            """The session of the open video."""
            self.pictures = FramePictures(video)
            """The frames of the open video."""
            resources.callback(self.pictures.close)
            resources.callback(self.session.close)
            before, self._resources = self._resources, resources.pop_all()
        self._name, self._number = name, self._number + 1
        try:
            before.close()
        finally:
            if self._running:
                self.session.start()
