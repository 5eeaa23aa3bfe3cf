"""`import surgsam2` is quick, needs none of the heavy packages, and never loads torchvision."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import surgsam2
from surgsam2.errors import MissingDependencyError, missing_dependency
from tests.conftest import REPOSITORY

HEAVY = ("torch", "torchvision", "sam2", "cv2", "av", "hydra", "omegaconf", "SimpleITK", "PIL")
NEEDED = dict.fromkeys(
    ("EFP", "Tracker", "correct_results", "load_model", "segment_to_folder", "segment_video"),
    "torch",
) | {"review_output": "PIL", "to_coco": "cv2", "to_pandas": "cv2"}
"""The package that a name lacks first."""

WITHOUT_HEAVY_PACKAGES = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_without_the_heavy_packages() -> None:
    found = json.loads(
        python(
            f"""{WITHOUT_HEAVY_PACKAGES}
import json
import surgsam2
names = dir(surgsam2)
refusals = {{}}
for name in surgsam2.__all__:
    try:
        getattr(surgsam2, name)
    except surgsam2.SurgSAM2Error as error:
        refusals[name] = [type(error).__name__, str(error)]
prompts = surgsam2.PromptSet().add(object_id=1, frame=0, points=[[1, 2, 1]])
print(json.dumps({{"names": names, "refusals": refusals, "objects": len(prompts)}}))
"""
        )
    )
    assert {*surgsam2.__all__, "evaluation", "data", "outputs", "video"} <= set(found["names"])
    assert found["objects"] == 1
    assert set(found["refusals"]) == set(NEEDED)
    for name, (kind, message) in found["refusals"].items():
        assert kind == "MissingDependencyError"
        assert message == (
            f"surgsam2.{name} needs the package '{NEEDED[name]}', which is not installed or is "
            f"broken (No module named '{NEEDED[name]}'); to see what to do, run: surgsam2 doctor"
        )


def test_nothing_heavy_is_loaded() -> None:
    code = "import sys, json, surgsam2; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(python(code))
    assert "surgsam2" in modules
    assert not {name.partition(".")[0] for name in modules} & {*HEAVY, "numpy", "scipy", "monai"}


def test_it_is_quick() -> None:
    """Under half a second: the best of a few runs, so that a busy machine does not fail it."""
    code = "import time; t = time.perf_counter(); import surgsam2; print(time.perf_counter() - t)"
    best = 9e9
    for _ in range(5):
        best = min(best, float(python(code)))
        if best < 0.5:
            break
    assert best < 0.5


def test_public_names() -> None:
    assert len(surgsam2.__all__) == len(set(surgsam2.__all__))
    for name in surgsam2.__all__:
        assert getattr(surgsam2, name) is not None
        assert name in dir(surgsam2)
    for name in ("data", "evaluation", "outputs", "video"):
        assert getattr(surgsam2, name).__name__ == f"surgsam2.{name}"
    namespace: dict[str, object] = {}
    exec("from surgsam2 import *", namespace)
    assert {*surgsam2.__all__} <= namespace.keys()
    with pytest.raises(AttributeError, match="module 'surgsam2' has no attribute 'loadmodel'"):
        _ = surgsam2.loadmodel
    assert not hasattr(surgsam2, "_nothing")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise OSError('libcudart.so.12: cannot open shared object file')", "libcudart.so.12"),
        ("raise ImportError('DLL load failed\\nwhile importing', name='torch._C')", "DLL load"),
    ],
)
def test_a_torch_that_is_broken(tmp_path: Path, code: str, words: str) -> None:
    (tmp_path / "torch.py").write_text(code)
    message = python(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import surgsam2\n"
        "try:\n    surgsam2.load_model\n"
        "except surgsam2.SurgSAM2Error as error:\n    print(type(error).__name__, error, end='')"
    )
    assert message.startswith("MissingDependencyError surgsam2.load_model needs ")
    assert words in message
    assert message.endswith("run: surgsam2 doctor")
    assert "\n" not in message


def test_a_module_of_our_own_that_is_missing_is_no_missing_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = ModuleNotFoundError("No module named 'surgsam2.nowhere'", name="surgsam2.nowhere")
    assert missing_dependency(ours, "x") is None
    monkeypatch.setitem(surgsam2._LAZY, "nowhere", "surgsam2.nowhere")
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        _ = surgsam2.nowhere
    assert isinstance(missing_dependency(OSError(), "x"), MissingDependencyError)


def test_torchvision_stays_out() -> None:
    """With everything public imported and a frame tracked; torchvision may be installed here."""
    modules = json.loads(
        python(
            """
import json, sys
import numpy as np
import surgsam2
for name in [*surgsam2.__all__, "data", "evaluation", "outputs", "video"]:
    getattr(surgsam2, name)
import surgsam2.job.run
model = surgsam2.load_model("demo", device="cpu")
prompts = surgsam2.PromptSet().add(object_id=1, frame=0, box=[10, 10, 40, 30])
video = np.full((2, 48, 64, 3), 90, np.uint8)
assert len(list(surgsam2.segment_video(model, video, prompts))) == 2
print(json.dumps(sorted(sys.modules)))
"""
        )
    )
    assert "torch" in modules
    assert "torchvision" not in modules
    assert not [name for name in modules if name.startswith("torchvision.")]
