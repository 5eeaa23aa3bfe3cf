"""Write synthetic clips as a VOS folder or as a video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from surgsam2.data.synthetic.clip import SyntheticClip
from surgsam2.errors import InputError, OutputError
from surgsam2.storage.palette import VOC_PALETTE
from surgsam2.video.h264 import add_h264


def write_vos(
    clip: SyntheticClip,
    folder: str | Path,
    sequence: str,
    image_format: Literal["jpg", "png"] = "jpg",
) -> Path:
    """Write the clip in the DAVIS layout, which `surgsam2.data.VOSDataset` reads.

    Frames go to ``folder/JPEGImages/sequence/00000.jpg`` (quality 95) or ``.png``,
    labels to ``folder/Annotations/sequence/00000.png`` (palette, value = object id).
    Returns `folder`.
    """
    if image_format not in ("jpg", "png"):
        raise InputError(f"image_format must be jpg or png, got {image_format!r}")
    folder = Path(folder)
    images, annotations = folder / "JPEGImages" / sequence, folder / "Annotations" / sequence
    try:
        images.mkdir(parents=True, exist_ok=True)
        annotations.mkdir(parents=True, exist_ok=True)
        for index, frame, labels in clip.frames():
            options: dict[str, Any] = (
                {"quality": 95, "subsampling": 0} if image_format == "jpg" else {}
            )
            Image.fromarray(frame).save(images / f"{index:05d}.{image_format}", **options)
            indexed = Image.fromarray(labels.astype(np.uint8))
            indexed.putpalette(VOC_PALETTE.ravel().tolist())
            indexed.save(annotations / f"{index:05d}.png")
    except OSError as error:
        raise OutputError(f"cannot write the sequence {sequence} to {folder}: {error}") from error
    return folder


def write_video(clip: SyntheticClip, path: str | Path, crf: int = 12) -> Path:
    """Write the clip's frames as H.264 in an mp4 file; width and height must be even.

    `crf` is the encoder's quality (lower is better; 12 shows no artefacts). Returns `path`.
    """
    import av  # Reading a VOS folder does not need PyAV, so it is imported here.

    path = Path(path)
    if clip.width % 2 or clip.height % 2:
        raise InputError(f"an mp4 needs an even width and height, got {clip.width}x{clip.height}")
    try:
        with av.open(str(path), "w", format="mp4") as container:  # noqa: TID251
            rate = Fraction(clip.fps).limit_denominator(1001)
            stream = add_h264(container, (clip.width, clip.height), rate, preset="medium", crf=crf)
            for _, frame, _ in clip.frames():
                picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    except OSError as error:
        raise OutputError(f"cannot write the video {path}: {error}") from error
    return path
