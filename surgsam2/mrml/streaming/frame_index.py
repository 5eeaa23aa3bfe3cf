"""Makes a sequence with an item per frame and no pixels, which Slicer's browser plays."""

from __future__ import annotations

from typing import Any

import slicer

from surgsam2.errors import OutputError
from surgsam2.storage.atomic_file import writing
from surgsam2.storage.temporary import TEMPORARY_PLACE, TemporaryFolder

_SHARING = 256
"""Items that share a data node. One node for all would be slow: Slicer lists its users."""


def fill_index(sequence: Any, frame_count: int) -> None:
    """Give an empty ``vtkMRMLSequenceNode`` the items 0 to `frame_count` - 1.

    Every item needs a data node, and a node of its own for each of 100,000 frames takes
    Slicer minutes. Its file format lets items share one, so they are read from a file that
    is made for it: half a second and about 100 bytes an item.

    Raises:
        OutputError: there is no room for the temporary file.
    """
    scene = sequence.GetScene()
    storage = scene.AddNewNodeByClass("vtkMRMLSequenceStorageNode")
    try:
        with TemporaryFolder() as folder:
            path = folder / "index.seq.mrml"
            with writing(TEMPORARY_PLACE):
                path.write_text(_text(frame_count), encoding="ascii")
            storage.SetFileName(str(path))
            if not storage.ReadData(sequence) or sequence.GetNumberOfDataNodes() != frame_count:
                raise OutputError(f"cannot make an index of {frame_count} frames in {folder}")
    finally:
        scene.RemoveNode(storage)


def _text(frame_count: int) -> str:
    nodes = "".join(
        f'<ScriptedModule id="f{k}" name="frame"/>\n' for k in range(-(-frame_count // _SHARING))
    )
    values = ";".join(f"f{k // _SHARING}:{k}" for k in range(frame_count))
    index = slicer.vtkMRMLSequenceNode()
    return (
        '<MRML version="Slicer4.4.0" userTags="">\n'
        f'{nodes}<Sequence id="index" name="index" singletonTag="SequenceIndex" '
        f'indexName="frame" indexUnit="" indexType="{index.GetIndexTypeAsString()}" '
        f'numericIndexValueTolerance="{index.GetNumericIndexValueTolerance()}" '
        f'indexValues="{values}"/>\n</MRML>\n'
    )
