"""Converts masks to the images that segments hold, and back."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

REPRESENTATION = "Binary labelmap"
"""Slicer's name for masks; the others (surfaces, contours) have no use in a video."""

_Box = tuple[slice, slice]  # rows, columns


@dataclass(frozen=True)
class Label:
    """The mask of a segment: those pixels of `image` that equal `value`."""

    image: Any
    """``vtkOrientedImageData``, cropped, which other segments may share."""
    value: int


def to_labels(masks: Sequence[np.ndarray], ijk_to_ras: Any) -> list[Label]:
    """Return one label for each mask.

    Masks that do not share a pixel share one image, as in Slicer, which is quick. Overlapping
    masks get images of their own, so that nothing is lost.

    Args:
        masks: (H, W) bool masks, at least one.
        ijk_to_ras: ``vtkMatrix4x4`` of the frame.
    """
    boxes = [bounding_box(mask) for mask in masks]
    region = _union([box for box in boxes if box is not None])
    top, left = region[0].start, region[1].start
    size = (region[0].stop - top, region[1].stop - left)
    kind = np.uint8 if len(masks) < 256 else np.uint16
    layers = [np.zeros(size, kind)]
    layer_of = []
    for value, (mask, box) in enumerate(zip(masks, boxes, strict=True), start=1):
        if box is None:
            layer_of.append(0)
            continue
        rows, columns = box
        place = (
            slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left),
        )
        free = [not np.logical_and(layer[place], mask[box]).any() for layer in layers]
        if True not in free:
            layers.append(np.zeros(size, kind))
            free.append(True)
        number = free.index(True)
        np.copyto(layers[number][place], value, where=mask[box], casting="unsafe")
        layer_of.append(number)
    images = [_oriented(layer, top, left, ijk_to_ras) for layer in layers]
    return [Label(images[number], value) for value, number in enumerate(layer_of, start=1)]


def to_mask(segment: Any, height: int, width: int, ijk_to_ras: Any) -> np.ndarray:
    """Return the (H, W) bool mask of a segment, whatever part of the frame its image covers.

    A segment without an image gives an empty mask.
    """
    mask = np.zeros((height, width), bool)
    image = segment.GetRepresentation(REPRESENTATION)
    if image is None or image.IsEmpty() or image.GetPointData().GetScalars() is None:
        return mask
    image, (dx, dy, dz) = _on_pixels(image, height, width, ijk_to_ras)
    x0, x1, y0, y1, z0, z1 = image.GetExtent()
    values = vtk_to_numpy(image.GetPointData().GetScalars())
    values = values.reshape(z1 - z0 + 1, y1 - y0 + 1, x1 - x0 + 1)
    slice_number = -dz - z0
    if not 0 <= slice_number < len(values):
        return mask
    left, top = x0 + dx, y0 + dy  # corner of the image in the frame
    rows = slice(max(0, top), min(height, y1 + dy + 1))
    columns = slice(max(0, left), min(width, x1 + dx + 1))
    if rows.start < rows.stop and columns.start < columns.stop:
        part = values[
            slice_number,
            rows.start - top : rows.stop - top,
            columns.start - left : columns.stop - left,
        ]
        np.equal(part, segment.GetLabelValue(), out=mask[rows, columns])
    return mask


def bounding_box(mask: np.ndarray) -> _Box | None:
    """Return the rows and columns that a mask fills; None when it is empty."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    band = slice(int(rows[0]), int(rows[-1]) + 1)
    columns = np.flatnonzero(mask[band].any(axis=0))
    return band, slice(int(columns[0]), int(columns[-1]) + 1)


def checksum(mask: np.ndarray) -> str:
    """Return text that differs when the pixels do, however a file stores them."""
    box = bounding_box(mask)
    if box is None:
        return "empty"
    rows, columns = box
    where = f"{rows.start} {rows.stop} {columns.start} {columns.stop} "
    return where + f"{zlib.crc32(np.packbits(mask[box]).tobytes()):08x}"


def frame_geometry(height: int, width: int, ijk_to_ras: Any) -> str:
    """Return Slicer's text for the grid of a whole frame, on which Segment Editor paints."""
    image = slicer.vtkOrientedImageData()
    image.SetExtent(0, width - 1, 0, height - 1, 0, 0)
    image.SetGeometryFromImageToWorldMatrix(ijk_to_ras)
    return str(slicer.vtkSegmentationConverter.SerializeImageGeometry(image))


def empty_image(ijk_to_ras: Any) -> Any:
    """Return an image of one background pixel, for a segment without a mask."""
    return _oriented(np.zeros((1, 1), np.uint8), 0, 0, ijk_to_ras)


def _union(boxes: Sequence[_Box]) -> _Box:
    """Return the smallest box around all boxes; one pixel when there are none."""
    if not boxes:
        return slice(0, 1), slice(0, 1)
    rows, columns = zip(*boxes, strict=True)
    return _hull(rows), _hull(columns)


def _hull(slices: Sequence[slice]) -> slice:
    return slice(min(s.start for s in slices), max(s.stop for s in slices))


def _oriented(labels: np.ndarray, top: int, left: int, ijk_to_ras: Any) -> Any:
    height, width = labels.shape
    image = slicer.vtkOrientedImageData()
    # the extent gives the place; all images keep the frame's own origin
    image.SetExtent(left, left + width - 1, top, top + height - 1, 0, 0)
    image.SetGeometryFromImageToWorldMatrix(ijk_to_ras)
    image.GetPointData().SetScalars(numpy_to_vtk(labels.ravel(), deep=True))
    return image


def _on_pixels(
    image: Any, height: int, width: int, ijk_to_ras: Any
) -> tuple[Any, tuple[int, int, int]]:
    """Return an image on the pixel grid of the frame, and the offset (x, y, z) of its indices.

    Files move the origin to the cropped corner, which gives a whole offset. Segments that were
    copied from another segmentation may have another spacing; these are resampled.
    """
    to_ras, to_pixels = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(to_ras)
    vtk.vtkMatrix4x4.Invert(ijk_to_ras, to_pixels)
    vtk.vtkMatrix4x4.Multiply4x4(to_pixels, to_ras, to_pixels)
    matrix = np.array([to_pixels.GetElement(i, j) for i in range(4) for j in range(4)])
    matrix = matrix.reshape(4, 4)
    step = np.rint(matrix[:3, 3])
    same = np.eye(4)
    same[:3, 3] = step
    if np.allclose(matrix, same, atol=1e-3):
        dx, dy, dz = (int(value) for value in step)
        return image, (dx, dy, dz)
    frame = slicer.vtkOrientedImageData()
    frame.SetExtent(0, width - 1, 0, height - 1, 0, 0)
    frame.SetGeometryFromImageToWorldMatrix(ijk_to_ras)
    resampled = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
        image, frame, resampled
    )
    return resampled, (0, 0, 0)
