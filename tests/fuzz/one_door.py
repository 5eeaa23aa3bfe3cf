"""Fuzzes one door with coverage: python -m tests.fuzz.one_door NAME FOLDER... [OPTION...].

The first folder takes new inputs; options are those of libFuzzer. `python -m tests.fuzz` starts it.
"""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["surgsam2"], enable_loader_override=False):
    from tests.fuzz.doors import DOORS, MRML, import_mrml

    if sys.argv[1] in MRML:
        import_mrml()


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    logging.disable()
    door = next(door for door in DOORS if door.name == sys.argv[1])
    folder = Path(tempfile.mkdtemp(prefix="surgsam2-fuzz-"))

    def one_input(data: bytes) -> None:
        place = folder / "input"
        try:
            door.accepts(data, place)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    try:
        atheris.Setup([sys.argv[0], *sys.argv[2:]], one_input)
        atheris.Fuzz()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
