"""What COCO files of different programs mean: which frame an image is, which object a mask is.

COCO knows single pictures only. Each program has its own way to number frames and to tell the
objects of a video apart, and some have none.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from surgsam2.errors import InputError
from surgsam2.prompts.checks import show
from surgsam2.results.mask_source import last_number

Writer = Literal["CVAT", "Label Studio", "Roboflow", "FiftyOne", "supervision", ""]
"""The programs whose files are recognised; empty for any other."""

_ROBOFLOW_NAME = re.compile(r"_(?:jpe?g|png|bmp|tiff?|webp)\.rf\.[^.]+$", re.IGNORECASE)
_LABEL_STUDIO_NAME = re.compile(r"^[0-9a-f]{8}-")
_TRACK_KEYS = ("object_id", "track_id", "instance_id")
_FIFTYONE_KEY = "index"
_LISTED = 5


@dataclass(frozen=True)
class Meaning:
    """Values of a file, with what was assumed to find them."""

    values: list[Any]
    assumed: tuple[str, ...] = ()


def writer_of(data: Mapping[str, Any]) -> Writer:
    """Return the program that wrote a file, as its texts tell.

    Args:
        data: the content of the file.
    """
    info = data.get("info")
    info = info if isinstance(info, dict) else {}
    words = " ".join(str(info.get(key, "")) for key in ("description", "contributor", "url"))
    for writer in ("Label Studio", "Roboflow", "FiftyOne"):
        if writer.lower() in words.lower():
            return writer
    if "roboflow" in words.lower():
        return "Roboflow"
    annotations, categories = data.get("annotations", []), data.get("categories", [])
    if any(_attributes(item).keys() & {"occluded", "keyframe"} for item in annotations):
        return "CVAT"
    if categories and all(item.get("supercategory") == "common-objects" for item in categories):
        return "supervision"
    return ""


def frame_numbers(images: Sequence[Mapping[str, Any]], writer: Writer, path: Path) -> Meaning:
    """Return the frame of each image.

    It is the image's ``frame_index``, else the last number in the name of its file, without what
    the program added to the name.

    Args:
        images: the entries of the file's list of images.
        writer: the program that wrote the file.
        path: the file, for messages.

    Raises:
        InputError: a name has no number, or the names differ in more than a number.
    """
    if all(image.get("frame_index") is not None for image in images):
        return Meaning([image["frame_index"] for image in images])
    stems = [_stem(image, writer) for image in images]
    found = [last_number(stem, path) for stem in stems]
    before = {stem[: place.start()] for stem, place in zip(stems, found, strict=True)}
    if len(before) > 1:
        names = ", ".join(sorted(stems)[:_LISTED])
        raise InputError(
            f"{path}: it is not clear which frames the images are: their names, such as {names}, "
            "differ in more than their last number; give each image a frame_index in the file, "
            "or rename the images to frame_00000, frame_00001 and so on"
        )
    numbers = [int(place[0]) for place in found]
    assumed = f"the number in {stems[0]!r} is taken as frame {numbers[0]}, counted from 0"
    if writer:
        assumed += f" (a file of {writer})"
    return Meaning(numbers, (assumed,))


def object_ids(
    annotations: Sequence[Mapping[str, Any]],
    frames: Sequence[int],
    categories: Mapping[int | str, Mapping[str, Any]],
    writer: Writer,
    path: Path,
    merge: bool | None,
) -> Meaning:
    """Return the object that each mask belongs to.

    It is the annotation's ``object_id``, ``track_id``, ``instance_id`` or ``index``, also among
    its attributes as CVAT and FiftyOne write them; in a file without any of these, its category.

    Args:
        annotations: the entries of the file's list of annotations.
        frames: the frame of each annotation.
        categories: the categories by id.
        writer: the program that wrote the file.
        path: the file, for messages.
        merge: whether the masks of one category on a frame are one object; None asks.

    Returns:
        Ids as the file has them, or numbers from 1 if it has others.

    Raises:
        InputError: some masks have an object and others have none, or a file without objects has
            several masks of one category on a frame.
    """
    known = (*_TRACK_KEYS, _FIFTYONE_KEY) if writer == "FiftyOne" else _TRACK_KEYS
    keys = [key for key in known if any(_value(item, key) is not None for item in annotations)]
    if not keys:
        return _by_category(annotations, frames, categories, writer, path, merge)
    given = [_value(item, keys[0]) for item in annotations]
    without = sum(value is None for value in given)
    if without:
        raise InputError(
            f"{path}: {without} of {len(given)} masks have no {keys[0]}, so it is not clear which "
            "objects they belong to; in the program that wrote the file, make them parts of tracks"
        )
    if len(categories) > 1:
        kinds = defaultdict(set)
        for value, item in zip(given, annotations, strict=True):
            kinds[str(value)].add(item["category_id"])
        if keys[0] == _FIFTYONE_KEY and any(len(found) > 1 for found in kinds.values()):
            # Objects may be counted for each class by itself.
            given = [
                f"{item['category_id']} {value}"
                for value, item in zip(given, annotations, strict=True)
            ]
    assumed = []
    if keys[0] != "track_id" or "track_id" not in annotations[0]:
        source = f"{keys[0]} (a file of {writer})" if writer else keys[0]
        assumed.append(f"objects are told apart by {source}")
    if keys[0] == "object_id":
        return Meaning(given)
    ids, renumbered = _numbered(given)
    return Meaning(ids, (*assumed, *renumbered))


def _by_category(
    annotations: Sequence[Mapping[str, Any]],
    frames: Sequence[int],
    categories: Mapping[int | str, Mapping[str, Any]],
    writer: Writer,
    path: Path,
    merge: bool | None,
) -> Meaning:
    found = [item["category_id"] for item in annotations]
    keys = zip(frames, map(str, found), strict=True)
    several = [place for place, times in Counter(keys).items() if times > 1]
    if several and not merge:
        frame, category = several[0]
        names = [item.get("name") for key, item in categories.items() if str(key) == category]
        raise InputError(
            f"{path}, frame {frame}: there are several masks of the category "
            f"{show(names[0] if names else category)}, and nothing tells whether they are one "
            "object; give each annotation a track_id, or open the file with merge=True if all "
            "masks of a category are one object"
        )
    # Roboflow's category 0 is the name of the project: nothing is of this category.
    ids, renumbered = _numbered(found, from_0=0 in categories and writer != "Roboflow")
    if not annotations or not categories:
        return Meaning(ids, renumbered)
    what = "masks of one category on a frame are parts of one object" if several else ""
    return Meaning(ids, (f"each category is one object{'; ' + what if what else ''}", *renumbered))


def _numbered(given: list[Any], *, from_0: bool = False) -> tuple[list[Any], tuple[str, ...]]:
    """Return ids from 1 on; others are shifted or counted in the order of their occurrence.

    Args:
        given: the ids in the file.
        from_0: whether ids count from 0 even if 0 does not occur, so that an object has the same
            id in every file of a data set.
    """
    if all(isinstance(value, int) and not isinstance(value, bool) for value in given):
        if given and (from_0 or min(given) == 0):
            return [value + 1 for value in given], ("object 0 of the file is object 1 here",)
        return given, ()
    if not all(isinstance(value, str) for value in given):
        return given, ()  # the caller refuses what is no id
    numbers = {value: number for number, value in enumerate(dict.fromkeys(given), 1)}
    listed = ", ".join(f"{value} is {number}" for value, number in list(numbers.items())[:_LISTED])
    return [numbers[value] for value in given], (f"objects are numbered: {listed}",)


def _stem(image: Mapping[str, Any], writer: Writer) -> str:
    extra = image.get("extra")
    if writer == "Roboflow" and isinstance(extra, dict) and isinstance(extra.get("name"), str):
        name = extra["name"]
    else:
        name = image["file_name"]
    stem = PurePosixPath(name.replace("\\", "/")).stem
    stem = _ROBOFLOW_NAME.sub("", stem)
    return _LABEL_STUDIO_NAME.sub("", stem) if writer == "Label Studio" else stem


def _attributes(item: Mapping[str, Any]) -> Mapping[str, Any]:
    found = item.get("attributes")
    return found if isinstance(found, dict) else {}


def _value(item: Mapping[str, Any], key: str) -> Any:
    value = item.get(key)
    return _attributes(item).get(key) if value is None else value
