"""Paint scenes: anti-aliased shapes before a textured background, many scenes at once.

Each shape is a signed distance in its own coordinates (a circle of radius 1 around it, x right, y
down), below 0 inside. The picture, the cells that a thing covers, every label and every piece of
evidence are computed from the same distance. Every step on pixels is one operation that IEEE 754
rounds in one way only (+ - * / sqrt, comparisons, floor; no sine, no sum, no matrix product), so
that a seed gives the same bytes on every machine, on the CPU and on the GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from stc_core.shapes.world.scenes import BACKGROUNDS, COLORS, FILLS, SHAPES, Dice, Scene

OUTLINE = 0.13  # width of the darker rim, in radii
RIM, BAND = 0.6, 0.35  # brightness of the rim and of the dark bands of a striped thing
BANDS = 1.3  # dark bands per radius, with as many bright ones between them
GLOW = 38.0  # gray levels that the highlight adds
TILES = 32  # the random tables of the backgrounds repeat after so many cells


def render(
    scenes: Sequence[Scene],
    times: np.ndarray,
    height: int,
    width: int,
    *,
    noise: int = 2,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Paint the frames of several scenes.

    Parameters
    ----------
    scenes : sequence of Scene
        B scenes. Where the picture has another aspect than its scene, it is squashed.
    times : (T,) float
        Moments of the frames in fractions of the clip.
    height, width : int
        Size of a frame in pixels.
    noise : int
        Strength of the grain in gray levels, the same in all frames of a clip; 0 for none.
    device : str or torch.device
        Where to paint. The bytes do not depend on it.

    Returns
    -------
    (B, T, height, width, 3) uint8
        sRGB.

    Raises
    ------
    ValueError
        A scene names a shape, color, fill or background that does not exist.
    """
    _check(scenes)
    light = np.array([scene.light(times) for scene in scenes]).reshape(len(scenes), len(times))
    canvas = _canvas(scenes, times, light, height, width, device)
    for group in _groups(scenes, times, height, width, device, light):
        _paint(canvas, group)
    if noise:
        grain = np.stack([Dice(scene.seed, 3).uniform(height, width) for scene in scenes])
        added = torch.from_numpy(((grain - 0.5) * (2 * noise)).astype(np.float32)).to(device)
        canvas.view(len(scenes), len(times), 3, height, width).add_(added[:, None, None])
    canvas.add_(0.5).clamp_(0, 255)
    frames = canvas.to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return frames.view(len(scenes), len(times), height, width, 3)


def fronts(
    scenes: Sequence[Scene],
    times: np.ndarray,
    height: int,
    width: int,
    *,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Return which thing is visible at the center of each pixel.

    Parameters
    ----------
    scenes : sequence of Scene
        B scenes.
    times : (T,) float
        Moments of the frames in fractions of the clip.
    height, width : int
        Size of a frame in pixels.
    device : str or torch.device

    Returns
    -------
    (B, T, height, width) int8
        Index of the front-most of the scene's things, or -1 for the background.

    Raises
    ------
    ValueError
        As ``render`` does.
    """
    _check(scenes)
    front = torch.full((len(scenes) * len(times), height, width), -1, dtype=torch.int8)
    front = front.to(device)
    for group in _groups(scenes, times, height, width, device):
        windows = group.windows(front)
        windows[group.at] = torch.where(group.distance() < 0, group.slot, windows[group.at])
    return front.view(len(scenes), len(times), height, width)


def coverage(
    scenes: Sequence[Scene],
    times: np.ndarray,
    rows: int,
    cols: int,
    *,
    samples: int = 6,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Return the share of each cell of a grid in which each thing is the visible one.

    Parameters
    ----------
    scenes : sequence of Scene
        B scenes, of which the one with the most things has K (at least 1).
    times : (T,) float
        Moments of the frames in fractions of the clip.
    rows, cols : int
        Size of the grid that divides the whole frame.
    samples : int
        The shares are counted on samples x samples points of each cell.
    device : str or torch.device

    Returns
    -------
    (B, K, T, rows, cols) float32
        Shares 0 to 1; slots without a thing are 0.

    Raises
    ------
    ValueError
        As ``render`` does.
    """
    front = fronts(scenes, times, rows * samples, cols * samples, device=device)
    slots = torch.arange(_most(scenes), dtype=torch.int8, device=device)
    cells = front.view(len(scenes), 1, len(times), rows, samples, cols, samples)
    count = (cells == slots.view(1, -1, 1, 1, 1, 1, 1)).sum((4, 6), dtype=torch.int32)
    return count.float() / torch.full((), samples * samples, dtype=torch.float32, device=device)


def radii_xy(radius, aspect: float):
    """Return half width and half height of a thing in fractions of the frame.

    Parameters
    ----------
    radius : float or array
        In lengths of the frame's shorter side.
    aspect : float
        Width over height of the frame.
    """
    return radius * min(1.0, 1.0 / aspect), radius * min(1.0, aspect)


# Shapes: x (n, 1, w) and y (n, h, 1) in radii, to distances (n, h, w).


def _circle(x: Tensor, y: Tensor) -> Tensor:
    return (x * x + y * y).sqrt_() - 0.95


def _square(x: Tensor, y: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.705


def _triangle(x: Tensor, y: Tensor) -> Tensor:
    # Apex (0, -0.98), base corners (+-0.79, 0.6): the sides are twice as steep as a diagonal.
    sides = x.abs() * 0.89443 - (y + 0.98) * 0.44721
    return torch.maximum(sides, y - 0.6)


def _star(x: Tensor, y: Tensor) -> Tensor:
    """Return the distance to a star: three mirrors fold the plane into half of its upper point."""
    x, y = x.abs(), -y
    # Mirrors at 108 and 36 degrees from up; the normals point to the side that is folded over.
    for across, up in ((-0.30902, -0.95106), (0.80902, -0.58779)):
        beyond = (x * across + y * up).clamp_(min=0) * 2.0
        x, y = x - beyond * across, y - beyond * up
    # From the tip (0, 1) to the inner corner, 0.45 from the middle and 36 degrees from up.
    return x.abs_() * 0.92332 + (y - 1.0) * 0.38403


def _cross(x: Tensor, y: Tensor) -> Tensor:
    x, y = x.abs(), y.abs()
    upright, level = torch.maximum(x - 0.31, y - 0.94), torch.maximum(x - 0.94, y - 0.31)
    return torch.minimum(upright, level)


def _ring(x: Tensor, y: Tensor) -> Tensor:
    return ((x * x + y * y).sqrt_() - 0.72).abs_() - 0.25


def _diamond(x: Tensor, y: Tensor) -> Tensor:
    return x.abs() * 0.84989 + (y.abs() * 0.52693 - 0.52693)


def _heart(x: Tensor, y: Tensor) -> Tensor:
    # A square of side 1.08 on its tip (0, 0.93), and a circle upon each of its two upper sides.
    x = x.abs()
    across, down = x - 0.38184, y + 0.21551
    lobe = (across * across + down * down).sqrt_() - 0.54
    return torch.minimum(lobe, (x * 0.70711 - 0.54) + (y - 0.16632).abs() * 0.70711)


DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "diamond": _diamond,
    "heart": _heart,
}


@dataclass(frozen=True)
class _Group:
    """Hold the things of one shape at one place of the painting order, with all their frames."""

    slot: int
    shape: str
    size: tuple[int, int]  # h, w of the windows in pixels
    at: tuple[Tensor, Tensor, Tensor]  # frame, top and left (n,) of the windows
    numbers: Tensor  # (n, 9) float32: center and radii x, y in pixels, sRGB, is striped, pixels
    striped: bool  # whether any is

    def windows(self, picture: Tensor) -> Tensor:
        """Return every window of `picture` (F, H, W, ...) as a view, to be indexed with `at`."""
        return picture.unfold(1, self.size[0], 1).unfold(2, self.size[1], 1)

    def axes(self) -> tuple[Tensor, Tensor]:
        """Return the pixels' centers in radii of the thing: x (n, 1, w) and y (n, h, 1)."""
        _, top, left = self.at
        across = _count(0, self.size[1], left.device) + left[:, None]
        down = _count(0, self.size[0], top.device) + top[:, None]
        x, y, rx, ry = self.numbers[:, :4, None].unbind(1)
        # Tensors divide; by a plain number a GPU multiplies with the reciprocal instead.
        return ((across + 0.5 - x) / rx)[:, None, :], ((down + 0.5 - y) / ry)[:, :, None]

    def distance(self) -> Tensor:
        return DISTANCES[self.shape](*self.axes())


def _groups(
    scenes: Sequence[Scene],
    times: np.ndarray,
    height: int,
    width: int,
    device: str | torch.device,
    light: np.ndarray | None = None,
) -> Iterator[_Group]:
    """Yield all that is painted, from the back to the front; what lies outside is left out."""
    bundles: dict[tuple[int, int], list[np.ndarray]] = {}
    for b, scene in enumerate(scenes):
        for slot, thing in enumerate(scene.things):
            rx, ry = radii_xy(thing.radii(times), scene.aspect)
            x, y = (scene.places(thing, times) * (width, height)).T
            rx, ry = rx * width, ry * height
            near = (abs(x - width / 2) < rx + width / 2 + 1) & (
                abs(y - height / 2) < ry + height / 2 + 1
            )
            seen = np.flatnonzero(thing.there(times) & near & (rx > 0))
            if len(seen):
                bundle = np.empty((len(seen), 10))
                bundle[:, 0] = b * len(times) + seen
                bundle[:, 1:5] = np.stack([x, y, rx, ry], 1)[seen]
                bright = 1.0 if light is None else light[b, seen, None]
                bundle[:, 5:8] = np.array(COLORS[thing.color]) * bright
                bundle[:, 8] = thing.fill == "striped"
                # One radius in pixels: the edge is one pixel wide at any size.
                bundle[:, 9] = np.minimum(rx, ry)[seen]
                bundles.setdefault((slot, SHAPES.index(thing.shape)), []).append(bundle)
    if not bundles:
        return
    keys = sorted(bundles)
    groups = [np.concatenate(bundles[key]) for key in keys]
    corners, sizes = [], []
    for group in groups:
        _, x, y, rx, ry = group[:, :5].T
        w, h = min(width, int(2 * rx.max()) + 3), min(height, int(2 * ry.max()) + 3)
        sizes.append((h, w))
        top = np.clip(np.floor(y - h / 2 + 0.5), 0, height - h)
        left = np.clip(np.floor(x - w / 2 + 0.5), 0, width - w)
        corners.append(np.stack([group[:, 0], top, left]).astype(np.int64))
    # One transfer for all groups.
    at = torch.from_numpy(np.concatenate(corners, 1)).to(device)
    numbers = torch.from_numpy(np.concatenate(groups)[:, 1:].astype(np.float32)).to(device)
    start = 0
    for (slot, shape), group, size in zip(keys, groups, sizes, strict=True):
        rows = slice(start, start + len(group))
        start += len(group)
        striped = bool(group[:, 8].any())
        frame, top, left = at[:, rows]
        yield _Group(slot, SHAPES[shape], size, (frame, top, left), numbers[rows], striped)


def _paint(canvas: Tensor, group: _Group) -> None:
    """Blend the things of a group into `canvas` (F, 3, H, W) float32, in place."""
    x, y = group.axes()
    distance = DISTANCES[group.shape](x, y)
    color = group.numbers[:, 4:7, None, None]
    striped, pixels = group.numbers[:, 7:9, None, None].unbind(1)
    deep = distance * -pixels + 0.5
    inner = (deep - pixels * OUTLINE).clamp_(0, 1)
    if group.striped:  # inside the rim alone, which keeps the shape plain to see
        wave = _wave((x + y) * (0.70711 * BANDS)) - 0.55
        dark = (wave * (pixels * (0.5 / BANDS)) + 0.5).clamp_(0, 1) * striped
        shade = inner * (1.0 - RIM - dark * (1.0 - BAND)) + RIM
    else:
        shade = inner * (1.0 - RIM) + RIM
    glow = _bump(x + 0.3) * (_bump(y + 0.38) * GLOW)
    windows = group.windows(canvas.movedim(1, -1))
    behind = windows[group.at]
    paint = (color * shade[:, None]).add_((glow * shade)[:, None])
    windows[group.at] = paint.sub_(behind).mul_(deep.clamp_(0, 1)[:, None]).add_(behind)


def _wave(x: Tensor) -> Tensor:
    """Return a triangle wave of period 1 between 0 and 1 that is 1 at whole numbers."""
    return ((x - x.floor()) * 2.0 - 1.0).abs_()


def _bump(x: Tensor) -> Tensor:
    """Return a smooth hill of height 1 at 0, from -0.7 to 0.7."""
    hill = (1.0 - x * x * 2.0).clamp_(min=0)
    return hill * hill


# Backgrounds: a function of a `_Ground` gives shares (n, h, w) of the second of two tones, 0 to 1.


@dataclass(frozen=True)
class _Ground:
    """Hold a plane of unit cells, turned and scaled for each of n scenes, as the frame shows it."""

    a: Tensor  # (n, h, w) coordinates in cells
    c: Tensor
    cell: Tensor  # (n, 1, 1) pixels per cell
    table: Tensor  # (n, TILES * TILES) chance numbers in 0..1, one per cell

    def edge(self, distance: Tensor) -> Tensor:
        """Return a step from 0 to 1, a little over a pixel wide, where ``distance`` passes 0."""
        return (distance * (self.cell * 0.8) + 0.5).clamp_(0, 1)

    def band(self, x: Tensor) -> Tensor:
        """Return bands half a cell wide: 1 around whole numbers, 0 between them."""
        return self.edge((_wave(x) - 0.5) * 0.5)

    def chance(self, row: Tensor, col: Tensor) -> Tensor:
        """Return the chance number of each cell; rows and columns are whole numbers."""
        row = row - (row * (1 / TILES)).floor() * TILES
        col = col - (col * (1 / TILES)).floor() * TILES
        at = (row * TILES + col).long()
        return self.table.gather(1, at.flatten(1)).view_as(row)


def _gradient(g: _Ground) -> Tensor:
    return _ease((g.a + 0.5).clamp_(0, 1)) * 1.6 - 0.3


def _stripes(g: _Ground) -> Tensor:
    return g.band(g.a)


def _checker(g: _Ground) -> Tensor:
    return (g.band(g.a) - 0.5) * (g.band(g.c) - 0.5) * 2.0 + 0.5


def _dots(g: _Ground) -> Tensor:
    row = g.a.floor()
    half = row * 0.5
    x = g.c + (half - half.floor())  # every second row is shifted by half a cell
    x, y = x - x.floor() - 0.5, g.a - row - 0.5
    return g.edge(0.3 - (x * x + y * y).sqrt_())


def _clouds(g: _Ground) -> Tensor:
    coarse, fine = _cloud(g, g.a, g.c), _cloud(g, g.a * 2.0, g.c * 2.0)
    return (coarse + fine * 0.5 - 0.75) * 1.6 + 0.5


def _cloud(g: _Ground, a: Tensor, c: Tensor) -> Tensor:
    """Return chance numbers at the corners of the cells, eased between them."""
    row, col = a.floor(), c.floor()
    down, across = _ease(a - row), _ease(c - col)
    upper, upper_right = g.chance(row, col), g.chance(row, col + 1.0)
    lower, lower_right = g.chance(row + 1.0, col), g.chance(row + 1.0, col + 1.0)
    upper = upper + (upper_right - upper) * across
    lower = lower + (lower_right - lower) * across
    return upper + (lower - upper) * down


def _bricks(g: _Ground) -> Tensor:
    row = g.c.floor()
    x = (g.a + row) * 0.5  # two cells long, every second row shifted by half a brick
    col = x.floor()
    x, y = x - col - 0.5, g.c - row - 0.5
    joint = torch.minimum(0.96 - x.abs() * 2.0, 0.46 - y.abs())
    return g.edge(joint) * (g.chance(row, col) * 0.6 + 0.5)


def _mosaic(g: _Ground) -> Tensor:
    row, col = g.a.floor(), g.c.floor()
    return g.chance(row, col)


def _waves(g: _Ground) -> Tensor:
    return _ease(_wave(g.a + _ease(_wave(g.c * 0.4)) * 0.5))


GROUNDS: dict[str, tuple[Callable[[_Ground], Tensor], float, float, float]] = {
    # name: pattern, fewest and most cells along the shorter side, share of half a turn it may turn
    "gradient": (_gradient, 0.7, 1.0, 1.0),
    "stripes": (_stripes, 4.0, 9.0, 1.0),
    "checker": (_checker, 3.0, 6.0, 1.0),
    "dots": (_dots, 5.0, 10.0, 1.0),
    "clouds": (_clouds, 3.0, 5.0, 1.0),
    "bricks": (_bricks, 7.0, 12.0, 0.1),
    "mosaic": (_mosaic, 6.0, 12.0, 1.0),
    "waves": (_waves, 4.0, 8.0, 1.0),
}


def _backgrounds(
    scenes: Sequence[Scene],
    height: int,
    width: int,
    margin: tuple[int, int],
    device: str | torch.device,
) -> Tensor:
    """Return (B, 3, height + 2 margins, width + 2 margins) float32: two muted tones in a pattern.

    ``margin`` is for the camera, in pixels above and left; grayish tones let the colors stand out.
    """
    drawn, tiles = np.zeros((len(scenes), 13)), np.zeros((len(scenes), TILES**2))
    for row, table, scene in zip(drawn, tiles, scenes, strict=True):
        dice = Dice(scene.seed, 2)
        _, fewest, most, turn = GROUNDS[scene.background]
        gray = dice.between(55, 140)
        tone = gray + (dice.uniform(3) - 0.5) * 36
        contrast = dice.between(18, 44) * (1 if dice.chance(0.5) else -1)
        step = contrast + (dice.uniform(3) - 0.5) * 22
        angle, scale = dice.between(0, np.pi * turn), dice.between(fewest, most)
        # Rounded, for sines of two machines may differ in their last bit.
        cos, sin = (np.round(f(angle) * 65536) / 65536 for f in (np.cos, np.sin))
        # A gradient keeps its middle in the middle of the frame.
        start = np.zeros(2) if scene.background == "gradient" else dice.uniform(2) * TILES
        table[:] = dice.uniform(TILES**2)
        # Cells per pixel: the plane is squashed as the picture is.
        across = max(1.0, scene.aspect) / width * scale
        down = max(1.0, 1.0 / scene.aspect) / height * scale
        row[:6] = *tone, *step
        row[6:8] = start
        row[8:12] = cos * across, sin * down, -sin * across, cos * down
        row[12] = 1.0 / max(across, down)
    numbers, tables = (
        torch.from_numpy(values.astype(np.float32)).to(device) for values in (drawn, tiles)
    )
    x = _count(-margin[1], width + margin[1], device) + (0.5 - width / 2)
    y = _count(-margin[0], height + margin[0], device) + (0.5 - height / 2)
    share = torch.empty(len(scenes), len(y), len(x), dtype=torch.float32, device=device)
    for name in sorted({scene.background for scene in scenes}):
        here = [i for i, scene in enumerate(scenes) if scene.background == name]
        where = torch.tensor(here, device=device)
        n = numbers[where][:, :, None, None]
        a = x * n[:, 8] + (y[:, None] * n[:, 9] + n[:, 6])
        c = x * n[:, 10] + (y[:, None] * n[:, 11] + n[:, 7])
        share[where] = GROUNDS[name][0](_Ground(a, c, n[:, 12], tables[where]))
    tone, step = numbers[:, :6, None, None].split(3, dim=1)
    return share[:, None] * step + tone


def _canvas(
    scenes: Sequence[Scene],
    times: np.ndarray,
    light: np.ndarray,
    height: int,
    width: int,
    device: str | torch.device,
) -> Tensor:
    """Return the lit background of every frame, shifted by the camera: (B * T, 3, H, W)."""
    pans = np.stack([scene.pan(times) for scene in scenes])
    shift = np.floor(pans * (width, height) + 0.5).astype(np.int64)  # (B, T, 2) whole pixels
    x, y = (int(most) for most in np.abs(shift).max(axis=(0, 1), initial=0))
    ground = _backgrounds(scenes, height, width, (y, x), device)
    bright = torch.from_numpy(light.astype(np.float32)).to(device)[:, :, None, None, None]
    if not (x or y):
        return (ground[:, None] * bright).flatten(0, 1)
    views = ground.movedim(1, -1).unfold(1, height, 1).unfold(2, width, 1)
    scene = torch.arange(len(scenes), device=device)[:, None]
    corner = torch.from_numpy(np.stack([y - shift[..., 1], x - shift[..., 0]])).to(device)
    return (views[scene, corner[0], corner[1]] * bright).flatten(0, 1)


def _ease(x: Tensor) -> Tensor:
    """Map 0..1 onto 0..1, level at both ends."""
    return x * x * (3.0 - x * 2.0)


def _count(start: int, stop: int, device: str | torch.device) -> Tensor:
    return torch.arange(start, stop, dtype=torch.float32, device=device)


def _most(scenes: Sequence[Scene]) -> int:
    return max((len(scene.things) for scene in scenes), default=0) or 1


def _check(scenes: Sequence[Scene]) -> None:
    """Raise a ValueError for a name that cannot be drawn."""
    for scene in scenes:
        looks: list[tuple[str, str, Collection[str]]]
        looks = [("background", scene.background, BACKGROUNDS)]
        for thing in scene.things:
            looks += [("shape", thing.shape, SHAPES), ("color", thing.color, COLORS)]
            looks += [("fill", thing.fill, FILLS)]
        for kind, name, known in looks:
            if name not in known:
                raise ValueError(f"unknown {kind} {name!r}, known are {', '.join(known)}")
