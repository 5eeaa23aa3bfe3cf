"""The parsers that meet files from strangers, each with a way to make bad input for it."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import av
import numpy as np
import SimpleITK
import torch
import yaml
from PIL import Image
from safetensors.torch import save

from surgsam2 import open_video
from surgsam2.errors import SurgSAM2Error
from surgsam2.job.checkpoint import CheckpointStore
from surgsam2.model.bundle import CONFIGURATION, OWN, WEIGHTS, read_bundle
from surgsam2.model.checkpoint import infer_config, read_checkpoint
from surgsam2.model.configs import load_config
from surgsam2.monai_bundle.inferer import VideoInferer
from surgsam2.monai_bundle.segmentation import VideoJobs, VideoSegmentation
from surgsam2.prompts import load_prompts
from tests.conftest import disc, moving_picture
from tests.fuzz.doors import DOORS, MRML, Door
from tests.reliability import file_targets as files
from tests.reliability.mutations import change_somewhere, damage, damage_png, odd_value

WIDTH, HEIGHT, FRAMES = 96, 72, 10


@dataclass(frozen=True)
class Target:
    """One parser: `write` puts an input into an empty folder, `read` does what a user would."""

    name: str
    write: Callable[[Random, Path], Path]
    read: Callable[[Path], object]

    def try_one(self, random: Random, folder: Path) -> bool:
        """Whether the input was taken; False when refused. Every other end is an error."""
        path = self.write(random, folder)
        try:
            self.read(path)
        except SurgSAM2Error as error:
            text = str(error)
            if not text or len(text) > 2000:
                raise AssertionError(f"a message of {len(text)} characters") from error
            return False
        return True


# prompt files


def _prompts(random: Random, folder: Path) -> Path:
    (folder / "mask.png").write_bytes(_mask_png())
    (folder / "cut.png").write_bytes(_mask_png()[:40])
    valid: dict[str, Any] = {
        "version": 1,
        "video": {"width": WIDTH, "height": HEIGHT, "frames": FRAMES},
        "objects": [
            {
                "id": 1,
                "name": "liver",
                "color": "#e8c468",
                "prompts": [
                    {"frame": 0, "box": [2, 3, 40.5, 50], "points": [[4, 5, 1], [9, 9, 0]]},
                    {"frame": 3, "mask": random.choice(["mask.png", "cut.png", "gone.png"])},
                ],
            },
            {"id": 2, "prompts": [{"frame": 2, "points": [[4, 5, 1]]}]},
        ],
    }
    for _ in range(random.randint(0, 3)):
        valid = change_somewhere(valid, random)
    data = json.dumps(valid).encode("utf-8", "surrogatepass")
    if random.random() < 0.25:
        data = damage(data, random)
    if random.random() < 0.02:
        data = random.choice([b"[" * 10**5, b'{"a":' * 10**5, b"9" * 10**4, b"\xff\xfe"])
    path = folder / "prompts.json"
    path.write_bytes(data)
    return path


def _read_prompts(path: Path) -> None:
    load_prompts(path).validate(WIDTH, HEIGHT, FRAMES)


# masks


@cache
def _mask_png() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(disc(WIDTH, HEIGHT, 30, 30, 12).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@cache
def _mask_pngs() -> tuple[bytes, ...]:
    images = []
    mask = Image.fromarray(disc(WIDTH, HEIGHT, 30, 30, 12).astype(np.uint8) * 255)
    for mode in ("L", "1", "P", "RGB", "RGBA", "LA", "I;16"):
        buffer = io.BytesIO()
        image = Image.fromarray(np.full((HEIGHT, WIDTH), 9, np.uint16))
        (image if mode == "I;16" else mask.convert(mode)).save(buffer, "PNG")
        images.append(buffer.getvalue())
    return tuple(images)


def _mask(random: Random, folder: Path) -> Path:
    data = random.choice(_mask_pngs())
    damaged = damage_png(data, random) if random.random() < 0.5 else damage(data, random)
    (folder / "mask.png").write_bytes(damaged)
    record = {"id": 1, "prompts": [{"frame": 0, "mask": "mask.png"}]}
    path = folder / "prompts.json"
    path.write_text(json.dumps({"version": 1, "objects": [record]}))
    return path


# videos


@cache
def _videos() -> dict[str, bytes]:
    """Short files of the usual containers and codecs."""
    kinds = {
        "a.mp4": ("libx264", "yuv420p"),
        "b.mkv": ("libx264", "yuv420p"),
        "c.avi": ("mpeg4", "yuv420p"),
        "d.mov": ("mjpeg", "yuvj420p"),
        "e.ts": ("mpeg2video", "yuv420p"),
        "f.gif": ("gif", "rgb8"),
        "g.webm": ("libvpx", "yuv420p"),
    }
    made = {}
    for name, (codec, pixels) in kinds.items():
        try:
            made[name] = _encoded(name.partition(".")[2], codec, pixels)
        except (av.FFmpegError, ValueError):  # this PyAV cannot encode it
            continue
    return made


def _encoded(container_format: str, codec: str, pixels: str) -> bytes:
    buffer = io.BytesIO()
    name = {"mkv": "matroska", "ts": "mpegts"}.get(container_format, container_format)
    with av.open(buffer, "w", format=name) as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        stream.codec_context.gop_size = 4
        stream.codec_context.thread_count = 1
        for picture in moving_picture(FRAMES, WIDTH, HEIGHT):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def _video(random: Random, folder: Path) -> Path:
    name, data = random.choice(list(_videos().items()))
    other = random.choice(list(_videos().values()))
    if random.random() < 0.05:
        name = random.choice(list(_videos()))  # another container than the name says
    path = folder / name
    path.write_bytes(damage(data, random, other))
    return path


def _image(random: Random, folder: Path) -> Path:
    suffix, kind = random.choice(
        [(".png", "PNG"), (".jpg", "JPEG"), (".tif", "TIFF"), (".bmp", "BMP"), (".webp", "WEBP"),
         (".ppm", "PPM"), (".png", "GIF"), (".jpg", "EPS")]
    )  # fmt: skip
    buffer = io.BytesIO()
    options = {"compression": "tiff_deflate"} if kind == "TIFF" and random.random() < 0.5 else {}
    Image.fromarray(moving_picture(1, WIDTH, HEIGHT)[0]).save(buffer, kind, **options)
    data = buffer.getvalue()
    png = kind == "PNG" and random.random() < 0.5
    path = folder / f"0{suffix}"
    path.write_bytes(damage_png(data, random) if png else damage(data, random))
    return path


@cache
def _sequences() -> dict[str, bytes]:
    made = {}
    grey = moving_picture(3, 32, 24)[..., 0]
    with tempfile.TemporaryDirectory() as folder:
        for name, compressed in (
            ("a.mha", False), ("b.mha", True), ("c.nrrd", False), ("d.nrrd", True), ("e.dcm", False)
        ):  # fmt: skip
            image = SimpleITK.GetImageFromArray(
                grey.astype(np.int16 if name == "c.nrrd" else np.uint8)
            )
            SimpleITK.WriteImage(image, f"{folder}/{name}", useCompression=compressed)
            made[name] = Path(folder, name).read_bytes()
    return made


def _sequence(random: Random, folder: Path) -> Path:
    name, data = random.choice(list(_sequences().items()))
    path = folder / name
    path.write_bytes(damage(data, random, random.choice(list(_sequences().values()))))
    return path


def _read_video(path: Path) -> None:
    with open_video(path) as video:
        count = min(video.frame_count, 40)
        with closing(video.frames(0, count)) as frames:
            for _, frame in frames:
                assert frame.shape == (video.height, video.width, 3)
        with closing(video.frames(0, count, reverse=True)) as frames:
            for _ in frames:
                pass
        if count // 2 < video.frame_count:
            try:
                video[count // 2]
            except IndexError:  # the documented end of a damaged file
                assert video.frame_count <= count // 2


# checkpoints


@cache
def _checkpoints() -> dict[str, bytes]:
    # the names that tell what network it is
    state = {
        "image_encoder.trunk.patch_embed.proj.weight": torch.zeros(32, 3, 2, 2),
        **{f"image_encoder.trunk.blocks.{i}.w": torch.ones(3) for i in range(8)},
        "obj_ptr_tpos_proj.weight": torch.ones(2, 2),
    }
    made = {"c.safetensors": save(state)}
    for name, zipped in (("a.pt", True), ("b.pth", False)):
        buffer = io.BytesIO()
        torch.save({"model": state}, buffer, _use_new_zipfile_serialization=zipped)
        made[name] = buffer.getvalue()
    return made


class _Call:
    """Pickles into a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def _checkpoint(random: Random, folder: Path) -> Path:
    name, data = random.choice(list(_checkpoints().items()))
    path = folder / name
    if random.random() < 0.1:
        bomb = _Call(Path.touch, folder / "RAN")
        content = random.choice([bomb, {"model": bomb}, {"model": {"w": bomb}}, [bomb]])
        protocol = random.choice([2, 3, 4, 5])
        if random.random() < 0.5:
            path.write_bytes(pickle.dumps(content, protocol))
        else:
            torch.save(content, path)
    elif random.random() < 0.1:
        torch.save(odd_value(random), path)
    else:
        path.write_bytes(damage(data, random, random.choice(list(_checkpoints().values()))))
    return path


def _read_checkpoint(path: Path) -> None:
    try:
        state = read_checkpoint(path)
        infer_config(state, path)
    finally:
        if (path.parent / "RAN").exists():
            raise AssertionError("a checkpoint ran code")


# configurations


@cache
def _config() -> dict[str, Any]:
    from importlib import resources

    return yaml.safe_load(resources.files("surgsam2.model").joinpath("demo.yaml").read_text())


def _network_config(random: Random, folder: Path) -> Path:
    content = _config() if "model" in _config() else {"model": _config()}
    for _ in range(random.randint(0, 3)):
        content = change_somewhere(content, random)
    data = yaml.safe_dump(content, allow_unicode=True).encode("utf-8", "replace")
    if random.random() < 0.3:
        data = damage(data, random)
    path = folder / "network.yaml"
    path.write_bytes(data)
    return path


def _read_config(path: Path) -> None:
    load_config(str(path))


def _bundle(random: Random, folder: Path) -> Path:
    content = json.loads((OWN / CONFIGURATION).read_bytes())
    part = content if random.random() < 0.3 else {"network_def": content["network_def"]}
    for _ in range(random.randint(0, 3)):
        part = change_somewhere(part, random)
    data = json.dumps(part).encode("utf-8", "surrogatepass")
    if random.random() < 0.3:
        data = damage(data, random)
    for name, body in ((CONFIGURATION, data), (WEIGHTS, b"x")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(body)
    return folder


# the options of a bundle run, as `--name value` of MONAI's command line gives them

_OPTIONS: dict[str, tuple[Any, ...]] = {
    "formats": ("png", ["png", "csv"], "png,gif", []),
    "direction": ("forward", "both", "sideways"),
    "start": (0, None, 3),
    "stop": (5, None),
    "min_region": (0, 0.001),
    "allow_overlap": (True, False),
    "overwrite": (True, False),
    "dtype": ("float32", "auto"),
    "pruning": ("capped", "off", "full-bank", "half"),
    "prune": (2, 0),
    "compile": (False,),
    "fps": (25.0, None, 30),
    "model": ("demo", "x.pt"),
    "config": (None, "demo"),
    "video": ("v.mp4", None),
    "prompts": ("p.json", None),
    "output_dir": ("out", None),
    "datalist": (None, "list.json"),
}


def _overrides(random: Random, folder: Path) -> Path:
    given = {
        name: random.choice(values) if random.random() < 0.8 else odd_value(random)
        for name, values in _OPTIONS.items()
        if random.random() < 0.7
    }
    path = folder / "overrides.json"
    path.write_bytes(json.dumps(given).encode("utf-8", "surrogatepass"))
    return path


def _read_overrides(path: Path) -> None:
    given = json.loads(path.read_bytes())

    def take(*names: str) -> dict[str, Any]:
        return {name: given.pop(name) for name in names if name in given}

    inputs = take("video", "prompts", "output_dir", "datalist")
    inferer = VideoInferer(**take("direction", "start", "stop", "allow_overlap", "min_region"))
    VideoSegmentation(VideoJobs(**inputs), inferer, **given)


# the state of an interrupted run


@cache
def _state() -> bytes:
    buffer = io.BytesIO()
    torch.save(
        {
            "version": 1,
            "identity": json.dumps({"video content": "0" * 64}),
            "tracking": {"first_pass": False, "tracker": {"objects": [{"id": 1}]}},
            "steps": 4,
            "seconds": 1.0,
            "resumed": 0,
            "results_bytes": 0,
            "earlier_bytes": 0,
        },
        buffer,
    )
    return buffer.getvalue()


def _saved_state(random: Random, folder: Path) -> Path:
    (folder / ".resume").mkdir()
    data = damage(_state(), random)
    check = hashlib.sha256(data).digest()  # right, else nothing behind it is reached
    (folder / ".resume" / "state.pt").write_bytes(check + data)
    (folder / ".resume" / "results.spool").write_bytes(random.randbytes(random.randrange(200)))
    return folder


def _read_saved_state(path: Path) -> None:
    store = CheckpointStore(path)
    state = store.load()
    for spool in store.open(state):
        spool.close()


def _target_of(door: Door) -> Target:
    """Return a target that damages an input of a door's corpus."""

    def write(random: Random, folder: Path) -> Path:
        data = damage(random.choice(door.corpus), random, random.choice(door.corpus))
        path = folder / door.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return Target(f"{door.name} (corpus)", write, door.read)


CORPORA = tuple(_target_of(door) for door in DOORS if door.name not in MRML)
"""The doors for text and small files, without those that need 3D Slicer's libraries."""
TARGETS = (
    Target("prompt files", _prompts, _read_prompts),
    Target("mask images", _mask, _read_prompts),
    Target("video files", _video, _read_video),
    Target("images", _image, _read_video),
    Target("medical sequences", _sequence, _read_video),
    Target("checkpoints", _checkpoint, _read_checkpoint),
    Target("network configs", _network_config, _read_config),
    Target("bundles", _bundle, read_bundle),
    Target("bundle overrides", _overrides, _read_overrides),
    Target("saved states", _saved_state, _read_saved_state),
    Target("label images", files.label_image, files.read_label_image),
    Target("DICOM videos", files.dicom_video, _read_video),
    Target("DICOM series", files.dicom_series, _read_video),
    Target("sources of segmentations", files.dicom_video, files.write_segmentation),
    Target("series of segmentations", files.dicom_series, files.write_segmentation),
    Target("COCO files of programs", files.coco_file, files.read_coco_file),
    Target("published datasets", files.published_dataset, files.read_published_dataset),
    Target("names of sources", files.result_folder, files.read_result_folder),
    Target("class lists", files.class_list, files.read_class_list),
)
