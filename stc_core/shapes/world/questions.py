"""Ask questions about a scene, each with one right answer and the cells that hold its evidence.

A kind of question is asked about a thing only where the thing's name is unique in the clip and the
sampled frames leave no doubt about the answer. Answers are one or two words. Kinds that offer their
answers in the question (yes or no, first or second) offer each equally often.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, combinations

import numpy as np

from stc_core.shapes.world.scenes import (
    BLINKING,
    CIRCLING,
    COLORS,
    FILLS,
    GROWING,
    HEADINGS,
    SHAPES,
    SIZES,
    STILL,
    Dice,
    Scene,
    Thing,
    World,
    distances,
)

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")
NOWHERE, UNANSWERABLE = "nowhere", "unanswerable"
DOES = {STILL: "rests", CIRCLING: "circles", GROWING: "grows", BLINKING: "blinks"}
MOVES = "moves"
YES, NO = "yes", "no"
ROWS, COLS = ("top", "", "bottom"), ("left", "", "right")
PLACES = tuple(" ".join(filter(None, (row, col))) or "middle" for row in ROWS for col in COLS)

PHRASINGS: dict[str, tuple[str, ...]] = {
    "color": (
        "what color is the {name}?",
        "what is the color of the {name}?",
        "which color does the {name} have?",
    ),
    "shape": (
        "what shape is the {name}?",
        "what is the shape of the {name}?",
        "which shape does the {name} have?",
    ),
    "look": ("is the {name} {a} or {b}?", "is the {name} a {a} or a {b} one?"),
    "exists": (
        "is there a {name}?",
        "do you see a {name}?",
        "does a {name} appear?",
    ),
    "count": (
        "how many objects are there?",
        "how many objects appear?",
        "how many objects do you see?",
    ),
    "place": (
        "where does the {name} appear?",
        "where is the {name} first?",
        "where is the {name} at first?",
    ),
    "direction": (
        "which way does the {name} move?",
        "where does the {name} move?",
        "in which direction does the {name} move?",
    ),
    "motion": (
        "what does the {name} do?",
        "what happens to the {name}?",
        "how does the {name} behave?",
    ),
    "flash": (
        "what flashes?",
        "what flashed?",
        "what is there for a moment only?",
    ),
    "order": (
        "which came first, the {a} or the {b}?",
        "which appeared first, the {a} or the {b}?",
        "what is seen first, the {a} or the {b}?",
    ),
    "behind": (
        "what moved behind the {name}?",
        "what passed behind the {name}?",
        "what does the {name} hide for a moment?",
    ),
    "after": (
        "what appeared after the {name} vanished?",
        "what came after the {name} vanished?",
        "what vanished after the {name} appeared?",
        "what vanished after the {name} came?",
    ),
    "unanswerable": (
        "what is the {noun} {verb}?",
        "who is the {noun}?",
        "why does the {noun} {verb}?",
        "what color is the {noun}?",
        "where is the {noun}?",
        "which way does the {noun} {verb}?",
        "how {noun} is the {name}?",
        "what does the {noun} {verb}?",
        "when does the {name} {verb}?",
        "what shape is the {noun} of the {noun}?",
        "{verb} the {noun} {verb}?",
        "which {noun} is {verb} first?",
    ),
}
KINDS = tuple(PHRASINGS)
# Words the world does not know, in questions of which the model learns to say so.
NOUNS = (
    "man woman child dog cat bird horse car bus train ball player team score goal driver street "
    "house tree river phone book cup knife bottle table chair kitchen door window shirt hat shoe "
    "name song music sound voice weather sky sun rain price date letter sign teacher doctor"
).split()
VERBS = (
    "wearing saying doing holding eating drinking cooking reading writing singing playing driving "
    "opening closing buying running walking jumping sitting crying laughing called made thinking"
).split()
EVIDENCE_SHARE = 0.25  # a cell is evidence if the thing covers at least this much of it
SEEN_SHARE = 0.4  # a thing is seen in a frame with so much of the area it shows at its best
SEEN_AREA = 0.15  # and at least so many cells
PLACE_MARGIN = 0.04  # of the frame: nearer to the border of two thirds a place has no name


@dataclass(frozen=True)
class Question:
    """Hold one question with its answer and its evidence.

    Attributes
    ----------
    kind : str
        One of ``KINDS``.
    text, answer : str
    evidence : (E, 3) int64
        (frame, row, col) on the clip's token grid, sorted: the cells without which the question
        cannot be answered. Empty where the evidence is an absence ("no").
    choices : tuple of str
        Answers that the question itself offers, in its order; empty where it offers none.
    things : tuple of int
        Indices of the things that the question is about.
    """

    kind: str
    text: str
    answer: str
    evidence: np.ndarray = field(compare=False)
    choices: tuple[str, ...] = ()
    things: tuple[int, ...] = field(default=(), compare=False)  # of the scene, that it is about


def ask(scene: Scene, world: World, times: np.ndarray, share: np.ndarray) -> tuple[Question, ...]:
    """Return all questions of a scene, one phrasing each, in an order fixed by the seed.

    Parameters
    ----------
    scene : Scene
    world : World
        What the scene was drawn from, for names of things that are not there.
    times : (T,) float
        Moments of the frames in fractions of the clip.
    share : (K, T, rows, cols) float
        ``drawing.coverage`` of this scene; K is at least the number of its things.

    Returns
    -------
    tuple of Question
    """
    asker = _Asker(scene, world, times, share)
    for kind in KINDS:
        getattr(asker, kind)()
    return tuple(asker.found)


def words() -> list[str]:
    """Return every word and mark that a question or an answer can hold, sorted."""
    texts = [phrasing for group in PHRASINGS.values() for phrasing in group]
    plain = " ".join(texts).replace("?", " ? ").replace(",", " , ")
    for slot in ("{name}", "{a}", "{b}", "{noun}", "{verb}"):
        plain = plain.replace(slot, " ")
    answers = [*HEADINGS, NOWHERE, *" ".join(PLACES).split(), *NUMBERS, YES, NO, UNANSWERABLE]
    looks = [*SHAPES, *COLORS, *FILLS, *SIZES, "object", *DOES.values(), MOVES]
    return sorted({*plain.split(), *answers, *looks})


def seen(
    thing: Thing, times: np.ndarray, covered: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how well a thing is visible at each time.

    Parameters
    ----------
    thing : Thing
    times : (T,) float
        Moments of the frames in fractions of the clip.
    covered : (T, rows, cols) float
        Share of each cell in which the thing is the front-most one.

    Returns
    -------
    area : (T,) float
        Visible area in cells.
    part : (T,) float
        Visible area as a share of the thing's whole area.
    clear : (T,) bool
        Whether the thing is clearly visible.
    """
    area = covered.sum(axis=(1, 2))
    norm = area / thing.radii(times) ** 2
    return area, norm, (norm >= SEEN_SHARE * norm.max()) & (area >= SEEN_AREA)


class _Asker:
    """Hold one scene as its frames show it and the questions found so far; one method per kind."""

    def __init__(self, scene: Scene, world: World, times: np.ndarray, share: np.ndarray) -> None:
        self.scene, self.world, self.times = scene, world, times
        self.dice = Dice(scene.seed, 4)
        self.found: list[Question] = []
        self.gap = max(1, round(len(times) / 16))  # frames between two events that are told apart
        self.nothing = np.zeros(share.shape[1:], dtype=bool)
        self.faint = False  # something is seen, but hardly
        self.seen: dict[Thing, np.ndarray] = {}  # (T,) whether each thing shows, clearly
        self.whole: dict[Thing, np.ndarray] = {}  # (T,) and as a whole
        self.cells: dict[Thing, np.ndarray] = {}  # (T, rows, cols)
        for thing, covered in zip(scene.things, share, strict=False):
            area, norm, clear = seen(thing, times, covered)
            if clear.any():
                best = covered.max(axis=(1, 2), keepdims=True)
                evident = (covered >= EVIDENCE_SHARE) | ((covered == best) & (best > 0))
                self.seen[thing] = clear
                self.whole[thing] = norm >= 0.85 * norm.max()
                self.cells[thing] = evident & clear[:, None, None]
            elif area.any():
                self.faint = True
        self.first = {t: int(np.argmax(seen)) for t, seen in self.seen.items()}
        self.last = {t: len(times) - 1 - int(np.argmax(s[::-1])) for t, s in self.seen.items()}
        self.steady = [t for t in self.seen if t.motion != BLINKING]

    def add(
        self,
        kind: str,
        answer: str,
        evidence: np.ndarray,
        *,
        about: Sequence[Thing] = (),
        text: str = "",
        choices: tuple[str, ...] = (),
        **named: str,
    ) -> None:
        text = (text or self.dice.pick(PHRASINGS[kind])).format(**named)
        text = text.replace(" a orange", " an orange")
        things = tuple(i for i, t in enumerate(self.scene.things) if any(t is a for a in about))
        self.found.append(Question(kind, text, answer, np.argwhere(evidence), choices, things))

    # Names ---------------------------------------------------------------------------------------

    def name(self, thing: Thing, without: str = "") -> str | None:
        """Return a name of this thing alone that does not tell the property ``without``."""
        # How large a growing thing is depends on when.
        hidden = {without, "size"} if thing.motion == GROWING else {without}
        properties = [p for p in ("size", "fill", "color", "shape") if p not in hidden]
        subsets = chain.from_iterable(
            combinations(properties, n) for n in range(1, len(properties) + 1)
        )
        unique = [s for s in subsets if self.only(thing, s)]
        if not unique:
            return None
        shortest = min(map(len, unique))
        longest = shortest + (1 if self.dice.chance(0.35) else 0)
        chosen = self.dice.pick([s for s in unique if len(s) <= longest])
        said = [getattr(thing, p) for p in chosen]
        return " ".join(said if "shape" in chosen else [*said, "object"])

    def only(self, thing: Thing, properties: tuple[str, ...]) -> bool:
        """Tell whether no other thing has the same values of these properties."""
        return not any(
            all(getattr(t, p) == getattr(thing, p) for p in properties)
            for t in self.scene.things
            if t is not thing
        )

    def pair(self, thing: Thing) -> str | None:
        """Return its color and shape if no other thing has both: the name that answers use."""
        return f"{thing.color} {thing.shape}" if self.only(thing, ("color", "shape")) else None

    def absent(self) -> tuple[str, str]:
        """Return a color and a shape that no thing joins; half of the time one is in the clip."""
        there = {(t.color, t.shape) for t in self.scene.things}
        while True:
            color, shape = self.dice.pick(self.world.colors), self.dice.pick(self.world.shapes)
            near = self.dice.pick(("color", "shape", "neither", "neither"))
            if near == "color":
                color = self.dice.pick(self.scene.things).color
            elif near == "shape":
                shape = self.dice.pick(self.scene.things).shape
            if (color, shape) not in there:
                return color, shape

    def near(self, thing: Thing, first: int, last: int) -> np.ndarray:
        """Return its evident cells in the frames from `first` to `last`."""
        frames = np.arange(len(self.times))
        return self.cells[thing] & ((frames >= first) & (frames <= last))[:, None, None]

    # One method a kind ---------------------------------------------------------------------------

    def color(self) -> None:
        for thing in self.seen:
            if name := self.name(thing, without="color"):
                self.add("color", thing.color, self.cells[thing], about=[thing], name=name)

    def shape(self) -> None:
        for thing in self.seen:
            if name := self.name(thing, without="shape"):
                self.add("shape", thing.shape, self.cells[thing], about=[thing], name=name)

    def look(self) -> None:
        for thing in self.seen:
            kind, options = self.dice.pick((("size", SIZES), ("fill", FILLS)))
            # A growing thing is neither small nor large.
            if thing.motion == GROWING and kind == "size":
                continue
            if name := self.name(thing, without=kind):
                a, b = options if self.dice.chance(0.5) else options[::-1]
                answer, cells = getattr(thing, kind), self.cells[thing]
                self.add("look", answer, cells, about=[thing], choices=(a, b), name=name, a=a, b=b)

    def exists(self) -> None:
        if self.faint or not self.seen:
            return
        yes = self.dice.pick(tuple(self.seen))
        both = (YES, NO)
        name = f"{yes.color} {yes.shape}"
        self.add("exists", YES, self.cells[yes], about=[yes], choices=both, name=name)
        self.add("exists", NO, self.nothing, choices=both, name=" ".join(self.absent()))

    def count(self) -> None:
        if not self.faint and self.seen:
            everything = np.logical_or.reduce(list(self.cells.values()))
            self.add("count", NUMBERS[len(self.seen)], everything, about=tuple(self.seen))

    def place(self) -> None:
        for thing in self.seen:
            first = self.first[thing]
            where = self.scene.places(thing, self.times[[first]])[0]
            clear = all(abs(x - border) >= PLACE_MARGIN for x in where for border in (1 / 3, 2 / 3))
            row, col = (int(np.clip(x * 3, 0, 2)) for x in where[::-1])
            if row == col == 1 and not self.dice.chance(0.6):
                continue  # the middle is where things pass each other: asked less, to balance
            if clear and self.whole[thing][first] and (name := self.name(thing)):
                cells = self.near(thing, first, first)
                self.add("place", PLACES[3 * row + col], cells, about=[thing], name=name)

    def direction(self) -> None:
        for thing in self.seen:
            when = self.seen[thing]
            if thing.goes:
                when = when & thing.under_way(self.times)
            elif thing.motion != STILL or self.scene.pans or not self.dice.chance(0.4):
                continue  # things at rest are asked less often, to balance answers
            frames = np.flatnonzero(when)
            if len(frames) < 2 or not (name := self.name(thing)):
                continue  # one frame shows no movement
            if thing.goes:
                start, end = self.scene.places(thing, self.times[frames[[0, -1]]])
                along = np.array(HEADINGS[thing.motion]) @ (end - start)
                if along < max(0.1, 2 * np.abs(end - start).min()):
                    continue  # the camera goes with it, or too little of its way is seen
            evidence = self.cells[thing] & when[:, None, None]
            heading = thing.motion if thing.goes else NOWHERE
            self.add("direction", heading, evidence, about=[thing], name=name)

    def motion(self) -> None:
        if len(self.times) < 8:
            return
        for thing in self.seen:
            when = self.seen[thing] & (thing.under_way(self.times) | (thing.motion == STILL))
            common = {STILL: 0.3}.get(thing.motion, 0.12 if thing.goes else 1.0)
            if not self.dice.chance(common) or when.sum() < len(self.times) / 6:
                continue
            if thing.motion == STILL and self.scene.pans:
                continue
            starts = int((np.diff(self.seen[thing].astype(int)) == 1).sum()) + int(when[0])
            if thing.motion == BLINKING and starts < 2:
                continue
            if name := self.name(thing):
                evidence = self.cells[thing] & when[:, None, None]
                said = DOES.get(thing.motion, MOVES)
                self.add("motion", said, evidence, about=[thing], name=name)

    def flash(self) -> None:
        flashing = [thing for thing in self.seen if thing.flashes]
        brief = [thing for thing in self.steady if self.seen[thing].sum() <= 3]
        if len(flashing) == 1 and brief == flashing and len(self.times) >= 4:
            thing = flashing[0]
            if self.seen[thing].sum() <= 2 and (pair := self.pair(thing)):
                self.add("flash", pair, self.cells[thing], about=[thing])

    def order(self) -> None:
        named = {thing: pair for thing in self.steady if (pair := self.pair(thing))}
        pairs = [(a, b) for a in named for b in named if self.first[b] - self.first[a] >= self.gap]
        for a, b in pairs[:2] if self.dice.chance(0.5) else pairs[::-1][:2]:
            evidence = self.near(a, self.first[a], self.first[b])
            evidence |= self.near(b, self.first[b], self.first[b] + 1)
            answer, other = named[a], named[b]
            one, two = (answer, other) if self.dice.chance(0.5) else (other, answer)
            self.add("order", answer, evidence, about=[a, b], choices=(one, two), a=one, b=two)

    def behind(self) -> None:
        if len(self.times) < 8:
            return
        things = self.scene.things
        for i, front in enumerate(things):
            if front not in self.seen:
                continue
            passed, touched = [], []
            for thing in things[:i]:
                both = thing.there(self.times) & front.there(self.times)
                far = np.where(both, distances(thing, front, self.times, self.scene.aspect), 9.0)
                if thing.goes and (far[thing.under_way(self.times)] < 0.5).any():
                    passed.append((thing, far))
                if (far < 0.9).any():
                    touched.append(thing)
            if len(passed) != 1 or touched != [passed[0][0]]:
                continue
            thing, far = passed[0]
            beside = thing in self.seen and (self.seen[thing] & (far > 0.75)).sum() >= 2
            name, pair = self.name(front), self.pair(thing)
            if beside and name and pair:
                close = (far < 1.05)[:, None, None]
                cells = (self.cells[thing] | self.cells[front]) & close
                self.add("behind", pair, cells, about=[thing, front], name=name)

    def after(self) -> None:
        end = len(self.times) - 1
        for mark in self.steady:
            name = self.name(mark)
            others = [thing for thing in self.steady if thing is not mark]
            gone = [t for t in others if self.last[t] < end]
            appeared, vanished = PHRASINGS["after"][:2], PHRASINGS["after"][2:]
            for texts, moment, never, events in (
                (appeared, self.last[mark], end, [(self.first[t], t) for t in others]),
                (vanished, self.first[mark], 0, [(self.last[t], t) for t in gone]),
            ):
                later = sorted((f for f in events if f[0] > moment), key=lambda f: f[0])
                if moment == never:
                    continue  # the mark was there all along: that is no event
                if not name or not later or any(f == moment for f, _ in events):
                    continue
                if len(later) > 1 and later[1][0] - later[0][0] < self.gap:
                    continue
                frame, thing = later[0]
                if pair := self.pair(thing):
                    evidence = self.near(mark, moment - 1, moment + 1)
                    evidence |= self.near(thing, frame - 1, frame + 1)
                    self.add(
                        "after",
                        pair,
                        evidence,
                        about=[mark, thing],
                        text=self.dice.pick(texts),
                        name=name,
                    )

    def unanswerable(self) -> None:
        """Ask about a thing that is not there, and about what the world does not hold."""
        dice, (color, shape) = self.dice, self.absent()
        there = {thing.shape for thing in self.scene.things}
        name = f"{color} {shape}" if shape in there or dice.chance(0.5) else shape
        kind = dice.pick(("shape", "place", "direction", "motion", "after", "behind", "look"))
        if kind == "shape":
            seen = {thing.color for thing in self.scene.things}
            free = [c for c in self.world.colors if c not in seen]
            if not free:
                return
            name = f"{dice.pick(free)} object"
        a, b = dice.pick((SIZES, FILLS, SIZES[::-1], FILLS[::-1]))
        text = dice.pick(PHRASINGS[kind])
        self.add("unanswerable", UNANSWERABLE, self.nothing, text=text, name=name, a=a, b=b)
        noun, verb = dice.pick(NOUNS), dice.pick(VERBS)
        if dice.chance(0.3):  # an ordinary question about an unknown thing
            kind = dice.pick(("shape", "place", "direction", "motion", "after", "behind"))
            text = dice.pick(PHRASINGS[kind])
            name = f"{dice.pick(self.world.colors)} {noun}" if dice.chance(0.3) else noun
        else:
            text = dice.pick(PHRASINGS["unanswerable"])
            name = dice.pick((dice.pick(self.world.shapes), "object"))
        self.add(
            "unanswerable", UNANSWERABLE, self.nothing, text=text, name=name, noun=noun, verb=verb
        )
