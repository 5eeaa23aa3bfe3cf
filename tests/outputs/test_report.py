import hashlib
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import surgsam2
from surgsam2.errors import InputError, OutputError
from surgsam2.outputs import collect_versions, write_report
from surgsam2.storage.hashing import sha256_of


def test_values_become_plain_json(tmp_path):
    path = write_report(
        tmp_path,
        {
            "fps": Fraction(30000, 1001),
            "scores": np.array([0.5, np.nan], np.float64),
            "count": np.int64(3),
            "path": Path("a/b"),
            "inf": float("inf"),
            "nested": {1: ("ü", True, None)},
        },
    )
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "program": "surgsam2",
        "fps": "30000/1001",
        "scores": [0.5, None],
        "count": 3,
        "path": str(Path("a/b")),
        "inf": None,
        "nested": {"1": ["ü", True, None]},
    }
    assert list(tmp_path.iterdir()) == [path]


def test_an_unwritable_folder(tmp_path):
    with pytest.raises(OutputError, match=r"report\.json"):
        write_report(tmp_path / "none", {})


def test_versions():
    versions = collect_versions()
    assert versions["surgsam2"] == surgsam2.__version__
    assert versions["numpy"] == np.__version__
    assert {"python", "platform", "torch", "sam2", "monai", "av"} <= set(versions)


def test_hash(tmp_path):
    (tmp_path / "f").write_bytes(b"abc" * 1_000_000)
    assert sha256_of(tmp_path / "f") == hashlib.sha256(b"abc" * 1_000_000).hexdigest()
    with pytest.raises(InputError, match=r"cannot read .*none"):
        sha256_of(tmp_path / "none")


def test_nothing_heavy_is_imported():
    code = (
        "import sys, surgsam2.outputs, surgsam2.prompts; surgsam2.outputs.collect_versions();"
        "sys.exit(bool({'torch', 'sam2', 'monai', 'av', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
