"""Files that are well made to do harm."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import SimpleITK
import torch
from PIL import Image

from surgsam2 import load_prompts, open_video
from surgsam2.errors import CheckpointError, InputError, PromptError, VideoError
from surgsam2.model.checkpoint import read_checkpoint
from surgsam2.model.configs import load_config
from surgsam2.storage.limits import FRAME_PIXELS, FRAMES, MASK_PIXELS


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("packed", [False, True])
def test_a_checkpoint_runs_no_code(tmp_path: Path, protocol: int, packed: bool) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (os.mkdir, (str(tmp_path / "boom"),))

    path = tmp_path / "model.pt"
    if packed:
        torch.save({"model": {"weight": Bomb()}}, path, pickle_protocol=protocol)
    else:
        path.write_bytes(pickle.dumps({"model": {"weight": Bomb()}}, protocol))
    with pytest.raises(CheckpointError, match="loading it could run code"):
        read_checkpoint(path)
    assert not (tmp_path / "boom").exists()


def test_an_archive_that_unpacks_to_more_than_it_is(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(10**6)}, buffer)
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(buffer) as plain, zipfile.ZipFile(path, "w") as packed:
        for item in plain.infolist():
            packed.writestr(item.filename, plain.read(item), zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match=r"refused, because it unpacks to \d+ bytes from"):
        read_checkpoint(path)


def prompt_file(folder: Path, *masks: str) -> Path:
    prompts = [{"frame": number, "mask": mask} for number, mask in enumerate(masks)]
    path = folder / "prompts.json"
    path.write_text(json.dumps({"version": 1, "objects": [{"id": 1, "prompts": prompts}]}))
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../secret.png", "leaves the prompt file's folder"),
        ("a/../../secret.png", "leaves the prompt file's folder"),
        ("..\\secret.png", "leaves the prompt file's folder"),
        ("/etc/secret.png", "is absolute"),
        ("C:\\secret.png", "is absolute"),
        ("\\\\server\\share\\secret.png", "is absolute"),
        ("link.png", "is a link that leaves the prompt file's folder"),
    ],
)
def test_masks_stay_in_their_folder(tmp_path: Path, name: str, message: str) -> None:
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(tmp_path / "secret.png")
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(PromptError, match=message):
        load_prompts(prompt_file(tmp_path / "job", name))


def test_bombs_of_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes that declare gigabytes are refused by what they declare."""
    side = 9000
    Image.new("1", (side, side)).save(tmp_path / "huge.png")
    assert (tmp_path / "huge.png").stat().st_size < 50_000
    with pytest.raises(PromptError, match="9000x9000 pixels, more than"):
        load_prompts(prompt_file(tmp_path, "huge.png"))
    with pytest.raises(VideoError, match="9000x9000 pixels, more than"):
        open_video(tmp_path / "huge.png")
    monkeypatch.setenv(FRAME_PIXELS.variable, str(side**2))
    assert open_video(tmp_path / "huge.png").width == side


def test_many_masks_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.full((10, 10), 255, np.uint8)).save(tmp_path / "m.png")
    monkeypatch.setenv(MASK_PIXELS.variable, "250")
    assert load_prompts(prompt_file(tmp_path, "m.png", "m.png"))
    with pytest.raises(PromptError, match=r"prompts\[2\].mask: .*more than 250 pixels together"):
        load_prompts(prompt_file(tmp_path, "m.png", "m.png", "m.png"))


def test_streams_without_end(
    a_short_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
    SimpleITK.WriteImage(SimpleITK.Image([8, 8, 6], SimpleITK.sitkUInt8), str(tmp_path / "a.mha"))
    monkeypatch.setenv(FRAMES.variable, "5")
    for source in (a_short_file, tmp_path, tmp_path / "a.mha"):
        with pytest.raises(VideoError, match="more than 5 frames; the file is damaged or a stream"):
            open_video(source)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="POSIX")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "clip.mp4")
    with pytest.raises(VideoError, match="neither a file nor a folder"):
        open_video(tmp_path / "clip.mp4")


@pytest.mark.parametrize("value", ["0", "-5", "many", "1e9", "9" * 30])
def test_a_limit_that_is_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.setenv(FRAMES.variable, value)
    with pytest.raises(InputError, match="SURGSAM2_MAX_FRAMES must be a whole number above 0"):
        open_video(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_only_images_are_taken_for_images(tmp_path: Path, suffix: str) -> None:
    """PIL would start Ghostscript for this one, whatever it is called."""
    path = tmp_path / f"0{suffix}"
    Image.new("RGB", (8, 8)).save(path, "EPS")
    with pytest.raises(
        VideoError, match=r"not a JPEG, PNG, .* or PPM image, whatever its name says"
    ):
        open_video(path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("/etc/passwd", "outside its folder"),
        ("../secret.raw", "outside its folder"),
        ("C:\\secret.raw", "outside its folder"),
        ("link.raw", "outside its folder"),
        ("LIST", "spread over several files"),
        ("img%03d.raw 1 3 1", "spread over several files"),
    ],
)
@pytest.mark.parametrize("kind", ["a.mhd", "a.mha", "a.nhdr"])
def test_headers_name_only_files_beside_them(
    tmp_path: Path, entry: str, message: str, kind: str
) -> None:
    (tmp_path / "secret.raw").write_bytes(bytes(range(64)))
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "link.raw").symlink_to(tmp_path / "secret.raw")
    path = folder / kind
    if kind == "a.nhdr":
        path.write_text(
            "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 4 4\nencoding: raw\n"
            f"data file: {entry}\n"
        )
    else:
        path.write_text(
            "ObjectType = Image\nNDims = 3\nDimSize = 4 4 4\nElementType = MET_UCHAR\n"
            f"ElementDataFile = {entry}\n"
        )
    with pytest.raises(VideoError, match=message):
        open_video(path)


def test_a_data_file_beside_its_header_is_read(tmp_path: Path) -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(4, 4, 4)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels), str(tmp_path / "a.mhd"))
    assert (tmp_path / "a.raw").exists()
    with open_video(tmp_path / "a.mhd") as video:
        assert np.array_equal(video[2][..., 0], pixels[2])


def test_a_header_without_end(tmp_path: Path) -> None:
    """What it names may come after what was looked at."""
    comment = "Comment = " + "x" * 70_000
    path = tmp_path / "a.mhd"
    path.write_text(f"ObjectType = Image\n{comment}\nElementDataFile = /etc/passwd\n")
    with pytest.raises(VideoError, match="its header does not end within 65536 bytes"):
        open_video(path)


def test_a_frame_that_is_larger_than_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of pixels holds for every frame, before it is decoded."""
    monkeypatch.setenv("SURGSAM2_MAX_FRAME_PIXELS", "10000")
    with av.open(str(tmp_path / "grows.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number, size in enumerate([(64, 48), (4000, 3000), (64, 48)]):
            buffer = io.BytesIO()
            Image.new("RGB", size, "red").save(buffer, "JPEG")
            packet = av.Packet(buffer.getvalue())
            packet.stream, packet.time_base = stream, Fraction(1, 25)
            packet.pts = packet.dts = number
            packet.is_keyframe = True
            container.mux(packet)
    with open_video(tmp_path / "grows.avi") as video:
        assert len([*video]) == 3
        assert any("(first: 1) do not decode" in warning for warning in video.warnings)


def test_a_config_that_grows_without_bound(tmp_path: Path) -> None:
    lines = ["model:", "  a0: &a0 [1, 2]"]
    lines += [f"  a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    (tmp_path / "laughs.yaml").write_text("\n".join(lines))
    with pytest.raises(InputError, match="it has more than 50000 values"):
        load_config(str(tmp_path / "laughs.yaml"))
    (tmp_path / "number.yaml").write_text("20.5")
    with pytest.raises(InputError, match="a config needs a 'model' node"):
        load_config(str(tmp_path / "number.yaml"))
