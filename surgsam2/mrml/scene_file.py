"""Saves scenes to files and loads them."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from surgsam2.errors import InputError, OutputError
from surgsam2.mrml.nodes import prepare_scene
from surgsam2.mrml.scene_check import BUNDLE, DESCRIPTION, check_scene
from surgsam2.mrml.scene_reading import read_description
from surgsam2.mrml.scene_trial import try_scene
from surgsam2.storage.archive import unpacked
from surgsam2.storage.atomic_file import replace, writing
from surgsam2.storage.temporary import TemporaryFolder


def save_scene(scene: Any, path: str | PathLike[str]) -> None:
    """Write everything in a scene to one ``.mrb`` file, or leave the file that was there.

    Raises:
        InputError: the name does not end in ``.mrb``.
        OutputError: the file cannot be written.
    """
    path = Path(path).absolute()  # the archive is packed from another folder
    _check_suffix(path)
    prepare_scene(scene)
    with writing(path), TemporaryFolder(beside=path) as folder:
        # the file's name goes into the archive, hence a folder rather than another name
        temporary = folder / path.name
        if not scene.WriteToMRB(str(temporary), None) or not temporary.is_file():
            raise OutputError(
                f"cannot write {path}: the scene could not be packed; is there space on the disk?"
            )
        replace(temporary, path)


def load_scene(scene: Any, path: str | PathLike[str]) -> None:
    """Add everything in a ``.mrb`` file to a scene; clear the scene first to replace it.

    The file may come from a stranger. Its members are checked and unpacked into a private
    folder, which is removed again. Another process reads the scene first, and only a scene that
    it could read is read here. That takes the time of reading twice, and some seconds. Opening
    a file by *Add data* in Slicer does none of this.

    Raises:
        InputError: there is no such file, or it is no scene, or a damaged or hostile one. The
            scene is then as it was.
        OutputError: the folder for temporary files has too little room.
    """
    path = Path(path).absolute()
    _check_suffix(path)
    if not path.is_file():
        raise InputError(f"there is no scene file {path}")
    prepare_scene(scene)
    with unpacked(path) as folder:
        files = check_scene(folder.resolve(), path)
        classes = {scene.GetClassNameByTag(tag) for tag in files.tags} - {None}
        try_scene(files, sorted(classes), path)
        try:
            read_description(scene, files.description)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        finally:
            _move(scene, files.description, path)


def _move(scene: Any, description: Path, path: Path) -> None:
    """Tell the scene that its files are in the archive, because the unpacked ones are removed."""
    scene.SetURL(str(path.with_suffix(DESCRIPTION)))
    scene.SetRootDirectory(str(path.parent))
    folder = f"{description.parent.as_posix()}/"
    nodes = scene.GetNodesByClass("vtkMRMLStorageNode")
    for index in range(nodes.GetNumberOfItems()):
        node = nodes.GetItemAsObject(index)
        name = node.GetFileName()
        if name and name.startswith(folder):
            node.SetFileName(name.removeprefix(folder))
        for k in range(node.GetNumberOfFileNames()):
            name = node.GetNthFileName(k)
            if name.startswith(folder):
                node.ResetNthFileName(k, name.removeprefix(folder))
    scene.SetStorableNodesModifiedSinceRead()


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() != BUNDLE:
        raise InputError(f"a scene file ends in {BUNDLE}, got {path.name!r}")
