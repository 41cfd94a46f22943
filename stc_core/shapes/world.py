"""The world of shapes: what is in a clip, and where it is at every moment.

A `Scene` is a few coloured things that appear, move, stop and vanish before a textured background.
It is drawn from one integer seed and knows nothing of pixels: places are fractions of the frame,
times are fractions of the clip, so one seed gives the same scene at any size and number of frames.
`draw.py` renders a scene, `questions.py` asks about it, `clip.py` puts the three together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

T = TypeVar("T")

# Seeds of the three splits. Training, choosing options, and reporting never share a clip.
TRAIN_SEEDS = range(0, 1_000_000_000)
DEVELOPMENT_SEEDS = range(1_000_000_000, 1_001_000_000)
HELD_OUT_SEEDS = range(2_000_000_000, 2_001_000_000)

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")
COLORS = {  # sRGB, 0..255; far apart in hue so that 80 pixels and a video codec leave them apart
    "red": (225, 45, 45),
    "orange": (250, 145, 25),
    "yellow": (250, 230, 60),
    "green": (50, 175, 70),
    "cyan": (60, 215, 225),
    "blue": (50, 90, 230),
    "purple": (150, 60, 200),
    "white": (245, 245, 245),
}
BACKGROUNDS = ("gradient", "stripes", "checker", "clouds", "dots")
HEADINGS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
STILL = "nowhere"


@dataclass(frozen=True)
class World:
    """What scenes are made of. Every field is a knob; the curriculum turns `objects`."""

    shapes: tuple[str, ...] = SHAPES
    colors: tuple[str, ...] = tuple(COLORS)
    backgrounds: tuple[str, ...] = BACKGROUNDS
    objects: tuple[int, int] = (1, 4)  # fewest and most things in a clip, all counts equally likely
    radius: tuple[float, float] = (0.13, 0.18)  # of the frame's shorter side
    always: float = 0.4  # share of the things that are there from the first frame to the last
    lasting: tuple[float, float] = (0.2, 0.7)  # how long the others are there, of the clip
    moving: float = 0.65  # share of the things that move
    distance: tuple[float, float] = (0.3, 0.6)  # how far they move, of the frame
    noise: int = 2  # strength of the sensor noise in grey levels, 0 switches it off


WORLD = World()


@dataclass(frozen=True)
class Thing:
    """One coloured shape. Places in fractions of the frame (x right, y down), times of the clip."""

    shape: str
    color: str
    radius: float  # of the frame's shorter side
    start: tuple[float, float]  # x, y of the centre until it moves
    heading: str  # a key of HEADINGS, or STILL
    distance: float  # 0 for a thing that stays
    appears: float
    vanishes: float
    departs: float  # begins to move
    stops: float  # stands still from here on

    def seen(self, times: np.ndarray) -> np.ndarray:
        """Whether it is in the picture at each of `times` (T,)."""
        return (times >= self.appears) & (times < self.vanishes)

    def moves(self, times: np.ndarray) -> np.ndarray:
        """Whether it is seen and under way at each of `times` (T,)."""
        under_way = (times >= self.departs) & (times <= self.stops)
        return self.seen(times) & under_way & (self.heading != STILL)

    def places(self, times: np.ndarray) -> np.ndarray:
        """Centre (T, 2) as x, y in fractions of the frame; defined also while it is not seen."""
        way = np.clip((times - self.departs) / max(self.stops - self.departs, 1e-9), 0.0, 1.0)
        step = np.array(HEADINGS.get(self.heading, (0.0, 0.0))) * self.distance
        return np.array(self.start) + way[:, None] * step


@dataclass(frozen=True)
class Scene:
    """A background and the things before it, in the order in which they are painted."""

    seed: int
    background: str
    things: tuple[Thing, ...]
    aspect: float  # width of the frame over its height


class Dice:
    """Random draws made of `Generator.random` alone, whose stream numpy keeps between versions."""

    def __init__(self, *seed: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(list(seed)))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._generator.random()

    def chance(self, probability: float) -> bool:
        return self._generator.random() < probability

    def integer(self, low: int, high: int) -> int:
        """An integer from `low` to `high`, both included."""
        return min(high, low + int(self._generator.random() * (high - low + 1)))

    def pick(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options) - 1)]

    def uniform(self, *shape: int) -> np.ndarray:
        return self._generator.random(shape)


def frame_times(frames: int) -> np.ndarray:
    """Middle of each of `frames` equal parts of the clip (T,), in fractions of the clip."""
    return (np.arange(frames) + 0.5) / frames


def make_scene(seed: int, world: World = WORLD, aspect: float = 1.0) -> Scene:
    """The scene of one seed. Things never overlap and no two share both colour and shape."""
    if seed < 0:
        raise ValueError(f"the seed must be 0 or more, not {seed}")
    dice = Dice(seed, 1)
    background = dice.pick(world.backgrounds)
    count = dice.integer(*world.objects)
    while True:  # a scene too full to finish is thrown away whole: the count stays unbiased
        things: list[Thing] = []
        for _ in range(count * 25):
            thing = _make_thing(dice, world, aspect)
            if all(_apart(thing, other, aspect) for other in things):
                things.append(thing)
                if len(things) == count:
                    return Scene(seed, background, tuple(things), aspect)


def _make_thing(dice: Dice, world: World, aspect: float) -> Thing:
    radius = dice.between(*world.radius)
    # The margin keeps the whole shape in the frame; on the longer side it is a smaller share.
    margin = np.array([radius * min(1.0, 1.0 / aspect), radius * min(1.0, aspect)])
    low, high = margin, 1.0 - margin
    place = [dice.between(low[axis], high[axis]) for axis in (0, 1)]
    lasting = 1.0 if dice.chance(world.always) else dice.between(*world.lasting)
    appears = dice.between(0.0, 1.0 - lasting)
    departs, stops = appears, appears + lasting
    heading, distance = STILL, 0.0
    if dice.chance(world.moving):
        heading = dice.pick(tuple(HEADINGS))
        axis = 0 if heading in ("left", "right") else 1
        room = high[axis] - low[axis]
        distance = min(dice.between(*world.distance), room)
        # Start where the whole way fits into the frame.
        offset = dice.between(0.0, room - distance)
        forward = heading in ("right", "down")
        place[axis] = low[axis] + offset if forward else high[axis] - offset
        # It moves for at least half of its time, and at least two of eight frames.
        way = max(0.5 * lasting, min(lasting, 0.2)) / lasting
        share = dice.between(way, 1.0)
        departs = appears + dice.between(0.0, 1.0 - share) * lasting
        stops = departs + share * lasting
    return Thing(
        shape=dice.pick(world.shapes),
        color=dice.pick(world.colors),
        radius=radius,
        start=(float(place[0]), float(place[1])),
        heading=heading,
        distance=float(distance),
        appears=appears,
        vanishes=appears + lasting if lasting < 1.0 else 1.1,
        departs=departs,
        stops=stops,
    )


_CHECK_TIMES = frame_times(32)


def _apart(a: Thing, b: Thing, aspect: float) -> bool:
    """Whether two things differ in name and never overlap while both are seen."""
    if (a.shape, a.color) == (b.shape, b.color):
        return False
    both = a.seen(_CHECK_TIMES) & b.seen(_CHECK_TIMES)
    if not both.any():
        return True
    between = a.places(_CHECK_TIMES[both]) - b.places(_CHECK_TIMES[both])
    between *= np.array([max(1.0, aspect), max(1.0, 1.0 / aspect)])  # in shorter sides
    return bool((np.hypot(*between.T) > a.radius + b.radius).all())
