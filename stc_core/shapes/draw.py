"""Paint a scene: anti-aliased shapes over a textured background, in numpy alone.

Each shape is a signed distance in its own coordinates (a circle of radius 1 around it, x right, y
down), below 0 inside. The picture and the cells a thing covers, and with them every label and every
piece of evidence, come from the same distance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stc_core.shapes.world import COLORS, Dice, Scene, Thing, World

OUTLINE = 0.16  # width of the darker rim, in radii


def _circle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.hypot(x, y) - 0.95


def _square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(x), np.abs(y)) - 0.84


def _triangle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    y = y + 0.1  # its centre of mass lies below the middle of its height
    return np.maximum(np.abs(x) * 0.866 - y * 0.5 - 0.5, y - 0.75)


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Five points: fold the plane into one half of a point, then the distance to one edge."""
    length, angle = np.hypot(x, y), np.arctan2(x, -y)
    fold = np.abs((angle + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
    px, py = length * np.cos(fold), length * np.sin(fold)
    inner_x, inner_y = 0.45 * np.cos(np.pi / 5), 0.45 * np.sin(np.pi / 5)
    edge_x, edge_y = inner_x - 1.0, inner_y
    return (edge_y * (px - 1.0) - edge_x * py) / np.hypot(edge_x, edge_y)


def _cross(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(x - 0.97, y - 0.32), np.maximum(x - 0.32, y - 0.97))


def _ring(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(np.hypot(x, y) - 0.72) - 0.25


DISTANCES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
}


def render(scene: Scene, times: np.ndarray, height: int, width: int, world: World) -> np.ndarray:
    """Frames (T, height, width, 3) uint8 of the scene at `times` (T,), fractions of the clip."""
    frames = np.repeat(_background(scene, height, width)[None], len(times), axis=0)
    for thing in scene.things:
        _paint(frames, thing, times, scene.aspect)
    if world.noise:
        grain = Dice(scene.seed, 3).uniform(*frames.shape[:3])[..., None]
        frames += (grain - 0.5) * (2 * world.noise)
    return np.clip(frames + 0.5, 0, 255).astype(np.uint8)


def radii(thing: Thing, aspect: float) -> tuple[float, float]:
    """Half width and half height of a thing in fractions of a frame of this aspect."""
    return thing.radius * min(1.0, 1.0 / aspect), thing.radius * min(1.0, aspect)


def coverage(
    thing: Thing, times: np.ndarray, rows: int, cols: int, aspect: float, samples: int = 6
) -> np.ndarray:
    """Share (T, rows, cols) of each cell that the thing covers, by samples x samples points."""
    seen = np.flatnonzero(thing.seen(times))
    covered = np.zeros((len(times), rows, cols))
    if not len(seen):
        return covered
    x = (np.arange(cols * samples) + 0.5) / (cols * samples)
    y = (np.arange(rows * samples) + 0.5) / (rows * samples)
    places, (rx, ry) = thing.places(times[seen]), radii(thing, aspect)
    distance = DISTANCES[thing.shape](
        (x[None, None, :] - places[:, 0, None, None]) / rx,
        (y[None, :, None] - places[:, 1, None, None]) / ry,
    )
    inside = (distance < 0).reshape(len(seen), rows, samples, cols, samples)
    covered[seen] = inside.mean(axis=(2, 4))
    return covered


def _paint(frames: np.ndarray, thing: Thing, times: np.ndarray, aspect: float) -> None:
    """Blend one thing into `frames` (T, H, W, 3) float, in place, within its bounding boxes."""
    seen = np.flatnonzero(thing.seen(times))
    if not len(seen):
        return
    _, height, width, _ = frames.shape
    rx, ry = (r * n for r, n in zip(radii(thing, aspect), (width, height), strict=True))  # pixels
    places = thing.places(times[seen]) * (width, height)
    box_w, box_h = min(width, int(2 * rx) + 4), min(height, int(2 * ry) + 4)
    left = np.clip((places[:, 0] - box_w / 2).round().astype(int), 0, width - box_w)
    top = np.clip((places[:, 1] - box_h / 2).round().astype(int), 0, height - box_h)
    x = left[:, None] + np.arange(box_w) + 0.5 - places[:, 0, None]
    y = top[:, None] + np.arange(box_h) + 0.5 - places[:, 1, None]
    distance = DISTANCES[thing.shape](x[:, None, :] / rx, y[:, :, None] / ry)  # (n, box_h, box_w)
    pixels = min(rx, ry)  # one radius in pixels: the edge is one pixel wide at any size
    alpha = np.clip(0.5 - distance * pixels, 0.0, 1.0)[..., None]
    rim = np.clip(0.5 + (distance + OUTLINE) * pixels, 0.0, 1.0)[..., None]
    color = np.array(COLORS[thing.color], dtype=float) * (1.0 - 0.4 * rim)
    for i, frame in enumerate(seen):
        window = frames[frame, top[i] : top[i] + box_h, left[i] : left[i] + box_w]
        window += alpha[i] * (color[i] - window)


def _background(scene: Scene, height: int, width: int) -> np.ndarray:
    """(height, width, 3) float: two muted tones mixed by a pattern, so that colours stand out."""
    dice = Dice(scene.seed, 2)
    grey = dice.between(55, 140)
    tint = (dice.uniform(3) - 0.5) * 44
    contrast = dice.between(14, 34) * (1 if dice.chance(0.5) else -1)
    shorter = min(height, width)
    x = (np.arange(width) + 0.5)[None, :] / shorter
    y = (np.arange(height) + 0.5)[:, None] / shorter
    angle, scale = dice.between(0, np.pi), dice.between(4, 9)
    along = np.cos(angle) * x + np.sin(angle) * y
    across = -np.sin(angle) * x + np.cos(angle) * y
    if scene.background == "gradient":
        mix = along / max(abs(along).max(), 1e-9) + 0 * across
    elif scene.background == "stripes":
        mix = _soft(np.sin(2 * np.pi * scale * along))
    elif scene.background == "checker":
        mix = _soft(np.sin(np.pi * scale * along) * np.sin(np.pi * scale * across))
    elif scene.background == "dots":
        mix = _soft(np.cos(2 * np.pi * scale * along) + np.cos(2 * np.pi * scale * across) - 1)
    elif scene.background == "clouds":
        mix = sum(_smooth(dice.uniform(n, n), height, width) / k for k, n in ((1, 5), (2, 11)))
        mix = (mix - mix.mean()) * 2
    else:
        raise ValueError(f"unknown background {scene.background!r}")
    return grey + tint + contrast * mix[..., None]


def _soft(wave: np.ndarray) -> np.ndarray:
    """Steepen a wave into flat patches with soft edges, without aliasing at 80 pixels."""
    return np.clip(wave * 2.0, -1.0, 1.0)


def _smooth(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Stretch values (n, n) to (height, width) with cosine interpolation."""

    def weights(length: int, n: int) -> np.ndarray:
        at = (np.arange(length) + 0.5) / length * (n - 1)
        low = np.minimum(at.astype(int), n - 2)
        high_share = (1 - np.cos(np.pi * (at - low))) / 2
        matrix = np.zeros((length, n))
        matrix[np.arange(length), low] = 1 - high_share
        matrix[np.arange(length), low + 1] = high_share
        return matrix

    n = len(values)
    return weights(height, n) @ values @ weights(width, n).T
