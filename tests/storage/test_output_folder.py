"""Links in an output folder do not lead a run to files elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from surgsam2.errors import OutputError
from surgsam2.storage.output_folder import RESUME, hold_output


@pytest.mark.parametrize("name", [".surgsam2", "masks", ".resume", ".resume/results.spool"])
def test_a_linked_file_of_an_earlier_run_is_refused(name: str, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"")
    folder = tmp_path / "out"
    with hold_output(folder):
        (folder / RESUME).mkdir()
    link = folder / name
    if link.is_dir():
        link.rmdir()
    link.unlink(missing_ok=True)
    link.symlink_to(precious)
    (folder / "report.json").write_text('{"program": "surgsam2"}')
    with (
        pytest.raises(OutputError, match=f"{link}: it is a link to another place"),
        hold_output(folder),
    ):
        pass
    assert precious.read_bytes() == b""
