"""A scene file of a long run, written frame by frame.

Slicer keeps a scene in memory as a whole; here only one frame is held. MRML itself
writes a scene of the first frame. Its two sequence files are then replaced by ones that
grew during the run: the pixels of all frames, uncompressed, which go straight into the
archive, and one labelmap file per frame, each written by MRML.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO
from xml.etree import ElementTree
from zipfile import ZIP_STORED, ZipFile  # noqa: TID251  (writes, and reads what it wrote)

import numpy as np
import slicer

from surgsam2.errors import OutputError
from surgsam2.mrml.layout import show_in_red
from surgsam2.mrml.loading import load_video
from surgsam2.mrml.mask_nodes import MaskNodes
from surgsam2.mrml.scene_file import save_scene
from surgsam2.mrml.styles import ObjectStyle
from surgsam2.mrml.video_nodes import TIMES_ATTRIBUTE, times_to_text
from surgsam2.storage.atomic_file import replace, temporary_beside, writing
from surgsam2.storage.temporary import TemporaryFolder
from surgsam2.video import open_video

_VIDEO, _MASKS = "Video", "Segmentation"
_PIXELS = f"{_VIDEO}.raw"


class SceneStream:
    """Writes a ``.mrb`` file that opens in Slicer, from frames as they come.

    Args:
        path: the file; it appears when the scene is complete.
        fps: frames per second.
        styles: every object that masks may be given for.

    Raises:
        OutputError: the disk is full or cannot be written. The unfinished file is then removed.
    """

    def __init__(self, path: Path, fps: float, styles: Sequence[ObjectStyle]) -> None:
        self._path, self._fps, self._styles = path, fps, tuple(styles)
        self._numbers: list[int] = []
        self._scene: _FirstFrame | None = None
        self._part = temporary_beside(path)
        with contextlib.ExitStack() as opened, writing(path):
            self._folder = opened.enter_context(TemporaryFolder())
            self._masks = opened.enter_context(ZipFile(self._folder / "masks.zip", "w"))
            opened.callback(self._part.unlink, missing_ok=True)
            self._archive = opened.enter_context(ZipFile(self._part, "w", ZIP_STORED))
            name = f"{path.stem}/Data/{_PIXELS}"
            self._pixels: IO[bytes] = opened.enter_context(
                self._archive.open(name, "w", force_zip64=True)
            )
            self._opened = opened.pop_all()

    def add(self, number: int, frame: np.ndarray, masks: Mapping[int, np.ndarray]) -> None:
        """Append a frame.

        Args:
            number: index of the frame in the video; the numbers must ascend.
            frame: (H, W, 3) uint8 RGB.
            masks: (H, W) bool masks by object id.
        """
        with self._guarded():
            if self._scene is None:
                self._scene = _FirstFrame(frame, number, self._fps, self._styles)
            self._pixels.write(np.ascontiguousarray(frame).data)
            file = self._scene.write_masks(masks, self._folder)
            self._masks.write(file, f"{_MASKS}.seq/Data/{_mask_file(len(self._numbers))}")
            self._numbers.append(number)

    def close(self) -> None:
        """Complete the file; without a single frame there is none."""
        if self._scene is None:
            self.discard()
            return
        with self._guarded():
            self._pixels.close()
            self._scene.save(self._folder / self._path.name)
            with ZipFile(self._folder / self._path.name) as first:
                for entry in first.namelist():
                    if not entry.endswith("/"):
                        self._complete(entry, first.read(entry))
            self._archive.close()
            replace(self._part, self._path)
        self.discard()

    def discard(self) -> None:
        """Delete what is unfinished. May be called at any time, more than once."""
        self._scene = None
        # what was written does not matter any more, nor does a disk that is full
        with contextlib.suppress(OSError, ValueError):
            self._pixels.close()
        with contextlib.suppress(OSError, ValueError):
            self._opened.close()

    def _complete(self, entry: str, data: bytes) -> None:
        """Put a file of the first frame's scene into the archive, changed for all frames."""
        if entry.endswith(".seq.nrrd"):
            header = _header(data, self._numbers, self._fps)
            self._archive.writestr(entry.removesuffix("nrrd") + "nhdr", header)
        elif entry.endswith(".seq.mrb"):
            with self._archive.open(entry, "w", force_zip64=True) as target:
                self._write_masks_into(target, data)
        elif entry.endswith(".mrml"):
            self._archive.writestr(entry, data.replace(b".seq.nrrd", b".seq.nhdr"))
        else:
            self._archive.writestr(entry, data)

    def _write_masks_into(self, target: IO[bytes], first: bytes) -> None:
        with ZipFile(io.BytesIO(first)) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(".mrml"))
            self._masks.writestr(name, _mask_index(archive.read(name), self._numbers))
        self._masks.close()
        with (self._folder / "masks.zip").open("rb") as source:
            shutil.copyfileobj(source, target, 1 << 20)

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            with writing(self._path):
                yield
        except BaseException:
            self.discard()
            raise


class _FirstFrame:
    """The scene of the first frame, and the segmentation that every frame's file is made from."""

    def __init__(
        self, frame: np.ndarray, number: int, fps: float, styles: Sequence[ObjectStyle]
    ) -> None:
        self._scene = slicer.vtkMRMLScene()
        with open_video(frame[None], fps=fps) as video:
            nodes = load_video(self._scene, video, name=_VIDEO)
        assert nodes is not None  # nothing stopped it
        nodes.sequence.UpdateIndexValue("0", str(number))
        self._masks = MaskNodes.create(self._scene, nodes, _MASKS)
        for style in styles:
            self._masks.add_object(style.id, style.name, style.color, style.terminology)
        show_in_red(self._scene, nodes)

    def write_masks(self, masks: Mapping[int, np.ndarray], folder: Path) -> Path:
        """Write a segmentation file with one frame's masks; the next call overwrites it."""
        video = self._masks.video
        nothing = np.zeros((video.height, video.width), bool)
        self._masks.write(0, {s.id: masks.get(s.id, nothing) for s in self._masks.objects})
        path = folder / "frame.seg.nrrd"
        storage = slicer.vtkMRMLSegmentationStorageNode()
        storage.SetFileName(str(path))
        if not storage.WriteData(self._masks.proxy):
            raise OutputError(f"cannot write {path}: is there space on the disk?")
        return path

    def save(self, path: Path) -> None:
        """Write the scene of the first frame to a file."""
        save_scene(self._scene, path)


def _header(nrrd: bytes, numbers: Sequence[int], fps: float) -> str:
    """Return the header of a file with one frame, changed to name many frames in another file."""
    lines = nrrd[: nrrd.index(b"\n\n")].decode().splitlines()
    times = times_to_text(number / fps for number in numbers)
    return "\n".join(_header_line(line, numbers, times) for line in lines) + "\n"


def _header_line(line: str, numbers: Sequence[int], times: str) -> str:
    if line.startswith("sizes:"):
        return f"{line.rpartition(' ')[0]} {len(numbers)}"
    if line.startswith("encoding:"):
        return f"encoding: raw\ndata file: {_PIXELS}"
    key, found, _ = line.partition(":=")
    if found and key.endswith(" index values"):
        return f"{key}:={' '.join(map(str, numbers))}"
    return f"{key}:={times}" if found and key == TIMES_ATTRIBUTE else line


def _mask_index(mrml: bytes, numbers: Sequence[int]) -> bytes:
    """Return the list of segmentations of one frame, repeated for many frames."""
    root = ElementTree.fromstring(mrml)  # noqa: TID251
    node, storage, index = (
        _only(root, name) for name in ("Segmentation", "SegmentationStorage", "Sequence")
    )
    for element in (node, storage, index):
        root.remove(element)
    entries = []
    for k, number in enumerate(numbers):
        node_id = f"vtkMRMLSegmentationNode{k + 1}"
        storage_id = f"vtkMRMLSegmentationStorageNode{k + 1}"
        references = re.sub(r"\bstorage:[^;]*", f"storage:{storage_id}", node.get("references", ""))
        root.append(_like(node, id=node_id, references=references))
        root.append(_like(storage, id=storage_id, fileName=f"Data/{_mask_file(k)}"))
        entries.append(f"{node_id}:{number}")
    root.append(_like(index, indexValues=";".join(entries)))
    return ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)


def _only(root: ElementTree.Element, name: str) -> ElementTree.Element:
    (element,) = root.findall(name)
    return element


def _like(element: ElementTree.Element, **changes: str) -> ElementTree.Element:
    return ElementTree.Element(element.tag, {**element.attrib, **changes})


def _mask_file(k: int) -> str:
    return f"{_MASKS}_{k:05d}.seg.nrrd"
