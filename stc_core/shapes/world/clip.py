"""One clip of the world: frames, times, questions. `make_clip(seed)` is the world's front door."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stc_core.errors import InputError
from stc_core.shapes.world.drawing import coverage, render
from stc_core.shapes.world.questions import Question, ask
from stc_core.shapes.world.scenes import WORLD, Scene, World, frame_times, make_scene

FRAMES_MOST = 64
FRAMES_PER_SECOND = 4.0  # of every clip


@dataclass(frozen=True)
class Clip:
    """Rendered scene with everything that is known about it."""

    seed: int
    scene: Scene
    frames: np.ndarray  # (T, H, W, 3) uint8, RGB
    seconds: np.ndarray  # (T,) float64, from the start of the clip
    questions: tuple[Question, ...]
    grid: tuple[int, int]  # rows, cols of the evidence

    def share(self, question: Question) -> float:
        """Return the share of the clip's cells that hold a question's evidence."""
        return len(question.evidence) / (len(self.frames) * self.grid[0] * self.grid[1])


def make_clip(
    seed: int,
    frames: int = 32,
    size: int | tuple[int, int] = 112,
    *,
    grid: tuple[int, int] = (7, 7),
    world: World = WORLD,
    aspect: float | None = None,
) -> Clip:
    """Render the clip of one seed.

    Args:
        seed: the only source of chance; see the `*_SEEDS` ranges of `scenes.py`.
        frames: number of frames T, 1 to 64.
        size: side of the square frame in pixels, or (height, width).
        grid: rows and columns of the token grid on which evidence is given.
        world: what scenes are made of.
        aspect: width over height of the scene itself; by default that of `size`. With another one
            the frame comes out squashed, as a processor squashes a wide video into a square.

    Raises:
        InputError: one of the numbers is out of range, or the world does not fit into the clip.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if not 1 <= frames <= FRAMES_MOST:
        raise InputError(f"a clip has 1 to {FRAMES_MOST} frames, not {frames}")
    if min(height, width) < 16:
        raise InputError(f"frames of {height}x{width} pixels are too small, 16 is the least")
    if min(grid) < 1:
        raise InputError(f"the grid needs at least one row and one column, not {grid}")
    if world.objects[1] > (cells := frames * grid[0] * grid[1]):
        raise InputError(f"{world.objects[1]} objects cannot be told apart in {cells} cells")
    scene = make_scene(seed, world, width / height if aspect is None else aspect)
    times = frame_times(frames)
    share = coverage([scene], times, *grid)[0].numpy()
    return Clip(
        seed=seed,
        scene=scene,
        frames=render([scene], times, height, width, noise=world.noise)[0].numpy(),
        seconds=np.arange(frames) / FRAMES_PER_SECOND,
        questions=ask(scene, world, times, share),
        grid=grid,
    )
