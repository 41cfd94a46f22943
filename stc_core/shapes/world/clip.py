"""Make one clip of the world of shapes from a seed: its frames, their times and its questions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stc_core.errors import InputError
from stc_core.shapes.world.drawing import coverage, render
from stc_core.shapes.world.questions import Question, ask
from stc_core.shapes.world.scenes import WORLD, Scene, World, frame_times, make_scene

FRAMES_MOST = 256
FRAMES_PER_SECOND = 4.0  # of every clip


@dataclass(frozen=True)
class Clip:
    """Hold a rendered scene with its questions and everything that is known about it.

    Attributes
    ----------
    seed : int
    scene : Scene
    frames : (T, H, W, 3) uint8
        sRGB.
    seconds : (T,) float64
        Time of each frame in seconds.
    questions : tuple of Question
    grid : (int, int)
        Rows and columns of the token grid on which evidence is given.
    """

    seed: int
    scene: Scene
    frames: np.ndarray  # (T, H, W, 3) uint8, RGB
    seconds: np.ndarray  # (T,) float64, from the start of the clip
    questions: tuple[Question, ...]
    grid: tuple[int, int]  # rows, cols of the evidence

    def share(self, question: Question) -> float:
        """Return the share of the clip's cells that hold the evidence of a question, 0 to 1."""
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
    """Render the clip of one seed and ask its questions.

    Parameters
    ----------
    seed : int
        The only source of chance; see the ``*_SEEDS`` ranges of ``scenes.py``.
    frames : int
        Number of frames T, 1 to 256.
    size : int or (int, int)
        Side of the square frame in pixels, or (height, width).
    grid : (int, int)
        Rows and columns of the token grid on which evidence is given.
    world : World
        Ranges and chances from which scenes are drawn.
    aspect : float, optional
        Width over height of the scene itself; default: that of ``size``. With another aspect the
        frame comes out squashed, as a processor squashes a wide video into a square.

    Returns
    -------
    Clip

    Raises
    ------
    InputError
        A number is out of range, or the world does not fit into the clip.
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
