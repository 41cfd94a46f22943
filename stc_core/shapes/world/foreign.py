"""Paint pictures from outside the world of shapes: overlapping leaves, strokes, writing, textures.

They stand for real pictures in training, where none is used. Leaves of all sizes that cover each
other have the statistics of photographs (dead leaves, arXiv:2106.05963), as has noise whose
amplitude falls with its frequency.
"""

from __future__ import annotations

import colorsys
import string
from collections.abc import Callable

import cv2
import numpy as np

Paint = Callable[[np.random.Generator, int], np.ndarray]
MARGIN = 1.4  # side of what is painted over that of the frame: a camera moves within it
FOREIGN_SEEDS = range(4_000_000_000, 4_001_000_000)  # apart from those of all scenes


def foreign_clip(seed: int, frames: int = 8, side: int = 112) -> np.ndarray:
    """Return (frames, side, side, 3) uint8, RGB: a camera pans and zooms over a painted picture.

    Parameters
    ----------
    seed : int
        The only source of chance.
    frames : int
    side : int
        Height and width in pixels.
    """
    dice = np.random.default_rng([seed, 77])
    whole = round(MARGIN * side)
    picture = foreign_picture(dice, whole)
    zoom, start, end = dice.uniform(0.55, 0.95, 2), dice.uniform(size=2), dice.uniform(size=2)
    clip = np.empty((frames, side, side, 3), np.uint8)
    for frame, t in enumerate(np.linspace(0, 1, frames)):
        part = int(whole * (zoom[0] + (zoom[1] - zoom[0]) * t))
        row, col = ((whole - part) * (start + (end - start) * t)).astype(int)
        crop = picture[row : row + part, col : col + part]
        clip[frame] = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    return clip


def foreign_picture(dice: np.random.Generator, side: int) -> np.ndarray:
    """Return (side, side, 3) uint8, RGB: one picture of a kind that the dice choose."""
    kinds: tuple[Paint, ...] = (_haze, _leaves, _strokes, _writing, _grain)
    paint = kinds[dice.choice(len(kinds), p=(0.15, 0.4, 0.15, 0.15, 0.15))]
    picture = cv2.GaussianBlur(paint(dice, side).astype(np.float32), (0, 0), dice.uniform(0.3, 2.5))
    if dice.uniform() < 0.15:
        picture = np.repeat(picture.mean(axis=2, keepdims=True), 3, axis=2)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _haze(dice: np.random.Generator, side: int) -> np.ndarray:
    """Paint noise whose amplitude falls with its frequency, tinted."""
    noise = _falling_noise(dice, side, dice.uniform(0.8, 2.2))
    level, contrast, tint = (
        dice.uniform(0.15, 0.8),
        dice.uniform(0.04, 0.3),
        dice.normal(0, 0.08, 3),
    )
    return np.clip(level + tint + contrast * noise, 0, 1)


def _leaves(dice: np.random.Generator, side: int) -> np.ndarray:
    """Paint textured ellipses and polygons over each other, many small ones and few large ones."""
    picture, texture = _haze(dice, side), _falling_noise(dice, side, dice.uniform(0.8, 2.0))
    for _ in range(_count(dice)):
        mask = np.zeros((side, side), np.uint8)
        radius = side * min(0.5, 0.015 * dice.uniform() ** (-1 / dice.uniform(1.0, 2.5)))
        center = dice.uniform(0, side, 2)
        if dice.uniform() < 0.4:
            axes = max(1, int(radius)), max(1, int(radius * dice.uniform(0.3, 1)))
            angle = dice.uniform(0, 360)
            cv2.ellipse(mask, _point(center), axes, angle, 0, 360, 255, -1, cv2.LINE_AA)
        else:
            corners = dice.integers(3, 9)
            angles = np.sort(dice.uniform(0, 2 * np.pi, corners))
            around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
            outline = center + around * (radius * dice.uniform(0.5, 1.3, (corners, 1)))
            cv2.fillPoly(mask, [outline.astype(np.int32)], 255, cv2.LINE_AA)
        moved = np.roll(texture, tuple(dice.integers(0, side, 2)), (0, 1))
        picture = _over(picture, mask, _color(dice) + dice.uniform(0, 0.15) * moved)
    return picture


def _strokes(dice: np.random.Generator, side: int) -> np.ndarray:
    """Paint straight strokes on a haze."""
    picture = _haze(dice, side)
    for _ in range(_count(dice)):
        mask = np.zeros((side, side), np.uint8)
        start = dice.uniform(0, side, 2)
        end, width = start + dice.normal(0, side / 4, 2), int(dice.integers(1, 6))
        cv2.line(mask, _point(start), _point(end), 255, width, cv2.LINE_AA)
        picture = _over(picture, mask, _color(dice))
    return picture


def _writing(dice: np.random.Generator, side: int) -> np.ndarray:
    """Write random words on a plain ground."""
    along, angle = np.linspace(-1, 1, side), dice.uniform(0, 2 * np.pi)
    ramp = np.cos(angle) * along[:, None] + np.sin(angle) * along[None]
    picture = _color(dice) + dice.normal(0, 0.15) * ramp[..., None]
    picture = picture + dice.normal(0, dice.uniform(0, 0.05), (side, side, 3))
    letters = list(string.ascii_letters + string.digits + " ")
    for _ in range(dice.integers(1, 7)):
        mask = np.zeros((side, side), np.uint8)
        word = "".join(dice.choice(letters, dice.integers(3, 16)))
        place = int(dice.integers(-20, int(0.6 * side))), int(dice.integers(10, side))
        font, size = int(dice.integers(0, 8)), float(dice.uniform(0.25, 1.3))
        width = int(dice.integers(1, 3))
        cv2.putText(mask, word, place, font, size, 255, width, cv2.LINE_AA)
        picture = _over(picture, mask, _color(dice))
    return picture


def _grain(dice: np.random.Generator, side: int) -> np.ndarray:
    """Paint noise of one scale, with some crooked lines."""
    fine = dice.uniform(0.3, 6.0)
    noise: np.ndarray = dice.normal(size=(side, side))
    longer = fine * np.exp(dice.normal(0, 0.5))
    coarse = cv2.GaussianBlur(noise, (0, 0), fine * dice.uniform(1.5, 4))
    noise = cv2.GaussianBlur(noise, (0, 0), fine, sigmaY=longer) - coarse
    noise = (noise / noise.std())[..., None] * (1 + dice.normal(0, 0.15, 3))
    picture = np.clip(_color(dice) + dice.uniform(0.02, 0.25) * noise, 0, 1)
    for _ in range(dice.integers(0, 4)):
        mask = np.zeros((side, side), np.uint8)
        steps = np.concatenate([dice.uniform(0, side, (1, 2)), dice.normal(0, 8, (20, 2))])
        line, width = np.cumsum(steps, axis=0).astype(np.int32), int(dice.integers(1, 6))
        cv2.polylines(mask, [line], False, 255, width, cv2.LINE_AA)
        picture = _over(picture, mask, _color(dice))
    return picture


def _falling_noise(dice: np.random.Generator, side: int, slope: float) -> np.ndarray:
    """Return (side, side, 3) noise of amplitude 1 / frequency**slope, its channels correlated."""
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1 / side
    real, imaginary = dice.normal(size=(2, 3, *frequency.shape))
    noise = np.fft.irfft2((real + 1j * imaginary) / frequency**slope, (side, side))
    noise = noise - noise.mean(axis=(1, 2), keepdims=True)
    noise /= noise.std(axis=(1, 2), keepdims=True)
    shared = np.full((3, 3), dice.uniform(0.3, 1.0)) + np.diag(dice.uniform(0, 0.6, 3))
    noise = np.tensordot(shared, noise, 1)
    return np.moveaxis(noise / noise.std(), 0, -1)


def _over(picture: np.ndarray, mask: np.ndarray, fill: np.ndarray) -> np.ndarray:
    share = mask[..., None] / np.float32(255)
    return picture * (1 - share) + np.clip(fill, 0, 1) * share


def _color(dice: np.random.Generator) -> np.ndarray:
    """Return (3,) RGB, 0 to 1: mostly as pale as the colors of photographs are."""
    return np.array(
        colorsys.hsv_to_rgb(dice.uniform(), dice.beta(1.2, 3), dice.uniform(0.05, 0.95))
    )


def _count(dice: np.random.Generator) -> int:
    return int(np.exp(dice.uniform(np.log(8), np.log(250))))


def _point(place: np.ndarray) -> tuple[int, int]:
    return int(place[0]), int(place[1])
