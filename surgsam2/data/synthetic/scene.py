"""A whole scene: its objects, and how one frame of it is painted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from surgsam2.data.synthetic import organs
from surgsam2.data.synthetic.camera import Camera, FieldOfView, View
from surgsam2.data.synthetic.difficulty import Difficulty
from surgsam2.data.synthetic.effects import Sensor, Smoke
from surgsam2.data.synthetic.instruments import Instrument, Style, make_style
from surgsam2.data.synthetic.lighting import Light
from surgsam2.data.synthetic.motion import ALWAYS, Growth, Path, Presence, Wave
from surgsam2.data.synthetic.organs import Ripple, SoftBody, Tissue
from surgsam2.data.synthetic.raster import Canvas, Fragment, Sprite, smear, smear_shifts
from surgsam2.data.synthetic.tissue import Background

VISIBLE_SHARE = 1 / 500
"""An object counts as visible when it has at least this share of the frame's pixels."""


class Layer(Protocol):
    """A thing that a scene paints: an `organs.SoftBody` or an `instruments.Instrument`."""

    object_id: int
    """Id in the labels; 0 for a layer without label."""
    height: float
    """Order of painting; a higher layer is nearer to the camera."""
    film: bool
    """Whether the layer only tints what is below it and has no label."""
    depth: float
    """Nearness to the camera; nearer things move more when the camera moves."""
    presence: Presence

    def anchor(self, t: float) -> np.ndarray:
        """Return the (2,) world position at time `t`."""
        ...

    def centre_in(self, part: float) -> None:
        """Scale the layer's distance from the middle of the scene by `part`, from 0 to 1."""
        ...

    def fragments(self, t: float, view: View, size: tuple[int, int]) -> Iterable[Fragment]:
        """Yield the layer's fragments in an image of `size` (width, height) at time `t`."""
        ...


@dataclass(frozen=True)
class Recipe:
    """The arguments with which a similar second object is made."""

    kind: str
    sprite: Sprite | None = None
    tissue: Tissue | None = None
    style: Style | None = None
    radius: float = 0.2
    """Half of the side of the sprite's square, in world units."""


class Scene:
    """All placed layers of a clip; picture and labels are a function of time alone."""

    def __init__(
        self,
        seed: int,
        size: tuple[int, int],
        frames: int,
        objects: int | None,
        difficulty: Difficulty,
    ) -> None:
        self.size = size
        self._frames = frames
        self._difficulty = difficulty
        self._rng = np.random.default_rng([seed, 20240807])
        rng = self._rng
        self._unit = float(min(size))
        self._half = np.array(size) / self._unit / 2.0
        self._camera = Camera(rng, size, frames, difficulty)
        self._field = FieldOfView(rng, size)
        self._light = Light(rng, size)
        self._gain = self._field.gain * self._light.tint
        self._background = Background(rng, size, difficulty)
        self._smoke = Smoke(rng, frames, difficulty) if rng.random() < difficulty.smoke else None
        self._sensor = Sensor(rng, size)
        self.names: dict[int, str] = {}
        self._layers: list[Layer] = []
        self._populate(objects)
        self._layers.sort(key=lambda layer: layer.height)
        self._ensure_visible()

    # --- rendering -----------------------------------------------------------------------

    def labels(self, t: float) -> np.ndarray:
        """Return the (H, W) uint16 id of the visible object at each pixel; 0 is background."""
        canvas = Canvas(self.size)
        view = self._camera.view(t)
        for layer in self._layers:
            if not layer.film:
                for fragment in layer.fragments(t, view, self.size):
                    canvas.paint_label(fragment, layer.object_id)
        canvas.labels[self._field.outside] = 0
        return canvas.labels

    def frame(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Render the (H, W, 3) uint8 RGB picture and the (H, W) uint16 labels of a frame."""
        t = float(index)
        view = self._camera.view(t)
        before, after = self._camera.view(t - 0.5), self._camera.view(t + 0.5)
        canvas = Canvas(self.size)
        self._background.paint(canvas, t, view)
        reach = max(int(self._unit * 0.02), 2)
        shutter = self._difficulty.shutter
        for layer in self._layers:
            c, s = np.cos(view.angle), np.sin(view.angle)
            speed = (layer.anchor(t + 0.5) - layer.anchor(t - 0.5)) * view.scale * shutter
            turned = np.array([c * speed[0] - s * speed[1], s * speed[0] + c * speed[1]])
            shifts = [] if layer.film else smear_shifts(turned)
            for fragment in layer.fragments(t, view, self.size):
                if not layer.film:
                    canvas.paint_shadow(fragment, (reach // 2, reach // 2), reach)
                    canvas.paint_label(fragment, layer.object_id)
                canvas.paint(fragment, shifts)
        image = self._light.shade(canvas, t)
        if self._smoke is not None:
            image = self._smoke.apply(image, t)
        middle = np.zeros((1, 2))
        moved = (after.to_image(middle) - before.to_image(middle))[0] * shutter
        shifts = smear_shifts(moved)
        if shifts:
            image = smear(image, shifts)
        canvas.labels[self._field.outside] = 0
        return self._sensor.expose(image, self._gain, index), canvas.labels

    # --- population ----------------------------------------------------------------------

    def _populate(self, objects: int | None) -> None:
        rng, difficulty = self._rng, self._difficulty
        count = int(rng.integers(2, 5)) if objects is None else objects
        for _ in range(int(rng.integers(0, 3))):
            self._add_organ(0, height=rng.uniform(0.0, 0.3), radius=rng.uniform(0.35, 0.7))
        recipes: list[Recipe] = []
        for object_id in range(1, count + 1):
            draw = rng.random()
            if draw < 0.42:
                recipe = self._add_organ(object_id, height=rng.uniform(0.3, 1.0))
            elif draw < 0.74:
                recipe = self._add_instrument(object_id)
            else:
                recipe = self._add_thing(object_id)
            recipes.append(recipe)
            self.names[object_id] = recipe.kind
        most = int(1 + 2.5 * difficulty.level)
        for _ in range(min(int(rng.poisson(difficulty.lookalikes)), most)):
            self._add_lookalike(recipes[int(rng.integers(len(recipes)))])
        for _ in range(min(int(rng.poisson(difficulty.passers)), most)):
            self._add_instrument(0, passing=True)
        for _ in range(int(rng.poisson(difficulty.blood))):
            self._add_blood()

    def _resolution(self, radius: float) -> int:
        """Return the side of the sprite of a body of this radius, in pixels."""
        return int(np.clip(2.0 * radius * self._unit, 32, 512))

    def _place(self, reach: float = 0.75) -> np.ndarray:
        """Draw a random point of the world that is in view while the camera rests."""
        limit = min(self._field.radius, float(np.hypot(*self._half)))
        point = self._rng.uniform(-1, 1, 2) * np.minimum(self._half, limit)
        length = float(np.hypot(*point)) / limit
        return np.asarray(point * reach / max(length, 1.0))

    def _stays(self) -> Presence:
        """Draw the times at which a labelled instrument or thing is present."""
        rng, difficulty, n = self._rng, self._difficulty, float(self._frames)
        ramp = float(rng.uniform(8, 16))
        forever = 1e9
        begin = -forever
        if rng.random() < difficulty.late and n > 8:
            begin = rng.uniform(0.05, 0.35) * n
        if rng.random() < difficulty.leaves and n > 30:
            leave = rng.uniform(0.45, 0.65) * n
            back = leave + rng.uniform(0.02, 0.15) * n
            return Presence([(begin, leave), (back, forever)], ramp)
        return Presence([(begin, forever)], ramp) if begin > 0 else ALWAYS

    def _add_body(
        self,
        sprite: Sprite,
        object_id: int,
        radius: float,
        height: float,
        home: np.ndarray,
        free: bool,
        presence: Presence = ALWAYS,
    ) -> SoftBody:
        rng, difficulty = self._rng, self._difficulty
        amplitude = (0.24 if free else 0.07) * difficulty.motion
        turn = (0.9 if free else 0.2) * difficulty.motion
        outward = home / max(float(np.hypot(*home)), 1e-6)
        period = (40.0, 90.0) if free else (30.0, 70.0)
        body = SoftBody(
            sprite=sprite,
            home=home,
            radius=radius,
            angle=float(rng.uniform(0, 2 * np.pi)),
            sway=Wave(rng, 2, amplitude, period),
            turn=Wave(rng, 1, turn, (50, 120)),
            squash=Wave(rng, 1, 0.16 * difficulty.motion, (25, 60)),
            ripple=Ripple(rng, difficulty.deformation * (0.6 if free else 1.0)),
            presence=presence,
            exit=outward * (float(np.hypot(*self._half)) + 0.9 + radius),
            depth=float(rng.uniform(0.0, 0.12)),
            height=height,
            object_id=object_id,
        )
        self._layers.append(body)
        return body

    def _add_organ(
        self,
        object_id: int,
        height: float,
        radius: float | None = None,
        tissue: Tissue | None = None,
    ) -> Recipe:
        rng = self._rng
        radius = rng.uniform(0.16, 0.4) if radius is None else radius
        tissue = tissue or organs.TISSUES[int(rng.integers(len(organs.TISSUES)))]
        shape = organs.ORGAN_SHAPES[int(rng.integers(len(organs.ORGAN_SHAPES)))]
        sprite = organs.tissue_sprite(rng, shape(rng, self._resolution(radius)), tissue)
        share = self._difficulty.neighbours if object_id else 0.0
        beside = share > 0 and rng.random() < share
        if beside:
            sprite = organs.toned(rng, sprite)
        body = self._add_body(sprite, object_id, radius, height, self._place(), free=False)
        if beside:
            body.neighbour = self._neighbour_of(body, tissue)
        return Recipe(tissue.name, sprite=sprite, tissue=tissue, radius=radius)

    def _neighbour_of(self, organ: SoftBody, tissue: Tissue) -> SoftBody:
        """Make an unlabelled organ of nearly the same tissue that touches `organ`."""
        rng = self._rng
        radius = organ.radius * rng.uniform(0.5, 1.1)
        shape = organs.ORGAN_SHAPES[int(rng.integers(len(organs.ORGAN_SHAPES)))]
        sprite = organs.tissue_sprite(rng, shape(rng, self._resolution(radius)), tissue)
        sprite = organs.toned(rng, sprite)
        angle = rng.uniform(0, 2 * np.pi)
        # Sprites reach 0.8 of their squares at most, and less across.
        reach = 0.8 * (organ.radius + radius) * rng.uniform(0.5, 0.9)
        home = organ.home + reach * np.array([np.cos(angle), np.sin(angle)])
        height = organ.height + rng.uniform(-0.1, 0.03)
        body = self._add_body(sprite, 0, radius, height, home, free=False)
        body.sway, body.depth = organ.sway, organ.depth
        return body

    def _add_thing(self, object_id: int) -> Recipe:
        rng = self._rng
        radius = rng.uniform(0.12, 0.27)
        shape = organs.THING_SHAPES[int(rng.integers(len(organs.THING_SHAPES)))]
        sprite = organs.thing_sprite(rng, shape(rng, self._resolution(radius)))
        presence = self._stays()
        height = rng.uniform(0.3, 1.7)
        self._add_body(sprite, object_id, radius, height, self._place(), True, presence)
        return Recipe("thing", sprite=sprite, radius=radius)

    def _add_instrument(
        self, object_id: int, style: Style | None = None, passing: bool = False
    ) -> Recipe:
        rng, difficulty = self._rng, self._difficulty
        style = style or make_style(rng, self._unit / 512.0)
        bearing = rng.uniform(0, 2 * np.pi)
        far = float(np.hypot(*self._half)) + 0.55 + difficulty.pan
        trocar = far * np.array([np.cos(bearing), np.sin(bearing)])
        gap = float(rng.uniform(12, 22)) / (0.5 + difficulty.motion)
        count = int(np.ceil(self._frames / gap)) + 2
        middle = self._place(0.6)
        wander = rng.normal(0.0, 0.12 * difficulty.motion, (count, 2))
        if passing:
            middle = self._place(0.4)
            wander *= 1.4
        presence = self._stays()
        if passing:
            enter = rng.uniform(-0.2, 0.6) * self._frames
            stay = rng.uniform(0.25, 0.7) * max(self._frames, 20)
            presence = Presence([(enter, enter + stay)], float(rng.uniform(7, 14)))
        instrument = Instrument(
            style=style,
            trocar=trocar,
            path=Path(middle + wander, gap),
            bend=Wave(rng, 1, 1.0, (20, 60)),
            open=Wave(rng, 1, 1.4, (12, 45)),
            presence=presence,
            depth=float(rng.uniform(0.05, 0.25)),
            height=float(rng.uniform(1.0, 2.0) if rng.random() < 0.9 else rng.uniform(0.4, 1.0)),
            object_id=object_id,
        )
        self._layers.append(instrument)
        return Recipe(style.kind, style=style)

    def _add_lookalike(self, recipe: Recipe) -> None:
        rng = self._rng
        if recipe.style is not None:
            self._add_instrument(0, recipe.style)
            return
        if recipe.tissue is not None and rng.random() < 0.6:
            radius = recipe.radius * rng.uniform(0.8, 1.2)
            self._add_organ(0, rng.uniform(0.2, 1.0), radius, recipe.tissue)
            return
        if recipe.sprite is not None:
            free = recipe.tissue is None
            height = rng.uniform(0.2, 1.4 if free else 1.0)
            radius = recipe.radius * rng.uniform(0.75, 1.1)
            self._add_body(recipe.sprite, 0, radius, height, self._place(), free)

    def _add_blood(self) -> None:
        rng, n = self._rng, self._frames
        radius = rng.uniform(0.06, 0.2)
        sprite = organs.blood_sprite(rng, organs.splash_shape(rng, self._resolution(radius)))
        home = self._place()
        body = self._add_body(sprite, 0, radius, rng.uniform(0.4, 1.0), home, free=False)
        body.film = True
        start, rise = rng.uniform(-0.6, 0.7) * n, rng.uniform(0.2, 0.8) * max(n, 10)
        body.grow = Growth(start, rise)

    def _ensure_visible(self) -> None:
        """Move objects that are present from the start so that they are visible at the start."""
        needed = VISIBLE_SHARE * 2 * self.size[0] * self.size[1]
        for attempt in range(4):
            areas = np.bincount(self.labels(0.0).ravel(), minlength=256)
            hidden = [
                layer
                for layer in self._layers
                if layer.object_id
                and layer.presence(0.0) >= 1.0
                and areas[layer.object_id] < needed
            ]
            if not hidden:
                return
            for layer in hidden:
                layer.centre_in(0.55)
                layer.height = 2.0 + 0.1 * attempt + 0.01 * layer.object_id
            self._layers.sort(key=lambda layer: layer.height)
