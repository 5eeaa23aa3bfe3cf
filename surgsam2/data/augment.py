"""Video augmentation: all frames of a clip are transformed with the same random numbers.

The published recipe: horizontal flip, affine up to 25 degrees with shear up to 20,
resize to 512x512, colour jitter, grey in 5 % of the clips. (SurgSAM2's configuration
has a second colour jitter, for each frame on its own; it is left out.) Images are
interpolated, labels take the nearest pixel, so no label value is invented.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from surgsam2.errors import InputError


@dataclass(frozen=True, kw_only=True)
class AugmentStrengths:
    """Strengths of the augmentation; the defaults are SurgSAM2's published ones.

    Raises:
        InputError: a strength is out of its range.
    """

    flip: float = 0.5
    """Probability of a horizontal flip."""
    degrees: float = 25.0
    """Largest rotation in degrees; the angle is uniform within plus and minus this value."""
    shear: float = 20.0
    """Largest horizontal shear in degrees, uniform within plus and minus this value."""
    zoom: float = 1.0
    """Largest zoom into a random part of the picture, log-uniform from 1 on; 1 as published."""
    brightness: float = 0.1
    contrast: float = 0.03
    saturation: float = 0.03
    """The factors of the three are uniform within 1 plus and minus these values."""
    grey: float = 0.05
    """Probability that the clip is turned to grey."""
    hue: float = 0.0
    """Largest rotation of all colours about grey in degrees; 0 as published."""

    def __post_init__(self) -> None:
        for name in ("flip", "grey"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"{name} must be a probability, got {getattr(self, name)}")
        for name in ("brightness", "contrast", "saturation"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise InputError(f"{name} must be from 0 to below 1, got {getattr(self, name)}")
        if not self.zoom >= 1:
            raise InputError(f"zoom must be at least 1, got {self.zoom}")
        if not (0 <= self.shear < 90 and self.degrees >= 0):
            raise InputError(
                f"shear must be from 0 to below 90 and degrees not negative, "
                f"got {self.shear} and {self.degrees}"
            )
        if not 0 <= self.hue <= 180:
            raise InputError(f"hue must be from 0 to 180 degrees, got {self.hue}")


@dataclass(frozen=True)
class Augmentation(AugmentStrengths):
    """Draws the augmentation of clips, with these strengths, and brings their frames to one size.

    Raises:
        InputError: a value is out of its range.
    """

    size: int = 512
    """Side of the square output in pixels; the aspect ratio is not kept, as in SAM 2."""
    fill: tuple[int, int, int] = (0, 0, 0)
    """RGB colour of output pixels that lie outside the source picture; their label is 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size < 1:
            raise InputError(f"size must be at least 1, got {self.size}")

    @classmethod
    def none(cls, size: int = 512) -> Augmentation:
        """Return an augmentation that only resizes, for validation."""
        return cls(size, flip=0, degrees=0, shear=0, brightness=0, contrast=0, saturation=0, grey=0)

    def draw(self, seed: int | tuple[int, ...]) -> DrawnAugmentation:
        """Draw the random numbers for one clip; the same seed gives the same numbers."""
        rng = np.random.default_rng(seed)
        flip, grey = rng.random() < self.flip, rng.random() < self.grey
        uniform = rng.uniform(-1.0, 1.0, 5)
        order = rng.permutation(3)
        zoom = float(self.zoom ** rng.random())
        centre = (1.0 - 1.0 / zoom) * rng.uniform(-0.5, 0.5, 2)
        hue = self.hue * float(rng.uniform(-1.0, 1.0))
        return DrawnAugmentation(
            size=self.size,
            flip=bool(flip),
            angle=float(uniform[0] * self.degrees),
            shear=float(uniform[1] * self.shear),
            zoom=zoom,
            centre=(float(centre[0]), float(centre[1])),
            brightness=1.0 + float(uniform[2]) * self.brightness,
            contrast=1.0 + float(uniform[3]) * self.contrast,
            saturation=1.0 + float(uniform[4]) * self.saturation,
            grey=bool(grey),
            hue=hue,
            colour_order=(int(order[0]), int(order[1]), int(order[2])),
            fill=self.fill,
        )

    def __call__(
        self, frames: np.ndarray, labels: np.ndarray, seed: int | tuple[int, ...]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Transform frames and labels alike.

        Args:
            frames: (T, H, W, 3) uint8 RGB.
            labels: (T, H, W) uint8 or uint16.
            seed: decides every random number.

        Returns:
            (T, size, size, 3) uint8 frames and (T, size, size) labels of the given dtype.

        Raises:
            InputError: an array has another shape or dtype.
        """
        return self.draw(seed).apply(frames, labels)


@dataclass(frozen=True)
class DrawnAugmentation:
    """One transformation, applied alike to every frame."""

    size: int
    flip: bool
    angle: float
    """Degrees, clockwise as seen."""
    shear: float
    """Degrees."""
    brightness: float
    contrast: float
    saturation: float
    grey: bool
    colour_order: tuple[int, int, int]
    """Order of brightness (0), contrast (1) and saturation (2)."""
    fill: tuple[int, int, int] = (0, 0, 0)
    zoom: float = 1.0
    centre: tuple[float, float] = (0.0, 0.0)
    """Point of the source that becomes the middle: (x, y) in sides, from the middle."""
    hue: float = 0.0
    """Degrees by which colours are turned about grey; a positive angle turns red towards green."""

    def matrix(self, width: int, height: int) -> np.ndarray:
        """Return the (2, 3) matrix from source to output pixels."""
        angle, shear = np.deg2rad(self.angle), np.tan(np.deg2rad(self.shear))
        c, s = np.cos(angle), np.sin(angle)
        linear = np.array([[c, -s], [s, c]]) @ np.array([[1.0, shear], [0.0, 1.0]])
        if self.flip:
            linear = linear @ np.diag([-1.0, 1.0])
        scale = np.diag([self.size / width, self.size / height]) * self.zoom
        sides = np.array([width, height])
        middle = (sides - 1) / 2.0 + np.array(self.centre) * sides
        target = np.full(2, (self.size - 1) / 2.0)
        linear = scale @ linear
        return np.column_stack([linear, target - linear @ middle])

    def apply(self, frames: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Transform frames and labels, as `Augmentation.__call__`."""
        if frames.ndim != 4 or frames.shape[3] != 3 or frames.dtype != np.uint8:
            raise InputError(
                f"frames must be (T, H, W, 3) uint8, got {frames.shape} {frames.dtype}"
            )
        if labels.shape != frames.shape[:3] or labels.dtype not in (np.uint8, np.uint16):
            raise InputError(
                f"labels must be {frames.shape[:3]} uint8 or uint16, "
                f"got {labels.shape} {labels.dtype}"
            )
        return (
            np.stack([self.apply_image(frame) for frame in frames]),
            np.stack([self.apply_labels(label) for label in labels]),
        )

    def apply_image(self, frame: np.ndarray) -> np.ndarray:
        """Transform one (H, W, 3) uint8 frame to (size, size, 3) uint8."""
        return self._colours(self._warp(frame, cv2.INTER_LINEAR))

    def apply_labels(self, labels: np.ndarray) -> np.ndarray:
        """Transform (H, W) labels to (size, size); pixels outside the source become background."""
        return self._warp(labels, cv2.INTER_NEAREST)

    def _warp(self, image: np.ndarray, flags: int) -> np.ndarray:
        h, w = image.shape[:2]
        matrix = self.matrix(w, h)
        side = (self.size, self.size)
        border = (0.0, 0.0, 0.0) if image.ndim == 2 else tuple(float(v) for v in self.fill)
        shrink = max(w, h) / self.size
        if image.ndim == 3 and shrink > 1.5:
            # A large reduction would alias, so the image is averaged first and then warped.
            small = (max(round(w / shrink), 1), max(round(h / shrink), 1))
            image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
            # Pixel (u, v) of the small image lies at ((u + 0.5) * f - 0.5) of the source.
            f = np.array([w / small[0], h / small[1]])
            offset = matrix[:, :2] @ (0.5 * f - 0.5) + matrix[:, 2]
            matrix = np.column_stack([matrix[:, :2] * f, offset])
        return cv2.warpAffine(image, matrix, side, flags=flags, borderValue=border)

    def _colours(self, image: np.ndarray) -> np.ndarray:
        factors = (self.brightness, self.contrast, self.saturation)
        if factors == (1.0, 1.0, 1.0) and not self.grey and not self.hue:
            return image
        result: np.ndarray = image.astype(np.float32)
        if self.hue:
            result = np.clip(result @ _hue_rotation(self.hue), 0.0, 255.0)
        for step in self.colour_order:
            factor = factors[step]
            if step == 0:
                result = result * factor
            elif step == 1:
                middle = float(_grey(result).mean())
                result = result * factor + middle * (1.0 - factor)
            else:
                result = result * factor + _grey(result)[..., None] * (1.0 - factor)
            result = np.clip(result, 0.0, 255.0)
        if self.grey:
            result = np.repeat(_grey(result)[..., None], 3, axis=2)
        return np.round(result).astype(np.uint8)


def _hue_rotation(degrees: float) -> np.ndarray:
    """Return the (3, 3) float32 matrix by which rows of RGB are multiplied to turn their hues.

    It is Rodrigues' rotation about the axis of greys.
    """
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees)) / np.sqrt(3.0)
    across = np.array([[0.0, s, -s], [-s, 0.0, s], [s, -s, 0.0]])
    return (c * np.eye(3) + across + (1.0 - c) / 3.0).astype(np.float32)


def _grey(image: np.ndarray) -> np.ndarray:
    """Return the (H, W) float32 luma of an RGB image."""
    return np.asarray(image @ np.array([0.299, 0.587, 0.114], np.float32))
