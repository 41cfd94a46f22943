"""Draw scenes of the world of shapes: what is in a clip, and where it is at every moment.

A ``Scene`` is one to five colored things that appear, move, pass each other, flash and vanish
before a textured background, under drifting light and sometimes a panning camera. It is drawn from
one integer seed and knows nothing of pixels: places are fractions of the frame, times are fractions
of the clip, so one seed gives the same scene at any size and number of frames. ``drawing.py``
renders a scene, ``questions.py`` asks about it, ``clip.py`` puts the three together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from stc_core.errors import InputError

T = TypeVar("T")

# Seeds of the three splits. Training, choosing options, and reporting never share a clip.
TRAIN_SEEDS = range(0, 1_000_000_000)
DEVELOPMENT_SEEDS = range(1_000_000_000, 1_001_000_000)
HELD_OUT_SEEDS = range(2_000_000_000, 2_001_000_000)

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "diamond", "heart")
COLORS = {  # sRGB, 0..255; far apart in hue so that small frames and a video codec leave them apart
    "red": (225, 45, 45),
    "orange": (250, 145, 25),
    "yellow": (250, 230, 60),
    "green": (50, 175, 70),
    "cyan": (60, 215, 225),
    "blue": (50, 90, 230),
    "purple": (150, 60, 200),
    "white": (245, 245, 245),
}
FILLS = ("solid", "striped")
SIZES = ("small", "large")
BACKGROUNDS = ("gradient", "stripes", "checker", "dots", "clouds", "bricks", "mosaic", "waves")
HEADINGS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
STILL, CIRCLING, GROWING, BLINKING = "still", "circling", "growing", "blinking"
MOTIONS = (STILL, *HEADINGS, CIRCLING, GROWING, BLINKING)

PAN_MOST = 0.12  # the camera never moves further from its middle, in fractions of the frame
GROWN_FROM = 0.5  # a growing thing starts at this share of its radius
FINE = 65536  # places are rounded to 1/FINE: sines that differ in their last bit change no pixel
TRIES = 400  # arrangements tried before a world counts as impossible


@dataclass(frozen=True)
class World:
    """Describe the ranges and chances from which scenes are drawn; the curriculum varies them.

    Long-lived large things make evidence plentiful (a third of the clip's tokens), a single small
    one that flashes makes it rare (a thousandth): see ``objects``, ``always``, ``lasting`` and
    ``radii``.
    """

    shapes: tuple[str, ...] = SHAPES
    colors: tuple[str, ...] = tuple(COLORS)
    fills: tuple[str, ...] = FILLS
    backgrounds: tuple[str, ...] = BACKGROUNDS
    motions: tuple[str, ...] = MOTIONS
    objects: tuple[int, int] = (1, 5)  # fewest and most things in a clip, all counts equally likely
    small: tuple[float, float] = (0.1, 0.115)  # radius, of the frame's shorter side
    large: tuple[float, float] = (0.155, 0.185)
    always: float = 0.35  # share of the things that are there from the first frame to the last
    lasting: tuple[float, float] = (0.25, 0.7)  # how long the others are there, of the clip
    moving: float = 0.5  # share of the things that go somewhere
    resting: float = 0.25  # share that rest; what remains circles, grows or blinks
    distance: tuple[float, float] = (0.3, 0.6)  # how far they go, of the frame
    alike: float = 0.35  # share of the things that differ from another in one property only
    entering: float = 0.2  # share of the going things that come in over the border, or go out
    crossing: float = 0.35  # share of the scenes in which something passes behind another thing
    flashing: float = 0.35  # share of the scenes with a thing that is there for a moment only
    flash: tuple[float, float] = (1 / 32, 2 / 32)  # how long, of the clip
    blink: float = 1 / 8  # period of blinking, of the clip
    panning: float = 0.2  # share of the scenes with a moving camera
    drift: float = 0.12  # how far the light drifts from 1
    noise: int = 2  # strength of the sensor noise in gray levels, 0 switches it off

    def __post_init__(self) -> None:
        low, high = self.objects
        if not 1 <= low <= high:
            raise InputError(f"a clip holds at least one object, not {low} to {high}")
        for name, known in (
            ("shapes", SHAPES),
            ("colors", tuple(COLORS)),
            ("fills", FILLS),
            ("backgrounds", BACKGROUNDS),
            ("motions", MOTIONS),
        ):
            values = getattr(self, name)
            if not values or not set(values) <= set(known):
                raise InputError(f"{name} must be some of {', '.join(known)}, not {values}")

    def at_pace(self, frames: int) -> World:
        """Return the same world with flashes and blinking slow enough for fewer than 32 frames.

        A flash lasts one or two frames and a blink two frames on, two off, as they do at 32.
        """
        slower = max(1.0, 32 / frames)
        return replace(
            self,
            flash=(self.flash[0] * slower, self.flash[1] * slower),
            blink=self.blink * slower,
            motions=tuple(m for m in self.motions if frames >= 8 or m in (STILL, *HEADINGS)),
        )


WORLD = World()


@dataclass(frozen=True)
class Thing:
    """Describe one colored shape.

    Places are fractions of the frame (x right, y down), times are fractions of the clip.
    """

    shape: str
    color: str
    fill: str
    size: str
    motion: str  # one of MOTIONS
    radius: float  # of the frame's shorter side; of a growing thing the last
    start: tuple[float, float]  # x, y of the center until it moves; of a circle's center
    reach: float = 0.0  # how far it goes, or the radius of its circle, of the frame
    appears: float = 0.0
    vanishes: float = 1.1
    departs: float = 0.0  # begins to move
    stops: float = 1.0  # is at rest from here on
    period: float = 1.0  # of blinking or circling
    phase: float = 0.0  # of circling, in turns; the sign of `reach` is its sense
    flashes: bool = False  # is there for a moment only
    depth: float = 0.0  # painted in ascending order

    @property
    def goes(self) -> bool:
        """Tell whether the thing moves along a straight line."""
        return self.motion in HEADINGS

    def there(self, times: np.ndarray) -> np.ndarray:
        """Tell whether the thing exists at each of ``times`` (T,), inside or outside the frame."""
        there = (times >= self.appears) & (times < self.vanishes)
        if self.motion == BLINKING:
            there &= ((times - self.appears) / self.period) % 1.0 < 0.5
        return there

    def under_way(self, times: np.ndarray) -> np.ndarray:
        """Tell whether it exists and moves, circles, grows or blinks at each of ``times`` (T,)."""
        if self.motion in (GROWING, BLINKING, CIRCLING):
            return (times >= self.appears) & (times < self.vanishes)
        return self.there(times) & self.goes & (times >= self.departs) & (times <= self.stops)

    def places(self, times: np.ndarray) -> np.ndarray:
        """Return the center (T, 2) as x, y without the camera's shift, also while it is absent."""
        if self.motion == CIRCLING:
            turn = 2 * np.pi * (self.phase + (times - self.appears) / self.period)
            step = np.stack([np.cos(turn), np.sin(turn) * np.sign(self.reach)], axis=-1)
            return fine(np.array(self.start) + abs(self.reach) * step)
        way = np.clip((times - self.departs) / max(self.stops - self.departs, 1e-9), 0.0, 1.0)
        step = np.array(HEADINGS.get(self.motion, (0.0, 0.0))) * self.reach
        return fine(np.array(self.start) + way[:, None] * step)

    def radii(self, times: np.ndarray) -> np.ndarray:
        """Return the radius (T,) in lengths of the frame's shorter side."""
        if self.motion != GROWING:
            return fine(np.full(len(times), self.radius))
        grown = np.clip((times - self.appears) / (self.vanishes - self.appears), 0.0, 1.0)
        return fine(self.radius * (GROWN_FROM + (1.0 - GROWN_FROM) * grown))


@dataclass(frozen=True)
class Scene:
    """Hold a background and the things before it, in the order in which they are painted."""

    seed: int
    background: str
    things: tuple[Thing, ...]
    aspect: float = 1.0  # width of the frame over its height
    camera: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0))
    brightness: tuple[float, float] = (1.0, 1.0)  # at the first moment and the last

    @property
    def pans(self) -> bool:
        """Tell whether the camera moves."""
        return self.camera[0] != self.camera[1]

    def light(self, times: np.ndarray) -> np.ndarray:
        """Return the factor (T,) on the brightness of the whole picture."""
        first, last = self.brightness
        return fine(first + (last - first) * times)

    def pan(self, times: np.ndarray) -> np.ndarray:
        """Return the shift (T, 2) of everything in the picture, x, y in fractions of the frame."""
        first, last = np.array(self.camera)
        return fine(first + (last - first) * times[:, None])

    def places(self, thing: Thing, times: np.ndarray) -> np.ndarray:
        """Return the center (T, 2) of a thing in the picture, x, y in fractions of the frame."""
        return thing.places(times) + self.pan(times)


class Dice:
    """Draw random numbers with ``Generator.random``, whose stream numpy keeps between versions."""

    def __init__(self, *seed: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(list(seed)))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self._generator.random()

    def chance(self, probability: float) -> bool:
        return self._generator.random() < probability

    def integer(self, low: int, high: int) -> int:
        """Return an integer from `low` to `high`, both included."""
        return min(high, low + int(self._generator.random() * (high - low + 1)))

    def pick(self, options: Sequence[T]) -> T:
        return options[self.integer(0, len(options) - 1)]

    def uniform(self, *shape: int) -> np.ndarray:
        return self._generator.random(shape)


def fine(values: np.ndarray) -> np.ndarray:
    """Round values to 1/FINE, so that they are the same on every machine."""
    return np.round(values * FINE) / FINE


def frame_times(frames: int) -> np.ndarray:
    """Return the middle (T,) of each of ``frames`` equal parts, in fractions of the clip."""
    return (np.arange(frames) + 0.5) / frames


def make_scene(seed: int, world: World = WORLD, aspect: float = 1.0) -> Scene:
    """Draw the scene of one seed, in which no two things share shape, color, fill and size.

    Parameters
    ----------
    seed : int
        Not negative.
    world : World
        Ranges and chances to draw from.
    aspect : float
        Width over height of the frame.

    Raises
    ------
    InputError
        The seed is negative, or so many things of this size do not fit into the frame.
    """
    if seed < 0:
        raise InputError(f"the seed must be 0 or more, not {seed}")
    dice = Dice(seed, 1)
    count = dice.integer(*world.objects)
    background = dice.pick(world.backgrounds)
    pans, crosses, flashes = (
        dice.chance(share) for share in (world.panning, world.crossing, world.flashing)
    )
    camera = _camera(dice) if pans else ((0.0, 0.0), (0.0, 0.0))
    light = (1 - dice.between(0, world.drift), 1 + dice.between(-world.drift, world.drift))
    brightness = light if dice.chance(0.5) else light[::-1]
    for _ in range(TRIES):  # thrown away whole where it does not fit: the count stays unbiased
        things = _Things(dice, world, aspect, np.abs(camera).max(axis=0))
        if crosses and count >= 2 and set(HEADINGS) & set(world.motions):
            things.crossing(more=count >= 3 and dice.chance(0.5))
        if things.fill(count, flash=flashes and count >= 2):
            order = sorted(things.made, key=lambda thing: thing.depth)
            return Scene(seed, background, tuple(order), aspect, camera, brightness)
    raise InputError(
        f"{count} things of radius {world.small[0]} to {world.large[1]} do not fit into one clip; "
        "ask for fewer or smaller ones"
    )


def _camera(dice: Dice) -> tuple[tuple[float, float], tuple[float, float]]:
    """Draw two places of the camera, at the first and at the last moment."""
    along, across = dice.between(0.05, PAN_MOST), dice.between(0.0, 0.04)
    first = (along, across) if dice.chance(0.5) else (across, along)
    x, y = (value * dice.pick((-1, 1)) for value in first)
    return (x, y), (-x, -y)


class _Things:
    """Arrange the things of a scene."""

    def __init__(self, dice: Dice, world: World, aspect: float, pan: np.ndarray) -> None:
        self.dice, self.world, self.aspect, self.pan = dice, world, aspect, pan
        self.made: list[Thing] = []
        self.headings = tuple(m for m in world.motions if m in HEADINGS)
        self.turning = tuple(m for m in world.motions if m in (CIRCLING, GROWING, BLINKING))

    def fill(self, count: int, flash: bool) -> bool:
        """Add things until there are ``count``; return False if there is no room for them."""
        for _ in range(count * 25):
            if len(self.made) == count:
                return True
            thing = self.anyone(flash and len(self.made) == count - 1)
            if all(apart(thing, other, self.aspect) for other in self.made):
                self.made.append(thing)
        return len(self.made) == count

    def crossing(self, more: bool) -> None:
        """Add a resting thing and one that passes behind or before it, or, with ``more``, both."""
        dice = self.dice
        rest = self.named(size="large", motion=STILL, depth=0.5)
        rest = replace(rest, start=(dice.between(0.42, 0.58), dice.between(0.42, 0.58)))
        self.made.append(rest)
        behind = dice.chance(0.7)
        early = dice.chance(0.5)
        for hidden, first in ((behind, early), (not behind, not early))[: 1 + more]:
            length = dice.between(0.3, 0.48)
            appears = dice.between(0.0, 0.5 - length) + (0.0 if first else 0.5)
            thing = self.named(
                size="small",
                motion=dice.pick(self.headings),
                depth=0.25 if hidden else 0.75,
                appears=appears,
                vanishes=appears + length,
                departs=appears,
                stops=appears + length,
            )
            # Its way leads over the middle of the resting thing, a little to one side.
            axis = 0 if thing.motion in ("left", "right") else 1
            low, high = self.room(thing.radius)
            half = min(rest.start[axis] - low[axis], high[axis] - rest.start[axis])
            place = [value + dice.between(-0.03, 0.03) for value in rest.start]
            place[axis] = rest.start[axis] - half * sum(HEADINGS[thing.motion])
            start = (float(place[0]), float(place[1]))
            self.made.append(replace(thing, start=start, reach=float(2 * half)))

    def named(self, **given: Any) -> Thing:
        """Return a thing with properties that no other has all of; `given` ones are fixed."""
        dice, world = self.dice, self.world
        while True:
            look: dict[str, Any] = {
                "shape": dice.pick(world.shapes),
                "color": dice.pick(world.colors),
                "fill": dice.pick(world.fills),
                "size": dice.pick(SIZES),
            }
            if self.made and dice.chance(world.alike):
                other, kept = dice.pick(self.made), dice.pick(tuple(look))
                look = {k: v if k == kept else getattr(other, k) for k, v in look.items()}
            look.update(given)
            taken = {(t.shape, t.color, t.fill, t.size) for t in self.made}
            if (look["shape"], look["color"], look["fill"], look["size"]) not in taken:
                break
        radius = dice.between(*(world.small if look["size"] == "small" else world.large))
        return Thing(**{"motion": STILL, "radius": radius, "start": (0.5, 0.5), **look})

    def room(self, radius: float, around: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and highest x, y at which a thing stays whole in the frame."""
        sides = np.array([min(1.0, 1.0 / self.aspect), min(1.0, self.aspect)])
        margin = radius * sides + around + self.pan
        return margin, 1.0 - margin

    def anyone(self, flash: bool) -> Thing:
        """Return a thing with chance properties, way and times."""
        dice, world = self.dice, self.world
        motion, drawn = STILL, dice.between(0.0, 1.0)
        if not flash and drawn < world.moving and self.headings:
            motion = dice.pick(self.headings)
        elif not flash and drawn > world.moving + world.resting and self.turning:
            motion = dice.pick(self.turning)
        lasting = 1.0 if dice.chance(world.always) else dice.between(*world.lasting)
        if motion in (CIRCLING, GROWING, BLINKING):
            lasting = max(lasting, 0.5)
        if flash:
            lasting = dice.between(*world.flash)
        appears = dice.between(0.0, 1.0 - lasting)
        given = {"size": "large"} if motion == GROWING else {}
        thing = self.named(
            motion=motion,
            appears=appears,
            vanishes=appears + lasting if lasting < 1.0 else 1.1,
            departs=appears,
            stops=appears + lasting,
            flashes=flash,
            depth=dice.between(0.0, 1.0),
            **given,
        )
        if thing.goes:
            return self.going(thing, lasting)
        reach = dice.between(0.12, 0.18) if motion == CIRCLING else 0.0
        low, high = self.room(thing.radius, reach)
        return replace(
            thing,
            start=(self.anywhere(low[0], high[0]), self.anywhere(low[1], high[1])),
            reach=reach * dice.pick((-1, 1)),
            phase=dice.between(0.0, 1.0),
            period=world.blink if motion == BLINKING else lasting / dice.between(1.0, 1.5),
        )

    def anywhere(self, low: float, high: float) -> float:
        """Return a place between ``low`` and ``high``, each third of the frame equally likely."""
        third = self.dice.integer(0, 2)
        first, last = max(low, third / 3), min(high, (third + 1) / 3)
        return float(self.dice.between(*((first, last) if first < last else (low, high))))

    def going(self, thing: Thing, lasting: float) -> Thing:
        """Give a thing that goes its way and its times."""
        dice, world = self.dice, self.world
        axis = 0 if thing.motion in ("left", "right") else 1
        forward = thing.motion in ("right", "down")
        low, high = self.room(thing.radius)
        place = [dice.between(low[i], high[i]) for i in (0, 1)]
        room = high[axis] - low[axis]
        distance = min(dice.between(*world.distance), room)
        # It starts where its whole way fits into the frame, or comes in, or goes out.
        offset, beyond = dice.between(0.0, room - distance), low[axis] + thing.radius
        if dice.chance(world.entering):
            enters = dice.chance(0.5)
            offset = -beyond if enters else room + beyond - distance
        place[axis] = low[axis] + offset if forward else high[axis] - offset
        # It moves for at least half of its time, and at least two of eight frames.
        share = dice.between(max(0.5 * lasting, min(lasting, 0.25)) / lasting, 1.0)
        departs = thing.appears + dice.between(0.0, 1.0 - share) * lasting
        return replace(
            thing,
            start=(float(place[0]), float(place[1])),
            reach=float(distance),
            departs=departs,
            stops=departs + share * lasting,
        )


_CHECK_TIMES = frame_times(32)
_CLOSEST = 0.75  # of the sum of two radii: a corner may be hidden, never the half


def apart(a: Thing, b: Thing, aspect: float) -> bool:
    """Tell whether two things overlap a little at most, whenever both are there."""
    both = _there(a) & _there(b)
    if not both.any():
        return True
    times = _CHECK_TIMES[both]
    return bool((distances(a, b, times, aspect) > _CLOSEST).all())


def distances(a: Thing, b: Thing, times: np.ndarray, aspect: float) -> np.ndarray:
    """Return how far apart two centers are (T,), in sums of their radii: below 1 they may touch."""
    between = a.places(times) - b.places(times)
    between *= np.array([max(1.0, aspect), max(1.0, 1.0 / aspect)])  # in shorter sides
    return np.hypot(*between.T) / (a.radii(times) + b.radii(times))


def _there(thing: Thing) -> np.ndarray:
    # A flash or a blink may fall between two checked moments: the whole span counts.
    step = 1 / len(_CHECK_TIMES)
    return (_CHECK_TIMES >= thing.appears - step) & (_CHECK_TIMES < thing.vanishes + step)
