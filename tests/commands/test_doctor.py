"""`surgsam2 doctor` describes a working, an incomplete and a broken installation."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

import pytest
import torch

from surgsam2.commands import doctor
from tests.conftest import REPOSITORY


def run(capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, doctor.Finding], str]:
    """Return the exit code, the findings by subject, and the text after them."""
    parser = argparse.ArgumentParser()
    doctor.add_parser(parser.add_subparsers())
    args = parser.parse_args(["doctor"])
    code = args.run(args)
    printed = capsys.readouterr().out
    lines, _, rest = printed.partition("\n\n")
    findings = {}
    for line in lines.splitlines():
        finding = doctor.Finding(line[:8].strip(), line[9:33].strip(), line[34:].strip())
        findings[finding.subject] = finding
    return code, findings, rest


def broken_package(folder: Path, name: str, code: str, version: str = "9.9") -> None:
    """Install a package in a folder; its import runs `code`."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(code)
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_a_healthy_machine(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, findings, rest = run(capsys)
    assert code == 0
    assert rest == "Everything that is needed works.\n"
    assert {f.status for f in findings.values()} <= {"ok", "note"}
    for _, name, _ in doctor.REQUIRED:
        assert findings[name].status == "ok"
        assert findings[name].text
    assert findings["torch"].text == torch.__version__
    assert findings["device cpu"] == doctor.Finding("ok", "device cpu", "works")
    assert "model demo" in findings
    assert "downloaded models" in findings
    assert findings["temporary files"].status == "ok"


@pytest.mark.parametrize(("fast", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_the_precision_that_auto_means(
    fast: bool,
    precision: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("surgsam2.model.devices.has_fast_bfloat16", lambda: fast)
    _, findings, _ = run(capsys)
    assert findings["precision cpu"].status == "ok"
    assert findings["precision cpu"].text == f"{precision} where dtype is auto"


def test_downloaded_models_are_listed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURGSAM2_CACHE", str(tmp_path))
    assert run(capsys)[1]["downloaded models"].text == f"none in {tmp_path}"
    (tmp_path / "sam2_hiera_large.pt").touch()
    assert run(capsys)[1]["downloaded models"].text == f"sam2-hiera-large in {tmp_path}"


@pytest.mark.parametrize(("module", "name", "remedy"), doctor.REQUIRED)
def test_a_missing_package(
    module: str,
    name: str,
    remedy: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The report is complete and says what to install, whichever package is missing."""
    block(monkeypatch, module.partition(".")[0])
    if module == "torch":
        hide(monkeypatch, "sam2")
    code, findings, rest = run(capsys)
    assert code == 2
    assert findings[name] == doctor.Finding("missing", name, remedy)
    assert {f.subject for f in findings.values() if f.status == "ok"} >= {"python"}
    assert "to mend: do what the lines marked missing or broken say" in rest
    if module == "torch":
        assert findings["sam2"].text == "needs torch: pip install torch"
        assert "device cpu" not in findings
    assert "model demo" not in findings


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ImportError('libx.so: cannot open shared object')", "ImportError: libx.so: cannot"),
        ("raise OSError('wrong\\narchitecture')", "OSError: wrong; reinstall it"),
        ("raise RuntimeError", "RuntimeError: RuntimeError; reinstall it"),
        ("import av._nowhere", "ModuleNotFoundError: No module named 'av._nowhere'; reinstall"),
        ("raise ModuleNotFoundError('odd')", "ModuleNotFoundError: odd; reinstall it"),
        ("x = (", "SyntaxError: "),
    ],
)
def test_a_package_that_does_not_import(
    code: str,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hide(monkeypatch, "av")
    broken_package(tmp_path, "av", code)
    monkeypatch.syspath_prepend(tmp_path)
    exit_code, findings, rest = run(capsys)
    assert exit_code == 2
    assert findings["av"].status == "broken"
    assert words in findings["av"].text
    assert findings["av"].text.endswith("pip install av")
    assert rest.startswith("1 to mend")


def test_a_package_that_lacks_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, "av")
    broken_package(tmp_path, "av", "import no_such_package_here")
    monkeypatch.syspath_prepend(tmp_path)
    finding = run(capsys)[1]["av"]
    assert finding.status == "missing"
    assert finding.text == "needs no_such_package_here: pip install no_such_package_here"


def test_optional_packages_are_only_notes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    optional = [(f"absent-{name}", purpose) for name, purpose in doctor.OPTIONAL]
    monkeypatch.setattr(doctor, "OPTIONAL", optional)
    code, findings, _ = run(capsys)
    assert code == 0
    assert [findings[name] for name, _ in optional] == [
        doctor.Finding("note", name, purpose) for name, purpose in optional
    ]
    assert any("pip install 'monai[fire,ignite]'" in f.text for f in findings.values())


def test_a_device_that_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surgsam2.model.devices.available_devices", lambda: ["cpu", "cuda:99"])
    code, findings, _ = run(capsys)
    assert code == 2
    assert findings["device cpu"].status == "ok"
    assert findings["device cuda:99"].status == "broken"
    assert findings["device cuda:99"].text.endswith("update its driver")


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Forget until the end of the test that a package was imported."""
    for name in [n for n in sys.modules if n == package or n.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)


class _Absent(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {self.package!r}", name=self.package)


def block(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Let a package look as if it were not installed until the end of the test."""
    hide(monkeypatch, package)
    monkeypatch.setattr(sys, "meta_path", [_Absent(package), *sys.meta_path])


EVERYTHING = """
import json, sys
import numpy as np
import surgsam2
from surgsam2.commands import doctor
for name in [*surgsam2.__all__, "data", "evaluation", "outputs", "video"]:
    getattr(surgsam2, name)
import surgsam2.job.run
model = surgsam2.load_model("demo", device="cpu")
tracker = surgsam2.Tracker(model, 64, 48)
prompts = surgsam2.PromptSet().add(object_id=1, frame=0, points=[[30, 20, 1]])
frame = np.full((48, 64, 3), 90, np.uint8)
masks = [tracker.step(frame, prompts).masks.shape for _ in range(2)]
code = doctor.run(None)
loaded = [name for name in sys.modules if name.split(".")[0] == "torchvision"]
print(json.dumps({"code": code, "masks": masks, "loaded": loaded}))
"""


def test_a_broken_torchvision_is_never_touched(tmp_path: Path) -> None:
    """Importing one that does not match torch can end the process."""
    trace = tmp_path / "trace"
    code = f"open({str(trace)!r}, 'w').close()\nimport os\nos.abort()\n"
    broken_package(tmp_path / "site", "torchvision", code, "0.1.2")
    path = os.pathsep.join([str(tmp_path / "site"), str(REPOSITORY)])
    environment = {**os.environ, "PYTHONPATH": path}
    check = subprocess.run(
        [sys.executable, "-c", EVERYTHING],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert not trace.exists(), "torchvision was imported"
    assert check.returncode == 0, check.stderr
    found = json.loads(check.stdout.splitlines()[-1])
    assert found == {"code": 0, "masks": [[1, 48, 64]] * 2, "loaded": []}
    assert "0.1.2 is installed; surgsam2 does not use it" in check.stdout
