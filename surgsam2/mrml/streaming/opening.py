"""Puts a video into a scene whose frames stay in their file."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from os import PathLike
from pathlib import Path
from typing import Any

from surgsam2.errors import InputError
from surgsam2.mrml.loading import make_upright, show_as_is
from surgsam2.mrml.mask_sequence import OBJECTS_ATTRIBUTE
from surgsam2.mrml.nodes import NewNodes, checked_node, prepare_scene, remove_node
from surgsam2.mrml.streaming.frame_index import fill_index
from surgsam2.mrml.streaming.frame_window import WINDOW_BYTES
from surgsam2.mrml.streaming.label_folder import LabelFolder
from surgsam2.mrml.streaming.record import Record, fingerprint_of
from surgsam2.mrml.streaming.shown_masks import SEGMENTATION_ROLE
from surgsam2.mrml.streaming.stream import VOLUME_ROLE, Stream
from surgsam2.mrml.streaming.streamed_masks import StreamedMasks
from surgsam2.mrml.streaming.streamed_video import StreamedVideo
from surgsam2.mrml.styles import styles_to_text
from surgsam2.mrml.video_nodes import playback_rate
from surgsam2.storage.output_folder import give_token
from surgsam2.video import Video, open_video


def stream_video(
    scene: Any,
    source: str | PathLike[str] | Video,
    masks: str | PathLike[str] | None = None,
    *,
    name: str | None = None,
    limit: int = WINDOW_BYTES,
) -> StreamedVideo:
    """Put a video into a scene whose frames stay in the file, and its masks in a folder.

    All frames can be shown, played and tracked. The frames around the one that is shown are in
    memory. The scene stores where video and masks are. The file stays open until ``remove()``
    of the video, or until the scene is cleared. Whenever nothing is returned the scene is as it
    was.

    Args:
        scene: a ``vtkMRMLScene``.
        source: a video file or a folder of images; or one that `surgsam2.open_video` opened,
            which then belongs to the scene and is closed with it.
        masks: folder for the masks, as `surgsam2 segment` makes it; masks that are in it
            belong to the video. None makes a new folder beside the video.
        name: name of the nodes; None takes the file's own name.
        limit: bytes of pixels to hold in memory.

    Returns:
        The nodes, showing the first frame; ``open_mask_nodes(nodes.browser)`` are the masks.

    Raises:
        VideoError: the video cannot be read.
        OutputError: the folder cannot be written.
        InputError: the limit is too small for a few frames.
    """
    prepare_scene(scene)
    with ExitStack() as undo, NewNodes(scene) as new:
        video = open_video(source)
        if video is not source:
            undo.callback(video.close)
        file = Path(video.source).absolute()
        fingerprint = fingerprint_of(file)
        folder = new_folder_for(file) if masks is None else Path(masks).absolute()
        if not folder.exists():
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
        LabelFolder(folder, video.width, video.height)
        title = name or file.stem or "video"
        sequence = new.add("vtkMRMLSequenceNode", title)
        fill_index(sequence, video.frame_count)
        sequence.SetAttribute(OBJECTS_ATTRIBUTE, styles_to_text(()))
        volume = new.add("vtkMRMLVectorVolumeNode", title)
        make_upright(volume)
        segmentation = new.add("vtkMRMLSegmentationNode", f"{title} segmentation")
        browser = new.add("vtkMRMLSequenceBrowserNode", f"{title} browser")
        browser.SetIndexDisplayFormat("%.0f")
        browser.SetPlaybackRateFps(playback_rate(video.fps, 1))
        browser.SetNodeReferenceID(VOLUME_ROLE, volume.GetID())
        browser.SetNodeReferenceID(SEGMENTATION_ROLE, segmentation.GetID())
        token = give_token(folder)
        Record(file.as_posix(), fingerprint, folder.as_posix(), token).store(browser)
        stream = Stream(browser, limit, video)
        browser.SetAndObserveMasterSequenceNodeID(sequence.GetID())
        undo.callback(remove_node, browser.GetProxyNode(sequence))
        browser.SetSelectedItemNumber(0)
        nodes = StreamedVideo(browser)
        show_as_is(stream.volume)
        StreamedMasks.of(browser).prepare()
        undo.pop_all()
        return nodes


def relocate(
    browser: Any,
    *,
    video: str | PathLike[str] | None = None,
    masks: str | PathLike[str] | None = None,
) -> StreamedVideo:
    """Tell a scene where the files of a streamed video are now, and return the video.

    Args:
        browser: the video's browser, in a scene that was opened.
        video: new place of the video file or folder of images; None keeps the old one.
        masks: new place of the folder that has the folder ``masks``; None keeps the old one.

    Raises:
        FilesMovedError: the other one is not there either.
        InputError: the video is not streamed, or the file is another video.
        OutputError: the folder is not empty and not one of this program, or cannot be written.
    """
    node = checked_node(browser, "vtkMRMLSequenceBrowserNode", "sequence browser")
    record = Record.of(node)
    if record is None:
        raise InputError(f"the video of {node.GetName()!r} is in the scene, not in a file")
    if video is not None:
        file = Path(video).absolute()
        if fingerprint_of(file) != record.fingerprint:
            raise InputError(f"{file} is another video than {Path(record.video).name}; choose that")
        record = replace(record, video=file.as_posix())
    if masks is not None:
        folder = Path(masks).absolute()
        token = give_token(folder) if folder.is_dir() else ""
        record = replace(record, masks=folder.as_posix(), token=token)
    if Stream.is_open(node):
        record.found(node.GetScene())  # if this raises, the video that is in use stays as it is
        Stream.close_of(node)
    record.store(node)
    return StreamedVideo(node)


def new_folder_for(video: Path) -> Path:
    """Return a folder for masks beside a video that does not exist yet: ``NAME_segmented``."""
    names = (f"{video.stem}_segmented{'' if k == 1 else f'_{k}'}" for k in count(1))
    return next(path for path in map(video.with_name, names) if not path.exists())
