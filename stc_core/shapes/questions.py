"""Questions about a scene with one right answer, and the cells and frames that hold its evidence.

A kind is asked of a thing only where its name is unique in the clip and the answer beyond doubt.
Answers are one word. Where a kind has only two answers (yes or no), the two are balanced.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from stc_core.shapes.draw import coverage
from stc_core.shapes.world import COLORS, HEADINGS, SHAPES, STILL, Dice, Scene, Thing, World

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")
ASK_RESTING = 0.4  # share of the things at rest of which it is asked where they move
EVIDENCE_SHARE = 0.25  # a cell is evidence if the thing covers at least this much of it

PHRASINGS: dict[str, tuple[str, ...]] = {
    "color": (
        "what color is the {shape}?",
        "what is the color of the {shape}?",
        "which color does the {shape} have?",
    ),
    "shape": (
        "what shape is the {color} object?",
        "what is the shape of the {color} object?",
        "which shape does the {color} object have?",
        "what is the {color} object?",
    ),
    "exists": (
        "is there a {color} {shape}?",
        "do you see a {color} {shape}?",
        "does a {color} {shape} appear?",
    ),
    "count": (
        "how many objects are there?",
        "how many objects appear?",
        "how many objects do you see?",
    ),
    "direction": (
        "which way does the {name} move?",
        "where does the {name} move?",
        "in which direction does the {name} move?",
    ),
    "place": (
        "where does the {name} appear?",
        "where is the {name} first?",
        "where is the {name} at first?",
    ),
}
KINDS = tuple(PHRASINGS)
PLACES = ("left", "right", "top", "bottom", "middle")
ANSWERS_YES_NO = ("yes", "no")


@dataclass(frozen=True)
class Question:
    """One question with its answer.

    `evidence` (E, 3) int64 holds (frame, row, col) on the clip's token grid, sorted: the cells that
    show the thing asked about, in the frames where it can be told. It is empty where the evidence
    is an absence ("no").
    """

    kind: str
    text: str
    answer: str
    evidence: np.ndarray = field(compare=False)


def ask(
    scene: Scene, world: World, times: np.ndarray, rows: int, cols: int
) -> tuple[Question, ...]:
    """All questions of a scene, one phrasing each, in an order fixed by the seed."""
    dice = Dice(scene.seed, 4)
    cells = {
        thing: _evident(coverage(thing, times, rows, cols, scene.aspect)) for thing in scene.things
    }
    found: list[Question] = []

    def add(kind: str, answer: str, evidence: np.ndarray, **words: str) -> None:
        text = dice.pick(PHRASINGS[kind]).format(**words).replace(" a orange", " an orange")
        found.append(Question(kind, text, answer, np.argwhere(evidence)))

    nothing = np.zeros((len(times), rows, cols), dtype=bool)
    for thing in scene.things:
        if _only(scene, shape=thing.shape):
            add("color", thing.color, cells[thing], shape=thing.shape)
        if _only(scene, color=thing.color):
            add("shape", thing.shape, cells[thing], color=thing.color)
        name = _name(scene, thing, dice)
        under_way = thing.moves(times) if thing.heading != STILL else thing.seen(times)
        # One frame shows no movement, and things at rest are asked less often, to balance answers.
        if under_way.sum() >= 2 and (thing.heading != STILL or dice.chance(ASK_RESTING)):
            when = under_way[:, None, None]
            add("direction", thing.heading, cells[thing] & when, name=name)
        if (place := _place(thing, times)) is not None:
            first = np.arange(len(times)) == np.argmax(thing.seen(times))
            add("place", place, cells[thing] & first[:, None, None], name=name)
    yes = dice.pick(scene.things)
    add("exists", "yes", cells[yes], color=yes.color, shape=yes.shape)
    color, shape = _absent(scene, world, dice)
    add("exists", "no", nothing, color=color, shape=shape)
    everything = np.logical_or.reduce(list(cells.values()))
    add("count", NUMBERS[len(scene.things)], everything)
    return tuple(found)


def words() -> list[str]:
    """Every word and mark a question or an answer can hold, sorted: the vocabulary of the world."""
    texts = [phrasing for group in PHRASINGS.values() for phrasing in group]
    plain = " ".join(texts).replace("?", " ? ")
    for slot in ("{color}", "{shape}", "{name}"):
        plain = plain.replace(slot, " ")
    answers = [*SHAPES, *COLORS, *HEADINGS, STILL, *PLACES, *NUMBERS, *ANSWERS_YES_NO]
    return sorted({*plain.split(), *answers})


def _only(scene: Scene, **named: str) -> bool:
    """Whether exactly one thing has these attributes."""
    alike = [t for t in scene.things if all(getattr(t, k) == v for k, v in named.items())]
    return len(alike) == 1


def _name(scene: Scene, thing: Thing, dice: Dice) -> str:
    """A name of this thing alone: "red star", or where unique "star" or "red object"."""
    names = [f"{thing.color} {thing.shape}"]
    if _only(scene, shape=thing.shape):
        names.append(thing.shape)
    if _only(scene, color=thing.color):
        names.append(f"{thing.color} object")
    return dice.pick(names)


def _absent(scene: Scene, world: World, dice: Dice) -> tuple[str, str]:
    """A colour and a shape no thing joins; half of the time one of the two is in the clip."""
    there = {(t.color, t.shape) for t in scene.things}
    while True:
        color, shape = dice.pick(world.colors), dice.pick(world.shapes)
        near = dice.pick(("color", "shape", "neither", "neither"))
        if near == "color":
            color = dice.pick(scene.things).color
        elif near == "shape":
            shape = dice.pick(scene.things).shape
        if (color, shape) not in there:
            return color, shape


def _place(thing: Thing, times: np.ndarray) -> str | None:
    """The side of the frame on which the thing is first seen; None near a border between two."""
    seen = thing.seen(times)
    if not seen.any():
        return None
    x, y = thing.places(times[seen][:1])[0] - 0.5
    if max(abs(x), abs(y)) < 0.11:
        return "middle"
    if max(abs(x), abs(y)) < 0.18 or abs(abs(x) - abs(y)) < 0.1:
        return None
    if abs(x) > abs(y):
        return "left" if x < 0 else "right"
    return "top" if y < 0 else "bottom"


def _evident(share: np.ndarray) -> np.ndarray:
    """Cells (T, rows, cols) covered well enough to tell what is there; one at least if any is."""
    best = share.max(axis=(1, 2), keepdims=True)
    return (share >= EVIDENCE_SHARE) | ((share == best) & (best > 0))
