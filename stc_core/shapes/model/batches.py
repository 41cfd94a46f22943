"""Make training batches: one per (stage, step), rendered from its own seeds, the same on every run.

A batch is a function of the recipe alone, so a run that was killed goes on with exactly the batches
it would have seen. On a CPU rendering happens in worker processes beside the training step, on a
GPU in the training process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedTokenizerBase

from stc_core.errors import InputError
from stc_core.shapes.model.random_parts import CLEAR, draw_part, part_of, still_answerable
from stc_core.shapes.model.sizes import END, START, Size
from stc_core.shapes.world.drawing import coverage, render
from stc_core.shapes.world.questions import KINDS, Question, ask, seen
from stc_core.shapes.world.scenes import (
    COLORS,
    FILLS,
    GROWING,
    MOTIONS,
    SHAPES,
    SIZES,
    TRAIN_SEEDS,
    WORLD,
    Dice,
    Scene,
    Thing,
    World,
    distances,
    frame_times,
    make_scene,
)

EASY_KINDS = ("color", "shape", "look", "exists", "unanswerable")  # one frame answers them
IGNORED = -100  # a label no loss counts
SEEDS_PER_STEP = 1_000  # room between the seeds of two steps
VIEW_SEEDS = 1 << 40  # between the seeds by which the parts of one clip choose their questions
STEPS_PER_STAGE = 50_000  # room between the seeds of two stages
WHOLE_FRAMES = 32  # of a clip that is shown whole, to bound memory
LONG_SHARE = 0.35  # of the tokens of a longer clip that are shown at most
LOOKS = {"shape": SHAPES, "color": tuple(COLORS), "fill": FILLS, "size": SIZES}


@dataclass(frozen=True)
class TrainingStage:
    """Describe a stretch of training on one difficulty."""

    part: str  # "vision" or "language"
    steps: int
    clips: int  # in one batch
    frames: tuple[int, ...]  # number of frames of a batch, in turn
    rate: tuple[float, float]  # learning rate, cosine from the first to the second
    world: World = WORLD
    questions: int = 12  # of each clip, at most
    events: float = 0.0  # weight of the loss of `event_labels`, beside that of the answers
    hard_first: bool = False  # whether the kinds that one frame answers wait for the others
    squashed: float = 0.25  # share of clips that are wide or tall scenes squashed into a square
    parts: bool = False  # whether most batches show random parts of the clips (`random_parts.py`)

    def __post_init__(self) -> None:
        if self.part not in ("vision", "language"):
            raise ValueError(f"a stage trains 'vision' or 'language', not {self.part!r}")
        if self.steps < 1:
            raise ValueError(f"a stage needs at least one step, not {self.steps}")
        if not 0 < self.clips <= SEEDS_PER_STEP:
            raise ValueError(f"a batch holds 1 to {SEEDS_PER_STEP} clips, not {self.clips}")
        if not self.frames or min(self.frames) < 1:
            raise ValueError("every batch needs at least one frame")


@dataclass(frozen=True)
class Drawn:
    """Hold the clips of one step: scenes, their frames and where each thing is visible."""

    scenes: list[Scene]
    times: np.ndarray  # (T,)
    frames: Tensor  # (B, T, H, W, 3) uint8
    share: np.ndarray  # (B, K, T, rows, cols)


def stage_batches(
    stage: TrainingStage,
    number: int,
    start: int,
    size: Size,
    tokenizer: PreTrainedTokenizerBase,
    workers: int,
    device: str | torch.device = "cpu",
) -> Iterator[dict[str, Tensor]]:
    """Iterate over the batches of stage ``number`` from step ``start`` to its end.

    Parameters
    ----------
    stage : TrainingStage
    number : int
        Of the stage in the recipe, counted from 0.
    start : int
        First step.
    size : Size
    tokenizer : PreTrainedTokenizerBase
    workers : int
        Processes that render; 0 renders in this one.
    device : str or torch.device
        Where frames are rendered.

    Returns
    -------
    iterator of dict of str to Tensor
    """
    return iter(
        DataLoader(
            _Steps(stage, number, size, tokenizer, device),
            batch_size=None,
            sampler=range(start, stage.steps),
            num_workers=workers,
            generator=torch.Generator(),  # the global one stays as it is
            prefetch_factor=4 if workers else None,
        )
    )


class _Steps(Dataset):
    def __init__(
        self,
        stage: TrainingStage,
        number: int,
        size: Size,
        tokenizer: PreTrainedTokenizerBase,
        device: str | torch.device,
    ) -> None:
        self.stage, self.number, self.size = stage, number, size
        self.tokenizer, self.device = tokenizer, device

    def __len__(self) -> int:
        return self.stage.steps

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        drawn = draw_step(self.stage, self.number, step, self.size, self.device)
        batch = {"frames": drawn.frames}
        if self.stage.part == "vision":
            return batch | token_labels(drawn)
        world = self.stage.world.at_pace(len(drawn.times))
        asked = [
            ask(scene, world, drawn.times, share)
            for scene, share in zip(drawn.scenes, drawn.share, strict=True)
        ]
        seeds = [scene.seed for scene in drawn.scenes]
        late = EASY_KINDS if self.stage.hard_first else ()
        most = self.stage.questions
        part = None
        if self.stage.parts:
            part = part_of(seeds[0], 1.0 if len(drawn.times) <= WHOLE_FRAMES else LONG_SHARE)
        if part is None:
            chosen = [choose(q, most, s, late) for q, s in zip(asked, seeds, strict=True)]
            if self.stage.events:
                batch |= event_labels(drawn)
            return batch | turns(chosen, self.tokenizer)
        kept, chosen = [], []
        for seed, share, questions in zip(seeds, drawn.share, asked, strict=True):
            for view in range(part.views):
                kept.append(draw_part(part, seed, view, share))
                there = np.zeros(share.shape[1:], dtype=bool)
                there.flat[kept[-1]] = True
                answerable = [q for q in questions if still_answerable(q, there, share)]
                chosen.append(choose(answerable, most, seed + view * VIEW_SEEDS, late))
        batch["kept"] = torch.from_numpy(np.stack(kept))
        return batch | turns(chosen, self.tokenizer)


def draw_step(
    stage: TrainingStage, number: int, step: int, size: Size, device: str | torch.device = "cpu"
) -> Drawn:
    """Render the clips of one step.

    Raises
    ------
    ValueError
        The recipe is so long that training would reach the seeds of another split.
    """
    first = TRAIN_SEEDS.start + (number * STEPS_PER_STAGE + step) * SEEDS_PER_STEP
    if first + stage.clips > TRAIN_SEEDS.stop:
        raise InputError("the recipe is longer than the range of training seeds")
    frames, scenes = stage.frames[step % len(stage.frames)], []
    world = stage.world.at_pace(frames)
    for seed in range(first, first + stage.clips):
        dice = Dice(seed, 5)
        # From portrait 9:16 to landscape 16:9, as a processor squashes a video into its square.
        wide = float(np.exp(dice.between(-0.58, 0.58))) if dice.chance(stage.squashed) else 1.0
        scenes.append(make_scene(seed, world, wide))
    times, side = frame_times(frames), size.frame
    return Drawn(
        scenes,
        times,
        render(scenes, times, side, side, noise=world.noise, device=device),
        coverage(scenes, times, size.side, size.side, device=device).cpu().numpy(),
    )


def choose(
    asked: Sequence[Question], most: int, seed: int, late: Sequence[str] = ()
) -> list[Question]:
    """Draw at most ``most`` questions: one of every kind before a second of any.

    Parameters
    ----------
    asked : sequence of Question
    most : int
    seed : int
    late : sequence of str
        Kinds that begin in the second round.
    """
    order = np.argsort(Dice(seed, 6).uniform(len(asked)))
    counts, turn = Counter[str](late), {}
    for i in order:
        turn[i] = counts[asked[i].kind]
        counts[asked[i].kind] += 1
    return [asked[i] for i in sorted(order, key=turn.__getitem__)[:most]]


def token_labels(drawn: Drawn) -> dict[str, Tensor]:
    """Label every video token with what is visible there, for the vision stage.

    Parameters
    ----------
    drawn : Drawn
        B clips of T frames with n tokens each.

    Returns
    -------
    dict of str to Tensor
        ``shape``, ``color``, ``fill`` and ``size`` (B, T, n): indices into the world's lists,
        IGNORED where no thing covers enough of the cell; ``present`` (B, T, n): 1, 0 or IGNORED (a
        sliver); ``center`` (B, T, n, 2): place x, y of the thing in fractions of the frame.
    """
    rows = []
    for scene, share in zip(drawn.scenes, drawn.share, strict=True):
        share = share[: len(scene.things)].reshape(len(scene.things), len(drawn.times), -1)
        nearest, most = share.argmax(axis=0), share.max(axis=0)  # (T, n)
        clear = most >= CLEAR
        looks = {}
        for name in LOOKS:
            known = np.array([_look(thing, name) for thing in scene.things])
            looks[name] = np.where(clear, known[nearest], IGNORED)
        places = np.stack([scene.places(t, drawn.times) for t in scene.things])  # (K, T, 2)
        center = places[nearest, np.arange(len(drawn.times))[:, None]].astype(np.float32)
        present = np.where(clear, 1, np.where(most > 0, IGNORED, 0))
        rows.append({**looks, "present": present, "center": center})
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}


# Labels of `event_labels` with their number of classes, first those of tokens, then of frames.
TOKEN_EVENTS = {
    "fresh": 2,
    "gone": 2,
    "motion": len(MOTIONS),
    "hides_shape": len(SHAPES),
    "hides_color": len(COLORS),
}
FRAME_EVENTS = {
    "count": 6,
    "came_shape": len(SHAPES),
    "came_color": len(COLORS),
    "went_shape": len(SHAPES),
    "went_color": len(COLORS),
    "flash_shape": len(SHAPES),
    "flash_color": len(COLORS),
}


def event_labels(drawn: Drawn) -> dict[str, Tensor]:
    """Label every video token and frame with what has happened by then, for the decoder's middle.

    Parameters
    ----------
    drawn : Drawn
        B clips of T frames with n tokens each.

    Returns
    -------
    dict of str to Tensor
        IGNORED where nothing is to be told. Of tokens (B, T, n): ``fresh``, whether the thing there
        is visible for the first time; ``gone``, whether the thing that covered the cell one frame
        ago is no longer visible; ``motion`` of the thing, once it was visible for a quarter of the
        clip; shape and color of the thing that it ``hides``. Of frames (B, T): ``count`` of the
        things seen so far; shape and color of the thing that ``came`` last, of the one that
        ``went`` last, and of the ``flash`` that is over.
    """
    pairs = zip(drawn.scenes, drawn.share, strict=True)
    rows = [_events(scene, drawn.times, share) for scene, share in pairs]
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}


def _events(scene: Scene, times: np.ndarray, share: np.ndarray) -> dict[str, np.ndarray]:
    frames, things = len(times), scene.things
    share = share[: len(things)]
    shown = np.stack([seen(t, times, s)[2] for t, s in zip(things, share, strict=True)])  # (K, T)
    ever = np.logical_or.reduce(shown, axis=1)
    first = np.where(ever, shown.argmax(axis=1), frames)
    last = np.where(ever, frames - 1 - shown[:, ::-1].argmax(axis=1), -1)
    cover = share.reshape(len(things), frames, -1)
    front, clear = cover.argmax(axis=0), cover.max(axis=0) >= CLEAR  # (T, n)
    labels = {name: np.full(front.shape, IGNORED) for name in TOKEN_EVENTS}
    labels |= {name: np.full(frames, IGNORED) for name in FRAME_EVENTS}
    time = np.arange(frames)[:, None]
    labels["fresh"][clear & (time > 0)] = (first[front] == time)[clear & (time > 0)]
    before = np.roll(clear, 1, axis=0) & (time > 0)
    labels["gone"][before] = (last[np.roll(front, 1, axis=0)] == time - 1)[before]
    known = clear & (time - first[front] >= frames / 4)
    moving = np.array([MOTIONS.index(thing.motion) for thing in things])
    if not scene.pans:
        labels["motion"][known] = moving[front][known]
    for k, behind in enumerate(things):
        if not ever[k]:
            continue
        for over in range(k + 1, len(things)):
            both = behind.there(times) & things[over].there(times)
            close = both & (distances(behind, things[over], times, scene.aspect) < 0.8)
            here = clear & (front == over) & close[:, None]
            _name(labels, "hides", here, behind)
    labels["count"][:] = (first[:, None] <= np.arange(frames)).sum(axis=0)
    for frame in range(frames):
        came = [k for k in range(len(things)) if 0 < first[k] <= frame]
        went = [k for k in range(len(things)) if 0 <= last[k] < frame]
        flashed = [k for k in went if things[k].flashes]
        _latest(labels, "came", frame, things, came, first)
        _latest(labels, "went", frame, things, went, last)
        _latest(labels, "flash", frame, things, flashed, last)
    return labels


def _latest(
    labels: dict[str, np.ndarray],
    name: str,
    frame: int,
    things: Sequence[Thing],
    those: list[int],
    when: np.ndarray,
) -> None:
    """Label a frame with the last of ``those`` things, if one alone is the last."""
    latest = [k for k in those if when[k] == max(when[those])]
    if len(latest) == 1:
        _name(labels, name, frame, things[latest[0]])


def _name(labels: dict[str, np.ndarray], name: str, where: np.ndarray | int, thing: Thing) -> None:
    labels[f"{name}_shape"][where] = LOOKS["shape"].index(thing.shape)
    labels[f"{name}_color"][where] = LOOKS["color"].index(thing.color)


def _look(thing: Thing, name: str) -> int:
    """Return the index of one property; one frame cannot tell how large a growing thing is."""
    if name == "size" and thing.motion == GROWING:
        return IGNORED
    return LOOKS[name].index(getattr(thing, name))


def turns(chosen: list[list[Question]], tokenizer: PreTrainedTokenizerBase) -> dict[str, Tensor]:
    """Write questions with answers as the chat template does after the video: as "turns".

    Parameters
    ----------
    chosen : list of list of Question
        Questions of each of B clips.
    tokenizer : PreTrainedTokenizerBase

    Returns
    -------
    dict of str to Tensor
        All (B, P) int64, P the length of the longest row of turns: ``ids``; ``turn``, counted from
        1, 0 for padding; ``place``, a token's place within its turn; ``labels``, the next token
        where that belongs to an answer, IGNORED elsewhere; and ``kind``, index into KINDS where
        there is a label, -1 elsewhere.
    """
    rows = []
    for questions in chosen:
        ids, turn, labels, kinds = [], [], [], []
        place: list[int] = []
        for number, question in enumerate(questions, 1):
            asked = tokenizer(f"{question.text}{END}{START}assistant\n").input_ids
            told = tokenizer(f"{question.answer}{END}").input_ids
            ids += asked + told
            turn += [number] * (len(asked) + len(told))
            place += range(len(asked) + len(told))
            labels += [IGNORED] * (len(asked) - 1) + told + [IGNORED]
            kinds += [-1] * (len(asked) - 1) + [KINDS.index(question.kind)] * len(told) + [-1]
        rows.append((ids, turn, place, labels, kinds))
    longest = max(len(row[0]) for row in rows)
    filled = (tokenizer.pad_token_id, 0, 0, IGNORED, -1)
    return {
        name: torch.tensor([row[i] + [filled[i]] * (longest - len(row[i])) for row in rows])
        for i, name in enumerate(("ids", "turn", "place", "labels", "kind"))
    }
