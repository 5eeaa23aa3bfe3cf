"""The job array for Slurm in docs/many-videos.md, with a `scontrol` that takes notes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cluster.helpers import files_of, write_list
from tests.conftest import REPOSITORY

DOCUMENTED_PARTS, PARTS = 16, 2


@pytest.mark.nightly  # several starts of the command with the built-in model
def test_a_job_array_that_reaches_its_time_limit(tmp_path: Path) -> None:
    """The first job is told to end, is queued again, and goes on; then the parts are merged."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    page = (REPOSITORY / "docs" / "many-videos.md").read_text(encoding="utf-8")
    script = re.findall(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", page, re.DOTALL)[0]
    assert f"#SBATCH --array=1-{DOCUMENTED_PARTS}" in script
    job = tmp_path / "job.sh"
    job.write_text(script.replace(f"/{DOCUMENTED_PARTS}", f"/{PARTS}").replace("OUT", "out"))
    programs, path = tmp_path / "bin", write_list(tmp_path, ["a", "b"])
    path.rename(tmp_path / "videos.json")
    programs.mkdir()
    for name, text in (
        ("surgsam2", f'exec "{sys.executable}" -m surgsam2 "$@"'),
        ("scontrol", f'echo "$@" >> "{tmp_path}/requeued"'),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)

    def start(part: int) -> subprocess.Popen[bytes]:
        env = os.environ | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": f"{REPOSITORY}:{os.environ.get('PYTHONPATH', '')}",
            "SLURM_ARRAY_TASK_ID": str(part),
            "SLURM_JOB_ID": f"70{part}",
        }
        return subprocess.Popen(["bash", str(job)], cwd=tmp_path, env=env)

    first = start(1)
    while not (tmp_path / "out" / "summary-1-of-2.json").exists():
        assert first.poll() is None
        time.sleep(0.1)
    first.send_signal(signal.SIGTERM)
    first.wait()
    assert (tmp_path / "requeued").read_text() == "requeue 701\n"
    summary = json.loads((tmp_path / "out" / "summary-1-of-2.json").read_text())
    assert summary["status"] == "interrupted"
    assert [start(part).wait() for part in (1, 2)] == [0, 0]
    merged = [str(programs / "surgsam2"), "merge", str(tmp_path / "out")]
    assert subprocess.run(merged, cwd=REPOSITORY, check=False).returncode == 0
    rows = json.loads((tmp_path / "out" / "summary.json").read_text())["videos"]
    assert sorted((row["output"], row["status"]) for row in rows) == [
        ("a", "complete"),
        ("b", "complete"),
    ]
    assert files_of(tmp_path / "out" / "a").keys() == files_of(tmp_path / "out" / "b").keys()
