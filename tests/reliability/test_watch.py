"""Whatever a file says, commands write into the output folder and the temporary folder only."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import socket
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from PIL import Image

from surgsam2 import cli
from surgsam2.engine import EngineClient
from surgsam2.model.bundle import CONFIGURATION, WEIGHTS
from tests.reliability.watch import everything, watching

if os.name == "nt":
    pytest.skip("on Windows a test may not make links", allow_module_level=True)

SECRET = "nobody else's business"
BOX = {"frame": 0, "box": [10, 10, 60, 60]}

HARMLESS = ("subprocess.Popen ('uname',)", "subprocess.Popen ('fc-list',)")
"""How Python finds out the kind of processor, and matplotlib the fonts."""

Case = Callable[["Place"], list[str]]


class Place:
    """The folders of one case.

    Args:
        root: an empty folder.
        video: a valid video.
    """

    def __init__(self, root: Path, video: Path) -> None:
        self.root, self.video = root, video
        self.out, self.temporary = root / "out", root / "temporary"
        self.inputs, self.home = root / "inputs", root / "home"
        for folder in (self.temporary, self.inputs, self.home):
            folder.mkdir()
        self.secret = self.home / "secret.json"
        self.secret.write_text(json.dumps(SECRET))

    def write(self, name: str, content: object) -> Path:
        """Write an input; what is not bytes becomes JSON."""
        path = self.inputs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    def prompts(self, **changes: object) -> Path:
        """Write a prompt file with a box."""
        content = {"version": 1, "objects": [{"id": 1, "name": "a", "prompts": [BOX]}]}
        return self.write("prompts.json", content | changes)

    def segment(self, *more: str, video: Path | None = None) -> list[str]:
        """Return the words of a command that segments two frames."""
        prompts = self.inputs / "prompts.json"
        if not prompts.exists():
            self.prompts()
        words = ["segment", str(video or self.video), "--prompts", str(prompts), "--stop", "2"]
        return [*words, "--output", str(self.out), "--device", "cpu", *more]


class Touch:
    """Pickles into a call that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def honest(place: Place) -> list[str]:
    return place.segment("--formats", "png,overlay,coco,csv")


def names_that_lead_out(place: Place) -> list[str]:
    name = "../../home/=cmd|x\x1b[2J/a"
    place.prompts(objects=[{"id": 1, "name": name, "prompts": [BOX]}])
    return place.segment("--formats", "png,coco,csv", "--keep-names")


def a_mask_that_lies_outside(place: Place) -> list[str]:
    Image.new("L", (96, 72), 255).save(place.home / "mask.png")
    mask = {"frame": 0, "mask": "../home/mask.png"}
    place.prompts(objects=[{"id": 1, "prompts": [mask]}])
    return place.segment()


def a_checkpoint_with_code(place: Place) -> list[str]:
    path = place.inputs / "model.pt"
    torch.save({"model": Touch(place.home / "ran")}, path)
    return place.segment("--model", str(path))


def a_pickle_with_code(place: Place) -> list[str]:
    path = place.write("model.pth", pickle.dumps(Touch(place.home / "ran")))
    return place.segment("--model", str(path))


def a_configuration_with_code(place: Place) -> list[str]:
    text = 'model:\n  _target_: os.mkdir\n  path: "\\\\${oc.create:{_target_: os.system}}"\n'
    path = place.write("network.yaml", text.encode())
    return place.segment("--config", str(path))


def a_bundle_with_code_and_links(place: Place) -> list[str]:
    network = {"_target_": "subprocess.run", "config": "$__import__('os').mkdir('x')"}
    place.write(f"bundle/{CONFIGURATION}", {"network_def": network})
    weights = place.inputs / "bundle" / WEIGHTS
    weights.parent.mkdir(parents=True)
    weights.symlink_to(place.secret)
    return place.segment("--model", str(place.inputs / "bundle"))


def packing_a_bundle_with_links(place: Place) -> list[str]:
    from surgsam2.model.bundle import OWN

    folder = place.inputs / "bundle"
    for path in OWN.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            place.write(f"bundle/{path.relative_to(OWN)}", path.read_bytes())
    (folder / "docs" / "key").symlink_to(place.secret)
    return ["bundle", "--model", str(folder), "--output", str(place.out / "b.zip")]


def an_output_folder_with_links(place: Place) -> list[str]:
    place.out.mkdir()
    (place.out / ".surgsam2").write_text("ours")
    (place.out / "masks").symlink_to(place.home)
    return place.segment("--overwrite")


def an_output_folder_with_linked_files(place: Place) -> list[str]:
    place.out.mkdir()
    (place.out / ".surgsam2").write_text("ours")
    for name in ("report.json", "frames.csv", "overlay.mp4", "annotations.coco.json", "INCOMPLETE"):
        (place.out / name).symlink_to(place.secret)
    return place.segment("--formats", "png,overlay,coco,csv")


def a_state_with_links(place: Place) -> list[str]:
    place.out.mkdir()
    (place.out / ".surgsam2").write_text("ours")
    (place.out / ".resume").symlink_to(place.home)
    return place.segment("--resume")


def a_header_that_names_another_file(place: Place) -> list[str]:
    place.write("raw", bytes(96 * 72 * 4))
    header = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 96 72 4\nencoding: raw\n"
    path = place.write("v.nhdr", f"{header}data file: {place.secret}\n".encode())
    return place.segment(video=path)


def a_playlist(place: Place) -> list[str]:
    text = f"#EXTM3U\n#EXTINF:1,\nfile://{place.secret}\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n"
    return place.segment(video=place.write("v.m3u8", text.encode()))


def a_picture_for_ghostscript(place: Place) -> list[str]:
    text = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({place.home}/ran) (w) file\n"
    place.write("frames/0.png", text.encode())
    place.write("frames/1.png", text.encode())
    return place.segment(video=place.inputs / "frames")


def a_sequence_of_text(place: Place) -> list[str]:
    image = SimpleITK.GetImageFromArray(np.zeros((4, 72, 96), np.uint8))
    SimpleITK.WriteImage(image, str(place.inputs / "v.mha"))
    return place.segment("--formats", "png", video=place.inputs / "v.mha")


def looking_at_a_damaged_video(place: Place) -> list[str]:
    data = place.video.read_bytes()
    return ["inspect", "--decode", str(place.write("a%d:b.mp4", data[: len(data) // 2]))]


def a_review_of_strange_results(place: Place) -> list[str]:
    image = {"id": 1, "file_name": "../../x.png", "width": 96, "height": 72, "frame_index": 0}
    category = {"id": 1, "name": "</script><script>alert(1)</script>"}
    code = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 50, 1, 50, 50]]}
    coco = {"images": [image], "categories": [category], "annotations": [code]}
    place.out.mkdir()
    (place.out / ".surgsam2").write_text("ours")
    (place.out / "annotations.coco.json").write_text(json.dumps(coco))
    return ["review", str(place.out)]


def a_recipe_with_code(place: Place) -> list[str]:
    text = b"name: ../../home/x\nmodel: !!python/object/apply:os.mkdir [x]\n"
    return ["train", str(place.write("r.yaml", text)), "--output", str(place.out)]


def a_recipe_that_names_places(place: Place) -> list[str]:
    recipe = place.write("r.json", {"name": "../../home/x", "stages": [{"name": "../../home/y"}]})
    return ["train", str(recipe), "--output", str(place.out), "--data", f"vos={place.home}"]


def an_evaluation_of_links(place: Place) -> list[str]:
    for kind in ("JPEGImages", "Annotations"):
        (place.inputs / "set" / kind).mkdir(parents=True)
        (place.inputs / "set" / kind / "a").symlink_to(place.home)
    return ["evaluate", str(place.inputs / "set"), "--output", str(place.out)]


def a_scene_as_a_model(place: Place) -> list[str]:
    with zipfile.ZipFile(place.inputs / "m.pt", "w") as archive:
        archive.writestr("../../home/ran", "x")
        archive.writestr("archive/data.pkl", b"\x80\x02.")
    return place.segment("--model", str(place.inputs / "m.pt"))


def strange_parts_of_a_list(place: Place) -> list[str]:
    row = {"output": "../../home/x\x1b[2J", "status": "failed", "error": str(place.secret)}
    part = {"program": "surgsam2", "status": "failed", "videos": [row], "workers": [], "seconds": 1}
    place.out.mkdir()
    (place.out / "summary-1-of-1.json").write_text(json.dumps(part | {"shard": [1, 1]}))
    (place.out / "summary.json").symlink_to(place.secret)
    return ["merge", str(place.out)]


def a_list_that_leads_out(place: Place) -> list[str]:
    entry = {"video": str(place.video), "prompts": str(place.prompts()), "output": "../home/x"}
    path = place.write("list.json", [entry])
    return ["segment", "--datalist", str(path), "--output", str(place.out), "--device", "cpu"]


def correcting_strange_results(place: Place) -> list[str]:
    place.out.mkdir()
    (place.out / ".surgsam2").write_text("ours")
    (place.out / ".results").symlink_to(place.secret)
    (place.out / ".results.json").write_text(json.dumps({"formats": "png", "video size": "96x72"}))
    (place.out / "report.json").write_text(json.dumps({"options": [1], "objects": 7}))
    words = ["correct", str(place.video), str(place.out), "--prompts", str(place.prompts())]
    return [*words, "--device", "cpu"]


def a_strange_record_of_a_benchmark(place: Place) -> list[str]:
    runs = [{"rates": {"../../home/x": 1}, "subject": "<script>", "config": "a"}]
    record = place.write("benchmark.json", {"kind": "surgsam2 benchmark", "runs": runs})
    return ["benchmark", "--record", str(record), "--output", str(place.out)]


def exporting_a_checkpoint_with_code(place: Place) -> list[str]:
    path = place.write("model.pth", pickle.dumps(Touch(place.home / "ran")))
    return ["export", "--model", str(path), "--output", str(place.out)]


def verifying_a_checkpoint_with_code(place: Place) -> list[str]:
    path = place.write("model.pth", pickle.dumps(Touch(place.home / "ran")))
    return ["models", "verify", str(path)]


def examining_the_machine(place: Place) -> list[str]:
    left = place.temporary / "surgsam2-x"
    left.mkdir()
    (left / ".in-use").touch()
    (left / "home").symlink_to(place.home)
    return ["doctor"]


def a_script_for_the_shell(place: Place) -> list[str]:
    return ["completion", "bash"]


CASES: list[Case] = [
    honest, names_that_lead_out, a_mask_that_lies_outside, a_checkpoint_with_code,
    a_pickle_with_code, a_configuration_with_code, a_bundle_with_code_and_links,
    packing_a_bundle_with_links, an_output_folder_with_links, an_output_folder_with_linked_files,
    a_state_with_links, a_header_that_names_another_file, a_playlist, a_picture_for_ghostscript,
    a_sequence_of_text, looking_at_a_damaged_video, a_review_of_strange_results,
    a_recipe_with_code, a_recipe_that_names_places, an_evaluation_of_links, a_scene_as_a_model,
    strange_parts_of_a_list, a_list_that_leads_out, correcting_strange_results,
    a_strange_record_of_a_benchmark, exporting_a_checkpoint_with_code,
    verifying_a_checkpoint_with_code, examining_the_machine, a_script_for_the_shell,
]  # fmt: skip


def a_page_of_a_strange_project(place: Place) -> tuple[list[str], str]:
    place.out.mkdir()
    (place.out / ".surgsam2").write_text("ours")
    (place.out / "annotation.json").symlink_to(place.home / "missing")
    name = "../../home/=x\x1b[2J"
    content = {"version": 1, "objects": [{"id": 1, "name": name, "prompts": [BOX]}]}
    (place.out / "prompts.json").write_text(json.dumps(content))
    words = ["annotate", str(place.video), str(place.out), "--no-browser"]
    return words, "GET /static/../../../home/secret.json HTTP/1.0\r\n\r\n"


def a_page_for_strangers(place: Place) -> tuple[list[str], str]:
    words = ["annotate", str(place.video), str(place.out), "--no-browser"]
    return words, f"GET /?token=%2e%2e{place.secret} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"


def an_engine_for_strangers(place: Place) -> tuple[list[str], str]:
    place.out.mkdir()
    words = ["serve", "--token-file", str(place.out / "tokens"), "--cache", str(place.out / "c")]
    return words, f"GET {place.secret} HTTP/1.0\r\n\r\n"


SERVERS = [a_page_of_a_strange_project, a_page_for_strangers, an_engine_for_strangers]
NOT_WATCHED = {"demo"}
"""The command that makes its input itself."""


@pytest.fixture
def place(tmp_path: Path, a_short_file: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    place = Place(tmp_path, a_short_file)
    monkeypatch.setenv("HOME", str(place.home))
    monkeypatch.setenv("TMPDIR", str(place.temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(place.temporary))
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path / "matplotlib"))  # its list of fonts
    monkeypatch.chdir(place.home)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return place


def test_every_command_has_a_case(place: Place) -> None:
    (parts,) = (a for a in cli.build_parser()._actions if isinstance(a.choices, dict))
    commands = set(parts.choices)
    watched = set()
    for case in CASES:
        root = place.root / case.__name__
        root.mkdir()
        watched.add(case(Place(root, place.video))[0])
    for server in SERVERS:
        root = place.root / server.__name__
        root.mkdir()
        watched.add(server(Place(root, place.video))[0][0])
    assert watched | NOT_WATCHED == commands


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_nothing_else_is_written(
    place: Place, case: Case, capsys: pytest.CaptureFixture[str]
) -> None:
    _check(place, case(place), capsys)


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.__name__)
def test_servers_write_nothing_else(
    place: Place,
    server: Callable[[Place], tuple[list[str], str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stranger asks for a file; then Ctrl-C ends the server. Engines are not started."""
    words, request = server(place)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answers: list[bytes] = []
    monkeypatch.setattr(EngineClient, "restart", lambda client: None)
    monkeypatch.setattr(EngineClient, "load_model", lambda client, model: 1)
    monkeypatch.setattr(EngineClient, "open_video", lambda client, video: 2)

    def ask_and_end() -> None:
        end = time.monotonic() + 60
        while not answers and time.monotonic() < end and not ended.wait(0.05):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as one:
                one.settimeout(20)
                one.sendall(request.encode())
                answers.append(one.recv(10_000))
        if not ended.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    ended = threading.Event()
    stranger = threading.Thread(target=ask_and_end)
    stranger.start()
    try:
        _check(place, [*words, "--port", str(port)], capsys, "socket.connect")
    finally:
        ended.set()
        stranger.join()
    assert not any(SECRET.encode() in answer for answer in answers)


def _check(
    place: Place, words: list[str], capsys: pytest.CaptureFixture[str], *harmless: str
) -> None:
    """Run a command and look at what it does to files.

    Args:
        place: the folders of the case.
        words: the command.
        capsys: what is printed.
        harmless: beginnings of names of further events that the case causes itself.
    """
    kept = [place.inputs, place.home]
    before = [everything(folder) for folder in kept]
    changed: list[str] = []
    with watching(changed):
        code = cli.main(words)
    assert code in (0, 2), capsys.readouterr()
    allowed = tuple(
        f"{os.path.realpath(folder)}{os.sep}"
        for folder in (place.out, place.temporary, place.root / "matplotlib")
    )
    strange = [
        name
        for name in changed
        if not f"{name}{os.sep}".startswith(allowed) and not name.startswith((*HARMLESS, *harmless))
    ]
    assert not strange, strange
    assert [everything(folder) for folder in kept] == before
    assert everything(place.temporary) == {}
    printed = capsys.readouterr()
    if code == 2:
        (line,) = printed.err.splitlines()[-1:]
        assert line.startswith("surgsam2: error: ")
    assert SECRET not in printed.out + printed.err
    for path in place.out.rglob("*") if place.out.is_dir() else ():
        if path.is_file() and not path.is_symlink():
            assert SECRET.encode() not in path.read_bytes()
