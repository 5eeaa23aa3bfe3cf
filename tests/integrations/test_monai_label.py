"""The app for MONAI Label, with MONAI Label's own HTTP server in a process of its own.

MONAI Label needs other versions of packages than the tests, so that it has an environment of its
own; SURGSAM2_MONAI_LABEL names its Python (see docs/monai-label.md).
"""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import time
import zipfile
from collections.abc import Iterator
from email.parser import BytesParser
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

import surgsam2
from tests.conftest import REPOSITORY
from tests.video.helpers import write_video

PYTHON = os.environ.get("SURGSAM2_MONAI_LABEL", "")
FRAMES = 5

pytestmark = pytest.mark.skipif(
    not PYTHON, reason="SURGSAM2_MONAI_LABEL does not name a Python with MONAI Label"
)


@pytest.fixture(scope="module")
def studies(a_clip: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a picture and two videos."""
    folder = tmp_path_factory.mktemp("studies")
    Image.fromarray(a_clip[0]).save(folder / "picture.png")
    for name in ("clip", "other"):
        write_video(folder / f"{name}.mp4", FRAMES)
    return folder


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app") / "app"
    shutil.copytree(REPOSITORY / "deploy" / "monailabel", folder)
    return folder


@pytest.fixture(scope="module")
def server(app: Path, studies: Path, a_bundle: Path) -> Iterator[httpx.Client]:
    """Start the server, and return a client of it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = app.parent / "server.log"
    environment = {**os.environ, "HOME": str(app.parent)}  # MONAI Label keeps sessions there
    with log.open("w") as output:
        process = subprocess.Popen(
            [PYTHON, "-m", "monailabel.main", "start_server", "--app", str(app), "--studies",
             str(studies), "--host", "127.0.0.1", "--port", str(port),
             "--conf", "model", str(a_bundle)],
            stdout=output, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
            for _ in range(240):
                assert process.poll() is None, log.read_text()[-3000:]
                try:
                    client.get("/info/")
                    break
                except httpx.TransportError:
                    time.sleep(0.5)
            yield client
    finally:
        process.terminate()
        process.wait(timeout=30)


def infer(
    server: httpx.Client, model: str, where: dict[str, str], **params: Any
) -> tuple[bytes, dict[str, Any]]:
    """Return the file and the facts of a segmentation."""
    answer = server.post(f"/infer/{model}", params=where, data={"params": json.dumps(params)})
    assert answer.status_code == 200, answer.text
    head = f"Content-Type: {answer.headers['content-type']}\n\n".encode()
    parts = {
        part.get_param("name", header="content-disposition"): part.get_payload(decode=True)
        for part in BytesParser().parsebytes(head + answer.content).get_payload()
    }
    return parts["image"], json.loads(parts["params"])


def labels_of(archive: bytes) -> dict[int, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        return {
            int(name.removesuffix(".png")): np.array(Image.open(files.open(name)))
            for name in files.namelist()
        }


def test_the_server_lists_models_and_training(server: httpx.Client) -> None:
    info = server.get("/info/").json()
    assert set(info["models"]) == {"surgsam2", "surgsam2_video"}
    assert info["models"]["surgsam2"]["type"] == "deepgrow"
    assert set(info["trainers"]) == {"surgsam2"}
    assert info["datastore"]["total"] == 3


@pytest.mark.parametrize(
    ("params", "prompt"),
    [
        ({"foreground": [[40, 30]], "background": [[120, 90]]},
         {"points": [[40, 30, 1], [120, 90, 0]]}),
        ({"roi": [20, 30, 90, 100]}, {"box": [20, 30, 90, 100]}),
    ],
    ids=["clicks", "box"],
)  # fmt: skip
def test_a_picture(
    server: httpx.Client, a_bundle: Path, a_clip: np.ndarray, params: Any, prompt: Any
) -> None:
    file, facts = infer(server, "surgsam2", {"image": "picture"}, **params)
    mask = np.array(Image.open(io.BytesIO(file)))
    assert facts["label_names"] == {"object": 1}
    model = surgsam2.load_model(a_bundle, device="cpu")
    height, width = a_clip.shape[1:3]
    prompts = surgsam2.PromptSet().add(object_id=1, frame=0, **prompt)
    wanted = surgsam2.Tracker(model, width, height).step(a_clip[0], prompts).mask(1)
    assert mask.dtype == np.uint8
    assert np.array_equal(mask.astype(bool), wanted)
    assert wanted.any()


@pytest.mark.parametrize(
    ("model", "params", "message"),
    [
        ("surgsam2", {}, "nothing is marked"),
        ("surgsam2", {"foreground": [[1]]}, "a click of foreground must be 2 or more numbers"),
        ("surgsam2", {"background": [[5, 5]]}, "all points are negative"),
        ("surgsam2", {"foreground": [[5, 5]], "frame": 7}, "frame must be from 0 to 0, got 7"),
        ("surgsam2_video", {"foreground": [[5, 5, 99]]}, "99"),
        ("surgsam2_video", {"foreground": [[5, 5]], "direction": "up"}, "direction"),
    ],
)
def test_refused_requests(server: httpx.Client, model: str, params: Any, message: str) -> None:
    image = "picture" if model == "surgsam2" else "clip"
    answer = server.post(
        f"/infer/{model}", params={"image": image}, data={"params": json.dumps(params)}
    )
    assert answer.status_code == 422
    assert message in answer.json()["detail"]


def test_a_video_session(server: httpx.Client, studies: Path, a_bundle: Path) -> None:
    """The masks are those of `segment_video`; a further click on a later frame changes them."""
    with (studies / "clip.mp4").open("rb") as file:
        made = server.put("/session/", files={"files": ("clip.mp4", file)}).json()
    where = {"session_id": made["session_id"]}
    file, facts = infer(server, "surgsam2_video", where, foreground=[[30, 20, 0]])
    labels = labels_of(file)
    assert list(labels) == list(range(FRAMES))
    assert facts["frames"] == FRAMES
    model = surgsam2.load_model(a_bundle, device="cpu")
    prompts = surgsam2.PromptSet().add(object_id=1, frame=0, points=[[30, 20, 1]])
    for result in surgsam2.segment_video(model, studies / "clip.mp4", prompts):
        assert np.array_equal(labels[result.frame_index] == 1, result.mask(1))
    corrected, _ = infer(
        server, "surgsam2_video", where, foreground=[[30, 20, 0]], background=[[45, 30, 2]],
        roi=[10, 8, 40, 30, 2],
    )  # fmt: skip
    assert any(not np.array_equal(a, b) for a, b in zip(
        labels.values(), labels_of(corrected).values(), strict=True
    ))  # fmt: skip
    assert server.delete(f"/session/{made['session_id']}").status_code == 200


def test_a_session_of_frames_with_two_objects(server: httpx.Client, a_clip: np.ndarray) -> None:
    files = []
    for number, frame in enumerate(a_clip[:3]):
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "PNG")
        files.append(("files", (f"{number:05d}.png", buffer.getvalue())))
    session = server.put("/session/", files=files).json()["session_id"]
    objects = [
        {"id": 1, "name": "liver", "prompts": [{"frame": 0, "points": [[30, 20, 1]]}]},
        {"id": 7, "name": "hook", "prompts": [{"frame": 1, "box": [60, 50, 120, 100]}]},
    ]
    file, facts = infer(
        server, "surgsam2_video", {"session_id": session},
        prompts={"version": 1, "objects": objects},
    )  # fmt: skip
    assert facts["label_names"] == {"liver": 1, "hook": 7}
    labels = labels_of(file)
    assert 7 not in labels[0]
    assert set(np.unique(labels[1])) == {0, 1, 7}


def test_training_from_labels(server: httpx.Client, app: Path, studies: Path) -> None:
    """Labels are saved, a training uses them, and the server segments with what it made."""
    answer = server.post("/train/surgsam2?run_sync=true", json={"max_epochs": 1, "steps": 1})
    assert answer.status_code == 422
    assert "no picture or video has a final label" in answer.json()["detail"]
    click = {"foreground": [[30, 20, 0]]}
    for name, model in (("picture", "surgsam2"), ("clip", "surgsam2_video"),
                        ("other", "surgsam2_video")):  # fmt: skip
        file, _ = infer(server, model, {"image": name}, **click)
        ending = "png" if model == "surgsam2" else "zip"
        saved = server.put(
            "/datastore/label", params={"image": name, "tag": "final"},
            files={"label": (f"{name}.{ending}", file)}, data={"params": "{}"},
        )  # fmt: skip
        assert saved.status_code == 200, saved.text
    before, _ = infer(server, "surgsam2", {"image": "picture"}, **click)
    task = server.post("/train/surgsam2", json={"max_epochs": 1, "steps": 2, "lr": 0.01}).json()
    assert task["status"] == "SUBMITTED"
    for _ in range(600):
        status = server.get("/train/").json()
        if status["status"] in ("DONE", "ERROR"):
            break
        time.sleep(0.5)
    assert status["status"] == "DONE", "\n".join(status["details"])
    (settings,) = app.glob("model/*/finetune/settings.yaml")
    text = settings.read_text()
    assert "- clip" in text
    assert "- other" in text
    assert (settings.parent.parent / "bundle").is_dir()
    after, _ = infer(server, "surgsam2", {"image": "picture"}, **click)
    stats = server.get("/info/").json()["train_stats"]["surgsam2"]
    assert stats["steps"] == 2
    assert before != after or "training did not improve" in "\n".join(status["details"])
