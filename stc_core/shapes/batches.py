"""Training data: one batch per (stage, step), rendered from its own seeds, the same on every run.

A batch is a function of the recipe alone, so a run that was killed goes on with exactly the batches
it would have seen. Rendering happens in worker processes beside the training step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from transformers import PreTrainedTokenizerBase

from stc_core.shapes.clip import Clip, make_clip
from stc_core.shapes.draw import coverage
from stc_core.shapes.model import END, START, Size
from stc_core.shapes.questions import Question
from stc_core.shapes.world import TRAIN_SEEDS, WORLD, Dice, World, frame_times

IGNORED = -100  # a label no loss counts
EASY_KINDS = ("color", "shape")
SEEDS_PER_STEP = 1_000  # room between the seeds of two steps
STEPS_PER_STAGE = 50_000  # room between the seeds of two stages


@dataclass(frozen=True)
class Stage:
    """A stretch of training on one difficulty. `rate` goes from its first to its second value."""

    part: str  # "vision" or "language"
    steps: int
    clips: int  # in one batch
    frames: tuple[int, ...]  # number of frames of a batch, in turn
    objects: tuple[int, int]
    rate: tuple[float, float]  # learning rate, cosine from the first to the second
    questions: int = 10  # of each clip, at most
    easy: int = 10  # of them at most so many that one frame answers: colours and shapes
    always: float = WORLD.always  # share of the things that are there in every frame
    squashed: float = 0.25  # share of clips that are wide or tall scenes squashed into a square

    def __post_init__(self) -> None:
        if self.part not in ("vision", "language"):
            raise ValueError(f"a stage trains 'vision' or 'language', not {self.part!r}")
        if self.steps < 1:
            raise ValueError(f"a stage needs at least one step, not {self.steps}")
        if not 0 < self.clips <= SEEDS_PER_STEP:
            raise ValueError(f"a batch holds 1 to {SEEDS_PER_STEP} clips, not {self.clips}")
        if not self.frames or min(self.frames) < 1:
            raise ValueError("every batch needs at least one frame")

    @property
    def world(self) -> World:
        return replace(WORLD, objects=self.objects, always=self.always)


def stage_batches(
    stage: Stage,
    number: int,
    start: int,
    size: Size,
    tokenizer: PreTrainedTokenizerBase,
    workers: int,
) -> Iterator[dict[str, torch.Tensor]]:
    """The batches of stage `number` from step `start` to its end."""
    return iter(
        DataLoader(
            _Steps(stage, number, size, tokenizer),
            batch_size=None,
            sampler=range(start, stage.steps),
            num_workers=workers,
            prefetch_factor=4 if workers else None,
        )
    )


class _Steps(Dataset):
    def __init__(
        self, stage: Stage, number: int, size: Size, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        self.stage, self.number, self.size, self.tokenizer = stage, number, size, tokenizer

    def __len__(self) -> int:
        return self.stage.steps

    def __getitem__(self, step: int) -> dict[str, torch.Tensor]:
        clips = render_step(self.stage, self.number, step, self.size)
        frames = torch.from_numpy(np.stack([clip.frames for clip in clips]))
        if self.stage.part == "vision":
            labels = [token_labels(clip, self.size.side) for clip in clips]
            batch = {k: torch.from_numpy(np.stack([x[k] for x in labels])) for k in labels[0]}
        else:
            chosen = [choose(clip, self.stage.questions, self.stage.easy) for clip in clips]
            batch = turns(chosen, self.tokenizer)
        return {"frames": frames, **batch}


def render_step(stage: Stage, number: int, step: int, size: Size) -> list[Clip]:
    """The clips of one step."""
    first = TRAIN_SEEDS.start + (number * STEPS_PER_STAGE + step) * SEEDS_PER_STEP
    if first + stage.clips > TRAIN_SEEDS.stop:
        raise ValueError("the recipe is longer than the range of training seeds")
    frames, clips = stage.frames[step % len(stage.frames)], []
    for seed in range(first, first + stage.clips):
        dice = Dice(seed, 5)
        # From portrait 9:16 to landscape 16:9, as a processor squashes a video into its square.
        wide = float(np.exp(dice.between(-0.58, 0.58))) if dice.chance(stage.squashed) else 1.0
        clips.append(make_clip(seed, frames, size.frame, world=stage.world, aspect=wide))
    return clips


def choose(clip: Clip, most: int, easy: int) -> list[Question]:
    """At most `most` of a clip's questions, at most `easy` of them easy, drawn by its seed."""
    order = np.argsort(Dice(clip.seed, 6).uniform(len(clip.questions)))
    drawn = [clip.questions[i] for i in order]
    allowed = [q for q in drawn if q.kind in EASY_KINDS][:easy]
    return [q for q in drawn if q.kind not in EASY_KINDS or q in allowed][:most]


def token_labels(clip: Clip, side: int) -> dict[str, np.ndarray]:
    """What is to be seen at every video token (T, side * side), for the vision stage.

    `shape` and `color` are indices into the world's lists, IGNORED where no thing covers enough of
    the cell; `present` is 1, 0 or IGNORED (a sliver); `centre` (..., 2) is the thing's place x, y.
    """
    times, things = frame_times(len(clip.frames)), clip.scene.things
    share = np.stack([coverage(t, times, side, side, clip.scene.aspect) for t in things])
    share = share.reshape(len(things), len(times), side * side)
    nearest, most = share.argmax(axis=0), share.max(axis=0)
    clear = most >= 0.12
    shapes = np.array([WORLD.shapes.index(t.shape) for t in things])
    colors = np.array([WORLD.colors.index(t.color) for t in things])
    places = np.stack([t.places(times) for t in things])  # (things, T, 2)
    return {
        "present": np.where(clear, 1, np.where(most > 0, IGNORED, 0)),
        "shape": np.where(clear, shapes[nearest], IGNORED),
        "color": np.where(clear, colors[nearest], IGNORED),
        "centre": places[nearest, np.arange(len(times))[:, None]].astype(np.float32),
    }


def turns(
    chosen: list[list[Question]], tokenizer: PreTrainedTokenizerBase
) -> dict[str, torch.Tensor]:
    """Questions with answers as the chat template writes them after the video: "turns".

    Returns for B clips, P the length of the longest row of turns: `ids` (B, P); `turn` (B, P),
    counted from 1, 0 for padding; `place` (B, P), a token's place within its turn; and `labels`
    (B, P), the next token where that belongs to an answer, IGNORED elsewhere.
    """
    rows = []
    for questions in chosen:
        ids, turn, place, labels = [], [], [], []
        for number, question in enumerate(questions, 1):
            asked = tokenizer(f"{question.text}{END}{START}assistant\n").input_ids
            told = tokenizer(f"{question.answer}{END}").input_ids
            ids += asked + told
            turn += [number] * (len(asked) + len(told))
            place += range(len(asked) + len(told))
            labels += [IGNORED] * (len(asked) - 1) + told + [IGNORED]
        rows.append((ids, turn, place, labels))
    longest = max(len(row[0]) for row in rows)
    filled = (tokenizer.pad_token_id, 0, 0, IGNORED)
    return {
        name: torch.tensor([row[i] + [filled[i]] * (longest - len(row[i])) for row in rows])
        for i, name in enumerate(("ids", "turn", "place", "labels"))
    }
