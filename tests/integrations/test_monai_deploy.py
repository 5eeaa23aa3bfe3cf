"""The application for MONAI Deploy, with stand-ins for its classes, which need Holoscan."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from pydicom.uid import generate_uid

import surgsam2
from tests.video.test_dicom import a_video, stream


class Operator:
    """What an operator does when it is made: it calls `setup`."""

    def __init__(self, fragment: Any, *args: Any, name: str = "") -> None:
        self.setup(None)

    def setup(self, spec: Any) -> None:
        raise NotImplementedError


class Application:
    """An application that runs its operators one after the other."""

    argv: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._operators: list[Any] = []

    def compose(self) -> None:
        raise NotImplementedError

    def add_operator(self, operator: Any) -> None:
        self._operators.append(operator)

    def run(self) -> None:
        self.compose()
        for operator in self._operators:
            operator.compute(None, None, None)


@pytest.fixture
def folders(a_bundle: Path, tmp_path: Path) -> SimpleNamespace:
    """Return the context of an application whose input is a DICOM video with prompts."""
    source = tmp_path / "input"
    source.mkdir()
    a_video(
        source / "video.dcm", stream(tmp_path, "libx264", ".mp4"), FrameTime=40,
        StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid(), PatientID="4711",
    )  # fmt: skip
    objects = [{"id": 3, "name": "tool", "prompts": [{"frame": 0, "box": [5, 5, 40, 40]}]}]
    (source / "prompts.json").write_text(json.dumps({"version": 1, "objects": objects}))
    return SimpleNamespace(
        input_path=str(source), output_path=str(tmp_path / "output"), model_path=str(a_bundle)
    )


@pytest.fixture
def deploy(folders: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the module of the application on top of the stand-ins."""
    core, conditions = ModuleType("monai.deploy.core"), ModuleType("monai.deploy.conditions")
    vars(core).update(
        Application=Application, Operator=Operator, OperatorSpec=object,
        init_app_context=lambda argv: folders,
    )  # fmt: skip
    vars(conditions).update(CountCondition=lambda fragment, count: count)
    for name, module in (
        ("monai.deploy", ModuleType("monai.deploy")),
        ("monai.deploy.core", core),
        ("monai.deploy.conditions", conditions),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "surgsam2.integrations.monai_deploy", raising=False)
    return importlib.import_module("surgsam2.integrations.monai_deploy")


def test_a_dicom_video_becomes_a_segmentation(deploy: Any, folders: SimpleNamespace) -> None:
    highdicom = pytest.importorskip("highdicom")
    deploy.DicomVideoApp().run()
    found = highdicom.seg.segread(Path(folders.output_path, "segmentation.dcm"))
    assert found.get_segment_description(1).segment_label == "tool"
    assert found.NumberOfFrames > 1
    assert not found.PatientID


@pytest.mark.parametrize(
    ("missing", "message"),
    [("video.dcm", "one DICOM video in one folder, found 0"), ("prompts.json", "is missing")],
)
def test_an_input_that_is_incomplete(
    deploy: Any, folders: SimpleNamespace, missing: str, message: str
) -> None:
    Path(folders.input_path, missing).unlink()
    with pytest.raises(surgsam2.SurgSAM2Error, match=message):
        deploy.DicomVideoApp().run()
