"""One picture of the zoo: animals in a scene, with their keypoints, boxes and a caption's facts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np

from genloc.data.zoo.animal import Animal, make_animal
from genloc.data.zoo.coat import PAINTS, Coat, Mark, draw_coat, shade
from genloc.data.zoo.render import Buffers, Camera, draw_capsules, shadow_mask
from genloc.data.zoo.scene import GROUNDS, STYLES, background, finish, foreground

FRONT_OF = 0.06  # how far (world units) a surface may lie before a joint's own and still show it


@dataclass(frozen=True)
class Labelled:
    """One labelled animal.

    keypoints [K,3]: x, y in pixels (index convention) and AP-10K's v: 2 visible, 1 hidden by itself
    or by something in front, 0 outside the picture (x = y = 0). box: x, y, w, h in pixels.
    painted: visible parts that were painted, as (keypoint, word for the colour).
    """

    category_id: int
    keypoints: np.ndarray
    box: tuple[float, float, float, float]
    facts: dict[str, str]
    painted: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True)
class Picture:
    """image uint8 RGB [size,size,3]; animals: nearest last; style and ground name the scene."""

    image: np.ndarray
    animals: list[Labelled]
    style: str
    ground: str


@dataclass(frozen=True)
class Stage:
    """Where something is shown: grounds to choose from, and mean and spread of the camera's elevation
    in degrees. A stage without a horizon is all ground, as under water."""

    grounds: tuple[str, ...] = tuple(GROUNDS)
    elevation: tuple[float, float] = (8, 9)
    horizon: bool = True


LAND = Stage()


def _camera(rng: np.random.Generator, stage: Stage) -> tuple[Camera, float, float]:
    # Mostly from a side, as animals are photographed, and now and then from anywhere.
    side = float(rng.choice([-90.0, 90.0])) + rng.normal(0, 22)
    yaw = side if rng.random() < 0.85 else rng.uniform(0, 360)
    elevation = float(np.clip(rng.normal(*stage.elevation), -8, 65))
    return Camera.looking(yaw, elevation, rng.normal(0, 4), rng.uniform(4, 12)), yaw, elevation


def _frame(
    camera: Camera, animal: Animal, size: int, rng: np.random.Generator, crowd: bool
) -> Camera:
    """Scale and place the animal in the picture; sometimes partly outside."""
    ends = np.concatenate([np.asarray(animal.capsules.a), np.asarray(animal.capsules.b)])
    reach = np.concatenate([animal.capsules.ra, animal.capsules.rb])
    xy, _, factor = camera.project(ends)
    low = (xy - (reach * factor)[:, None]).min(0)
    high = (xy + (reach * factor)[:, None]).max(0)
    fill = rng.uniform(0.35, 0.6) if crowd else rng.uniform(0.6, 0.96)
    if rng.random() < 0.10:
        fill *= 1.35  # too close: parts leave the frame
    scale = fill * size / float((high - low).max())
    extent = (high - low) * scale
    room = np.maximum(size - extent, 0) / 2
    middle = size / 2 + rng.uniform(-1, 1, 2) * room * (1.25 if rng.random() < 0.15 else 0.95)
    origin = middle - (low + high) / 2 * scale
    return replace(camera, scale=scale, centre=(float(origin[0]), float(origin[1])))


def _edges(buffers: Buffers, scale: float) -> np.ndarray:
    """Outlines where the part's depth jumps or the animal ends, [size,size] float32 0..1."""
    depth = np.where(np.isfinite(buffers.depth), buffers.depth, -3 * scale).astype(np.float32)
    jump = np.abs(cv2.Laplacian(depth, cv2.CV_32F, ksize=3))
    return cv2.GaussianBlur(np.clip(jump / (0.35 * scale), 0, 1), (0, 0), 0.7)


def _label(
    animal: Animal, camera: Camera, buffers: Buffers, hidden: np.ndarray, facts: dict[str, str]
) -> Labelled | None:
    size = buffers.part.shape[0]
    xy, depth, factor = camera.project(animal.joints)
    keypoints = np.zeros((len(xy), 3), np.float64)
    seen = buffers.part >= 0
    for k in range(len(xy)):
        x, y = xy[k]
        if not (-0.5 <= x < size - 0.5 and -0.5 <= y < size - 0.5):
            continue
        column, row = int(x + 0.5), int(y + 0.5)
        own = depth[k] + animal.joint_radius[k] * factor[k] + FRONT_OF * camera.scale
        covered = buffers.depth[row, column] > own or hidden[row, column] > 127
        keypoints[k] = x, y, 1 if covered else 2
    # The far side's eyes, hips and shoulders lie behind the body: v = 1, as for anything else hidden.
    ys, xs = np.nonzero(seen)
    if len(xs) < 40 or (keypoints[:, 2] > 0).sum() < 3:
        return None
    box = (
        float(xs.min()),
        float(ys.min()),
        float(xs.max() - xs.min() + 1),
        float(ys.max() - ys.min() + 1),
    )
    return Labelled(animal.category_id, keypoints, box, facts)


def _facts(animal: Animal, coat: Coat, camera: Camera, elevation: float) -> dict[str, str]:
    forward = np.array([1.0, 0, 0])
    x, z = float(camera.right @ forward), float(camera.toward @ forward)
    facing = "right" if x > 0.5 else "left" if x < -0.5 else "the camera" if z > 0 else "away"
    view = "from above" if elevation > 30 else "from below" if elevation < -2 else ""
    return {
        "species": animal.name,
        "colour": coat.name,
        "pattern": coat.pattern,
        "pose": animal.pose,
        "head": animal.head,
        "facing": facing,
        "view": view,
    }


def _marks(animal: Animal, camera: Camera, parts: dict[int, str]) -> list[Mark]:
    xy, depth, factor = camera.project(animal.joints)
    marks = []
    for k, paint in parts.items():
        # Wide enough to reach the surface from a joint inside the body; eyes get the face around them.
        reach = 1.6 * max(float(animal.joint_radius[k]), 0.045) * float(factor[k])
        marks.append(Mark((float(xy[k, 0]), float(xy[k, 1]), float(depth[k])), reach, paint))
    return marks


def _check_style(style: str) -> None:
    if style not in STYLES:
        raise ValueError(f"style is {style!r}; the zoo draws {', '.join(STYLES)}")


def draw_picture(
    category_id: int,
    rng: np.random.Generator,
    *,
    size: int = 256,
    style: str = "photo",
    companions: float = 0.12,
    painted: int = 0,
    make: Callable[[int, np.random.Generator], Animal] = make_animal,
) -> Picture:
    """Draw one picture of a species.

    Args:
        category_id: AP-10K's category id of the (nearest) animal, 1 to 54.
        rng: source of every draw; the same state gives the same picture.
        size: side of the picture in pixels.
        style: one of `STYLES`.
        companions: probability of a second animal, of the same species more often than not.
        painted: how many parts of the nearest animal to paint in one colour each. A zoo on disk has
            none; the prior's pictures have some, and their captions name them.
        make: makes an animal of a species.

    Raises:
        ValueError: for an unknown style or species.
    """
    _check_style(style)
    ground = str(rng.choice(list(GROUNDS)))
    ids = [category_id]
    if rng.random() < companions:
        ids.insert(0, category_id if rng.random() < 0.7 else int(rng.integers(1, 55)))
    makers = [partial(make, species) for species in ids]
    return draw_scene(makers, rng, LAND, ground, size=size, style=style, painted=painted)


def draw_scene(
    makers: Sequence[Callable[[np.random.Generator], Animal]],
    rng: np.random.Generator,
    stage: Stage,
    ground: str,
    *,
    size: int,
    style: str,
    painted: int = 0,
) -> Picture:
    """Draw a picture of what `makers` make, the nearest last. Arguments: see `draw_picture`."""
    _check_style(style)
    camera, _, elevation = _camera(rng, stage)
    sun = np.array([rng.normal(0, 1), rng.normal(0, 1), abs(rng.normal(0.9, 0.4)) + 0.25])
    sun /= np.linalg.norm(sun)
    ambient = float(rng.uniform(0.45, 0.7))
    light = {
        "ambient": ambient,
        "diffuse": float(rng.uniform(0.25, 0.75)),
        "rim": float(rng.uniform(0, 0.25)),
    }
    cast = []
    for n, make in enumerate(makers):
        animal = make(rng)
        view = camera if n == len(makers) - 1 else _camera(rng, stage)[0]
        view = _frame(view, animal, size, rng, crowd=len(makers) > 1 and n == 0)
        cast.append((animal, draw_coat(animal, rng), view))
    camouflage = cast[-1][1].base if rng.random() < 0.12 else None
    clutter = int(rng.poisson(2.0))
    tilt = elevation if stage.horizon else 90.0
    image, _ = background(rng, size, ground, tilt, camouflage, clutter)
    parts: dict[int, str] = {}
    if painted:
        chosen = rng.choice(len(cast[-1][0].joints), painted, replace=False)
        parts = {int(k): str(rng.choice(list(PAINTS))) for k in chosen}
    drawn = []
    for n, (animal, coat, view) in enumerate(cast):
        shadow = shadow_mask(animal.capsules, view, sun, size)
        image *= (1 - rng.uniform(0.25, 0.6) * shadow)[..., None]
        buffers = draw_capsules(animal.capsules, view, size)
        marks = _marks(animal, view, parts) if n == len(cast) - 1 else []
        flat = style == "cartoon"
        paint = shade(animal, coat, buffers, view, sun, light, flat=flat, marks=marks)
        cover = buffers.cover[..., None]
        image = image * (1 - cover) + paint * cover
        drawn.append((animal, coat, view, buffers))
    edges = np.zeros((size, size), np.float32)
    if style in ("cartoon", "sketch"):
        for _, _, view, buffers in drawn:
            edges = np.maximum(edges, _edges(buffers, view.scale))
    image = np.ascontiguousarray(image, np.float32)
    things = int(rng.poisson(0.6))
    hidden = foreground(rng, image, ground, things)
    final = finish(rng, image, style, edges)
    labels = []
    for n, (animal, coat, view, buffers) in enumerate(drawn):
        before = hidden
        for _, _, _, nearer in drawn[n + 1 :]:
            before = np.maximum(before, ((nearer.part >= 0) * 255).astype(np.uint8))
        label = _label(animal, view, buffers, before, _facts(animal, coat, view, elevation))
        if label is None or (label.keypoints[:, 2] == 2).sum() < 4:
            continue
        if parts and n == len(drawn) - 1:
            shown = tuple((k, w) for k, w in parts.items() if label.keypoints[k, 2] == 2)
            label = replace(label, painted=shown)
        labels.append(label)
    return Picture(final, labels, style, ground)
