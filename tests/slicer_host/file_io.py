"""`slicer.app.coreIOManager()`: chooses the reader of a file and loads it."""

from __future__ import annotations

import fnmatch
import logging
import os
import re
from pathlib import Path
from typing import Any

import slicer
import vtk


class ScriptedFileReader:
    """The C++ object that a `<Module>FileReader` class gets as `parent`."""

    def __init__(self, python_class: type) -> None:
        self.loadedNodes: list[str] = []
        self._messages: Any = slicer.vtkMRMLMessageCollection()
        self._python = python_class(self)

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def userMessages(self) -> Any:
        return self._messages

    def description(self) -> str:
        return self._string("description")

    def fileType(self) -> str:
        return self._string("fileType")

    def extensions(self) -> list[str]:
        found = self._python.extensions()
        if not isinstance(found, list):
            logging.warning("extensions() must return a list, got %r", found)
            return []
        return found

    def supportedNameFilters(self, path: str) -> list[str]:
        return [name_filter for name_filter, _ in self._matches(path)]

    def canLoadFileConfidence(self, path: str) -> float:
        """Return the reader's confidence; 0.0 when it is no float, as in Slicer."""
        if hasattr(self._python, "canLoadFileConfidence"):
            confidence = self._python.canLoadFileConfidence(path)
            return confidence if type(confidence) is float else 0.0
        if hasattr(self._python, "canLoadFile") and self._python.canLoadFile(path) is not True:
            return 0.0
        matches = self._matches(path)
        return 0.5 + 0.01 * max(length for _, length in matches) if matches else 0.0

    def load(self, properties: dict[str, Any]) -> bool:
        """Return whether the reader returned True; False when it raised, as in Slicer."""
        self.loadedNodes = []
        try:
            return self._python.load(dict(properties)) is True
        except Exception:
            logging.exception("the file reader raised")
            return False

    def _string(self, method: str) -> str:
        found = getattr(self._python, method)()
        if not isinstance(found, str):
            logging.warning("%s() must return a string, got %r", method, found)
            return ""
        return found

    def _matches(self, path: str) -> list[tuple[str, int]]:
        """Return name filter and length of extension of every filter that matches the file."""
        file = Path(path)
        if not file.is_file() or not os.access(file, os.R_OK) or "~" in file.suffix:
            return []
        found = []
        for name_filter in self.extensions():
            inside = re.search(r"\(([^)]*)\)", name_filter)
            for pattern in (inside.group(1) if inside else name_filter).split():
                if fnmatch.fnmatch(file.name.lower(), pattern.lower()):
                    found.append((name_filter, len(pattern.replace("*", ""))))
        return found


class CoreIOManager:
    """Knows the readers of scripted modules; Slicer's own readers are missing."""

    def __init__(self) -> None:
        self._readers: list[ScriptedFileReader] = []

    def register(self, reader: ScriptedFileReader) -> None:
        self._readers = [known for known in self._readers if known.fileType() != reader.fileType()]
        self._readers.append(reader)

    def unregister(self, file_type: str) -> None:
        self._readers = [known for known in self._readers if known.fileType() != file_type]

    def registeredFileReaderCount(self, file_type: str) -> int:
        return sum(reader.fileType() == file_type for reader in self._readers)

    def fileTypes(self, path: str) -> list[str]:
        """Return the types of the readers that would load the file, the best one first."""
        rated = [
            (reader.canLoadFileConfidence(path), reader.fileType()) for reader in self._readers
        ]
        return [kind for confidence, kind in sorted(rated, reverse=True) if confidence > 0]

    def fileType(self, path: str) -> str:
        return next(iter(self.fileTypes(str(path))), "NoFile")

    def allReadableFileExtensions(self) -> list[str]:
        return [pattern for reader in self._readers for pattern in reader.extensions()]

    def loadNodes(
        self, file_type: str, properties: dict[str, Any], loaded: Any = None, messages: Any = None
    ) -> bool:
        """Load a file with the reader of this type that has the highest confidence."""
        path = properties["fileName"]
        messages = messages or slicer.vtkMRMLMessageCollection()
        fitting = [reader for reader in self._readers if reader.fileType() == file_type]
        fitting.sort(key=lambda reader: reader.canLoadFileConfidence(path), reverse=True)
        for reader in fitting:
            reader.userMessages().ClearMessages()
            if reader.canLoadFileConfidence(path) <= 0:
                continue
            done = reader.load(properties)
            messages.AddMessages(reader.userMessages(), f"Loading {path} - ")
            if done:
                for node_id in reader.loadedNodes if loaded is not None else []:
                    loaded.AddItem(slicer.mrmlScene.GetNodeByID(node_id))
                return True
        if not messages.GetNumberOfMessages():
            messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"Loading {path} load failed.")
        return False
