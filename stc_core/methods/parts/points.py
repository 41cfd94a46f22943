"""Hold tokens as points in space, and compute squared distances between them in tiles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property

import torch
from torch import Tensor

from stc_core.methods.base import grain_of
from stc_core.methods.parts.bounds import Bounds

HELD = 1 << 25  # coordinates held at once: 256 MiB in float64
ROWS = {"cpu": 768}  # of a tile: few, since what lies on the diagonal is computed twice
MADE = {"cpu": 64}  # of which coordinates are made at a time, within a processor's cache
PAIRED = 1 << 18  # coordinates of pairs compared at a time
MANY = 2048  # points from which float32 first is faster
SAMPLE = 256  # tokens whose mean stands for that of all
# Squared distances below this share of a squared norm are rounding: zero.
SAME = {torch.float64: 2e-12, torch.float32: 1e-5}
# Binary digits of a squared norm to which squared distances are compared: beyond is rounding.
DIGITS = {torch.float64: 42, torch.float32: 20}


_float64_only: ContextVar[bool] = ContextVar("float64_only", default=False)


@contextmanager
def float64_only() -> Iterator[None]:
    """Compute every distance on a CPU in float64 within the ``with``, in this thread.

    The fates are the same: for measurements and tests.
    """
    token = _float64_only.set(True)
    try:
        yield
    finally:
        _float64_only.reset(token)


class Points:
    """Hold M of N tokens as points in space, and compute squared distances between them.

    Exact on a CPU, in float64 whatever the dtype of the tokens. On a GPU distances are float32; of
    half-precision tokens the products are exact and added up in float32 on tensor cores. There
    near-ties may fall the other way.

    Parameters
    ----------
    tokens : (N, d)
    among : (M,) int64, optional
        Which of the tokens. Default: all.
    """

    def __init__(self, tokens: Tensor, among: Tensor | None = None) -> None:
        self.tokens, self.width, self.device = tokens, tokens.shape[1], tokens.device
        self.among = torch.arange(len(tokens), device=self.device) if among is None else among
        self.size = len(self.among)
        self.dtype = distance_dtype(self.device)
        # as they are: centered, half-precision numbers would be rounded
        self.raw = tokens.is_cuda and tokens.dtype.itemsize == 2
        self.rows = ROWS.get(self.device.type, 2048)
        self.held = max(1, HELD // max(self.width, 2 * self.rows) // self.rows) * self.rows
        some = tokens[self.among[:: max(1, self.size // SAMPLE)]].to(self.dtype)
        self.middle = some.mean(dim=0)  # amid the others, so that rounding is less
        self.spread = (some if self.raw else some - self.middle).square().sum(dim=1).mean()

        self.kept: tuple[Tensor, Tensor] | None = None

    def keep(self) -> None:
        """Hold the coordinates of all points from now on, if they are few."""
        if self.kept is None and self.size <= self.held:
            self.kept = self.made(slice(None))

    @cached_property
    def rough(self) -> Bounds | None:
        """Hold what float32 says about the distances; None where it is not asked.

        On other devices than a CPU distances are float32 anyway.
        """
        if _float64_only.get() or self.size < MANY:
            return None
        float64_here = self.device.type == "cpu" and self.dtype == torch.float64
        return Bounds.of(self) if float64_here else None

    def __getitem__(self, part: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Return coordinates (p, d) and squared norms (p,) of some of the points."""
        if self.kept is None:
            return self.made(part)
        return self.kept[0][part], self.kept[1][part]

    def made(self, part: slice | Tensor, kind: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Make coordinates (p, d), rounded to ``kind`` in the end, and squared norms (p,)."""
        names = torch.arange(self.size, device=self.device)[part]
        kind = kind or (self.tokens.dtype if self.raw else self.dtype)
        x = torch.empty(len(names), self.width, dtype=kind, device=self.device)
        norms = torch.empty(len(names), dtype=self.dtype, device=self.device)
        step = MADE.get(self.device.type, self.rows)
        for first in range(0, len(names), step):
            few = slice(first, first + step)
            x[few] = chosen = self._coordinates(names[few])
            norms[few] = torch.linalg.vector_norm(chosen, dim=1, dtype=self.dtype).square()
        return x, norms

    def between(self, a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
        """Return (p, q) squared distances; between equal points exactly zero."""
        (x, here), (y, there) = a, b
        if self.raw:
            square = torch.mm(x, y.T, out_dtype=self.dtype).mul_(-2).add_(there)
        else:
            square = torch.addmm(there, x, y.T, alpha=-2)
        square += here[:, None]
        return square.masked_fill_(square <= SAME[self.dtype] * here[:, None], 0.0)

    def pairs(self, here: Tensor, there: Tensor) -> Tensor:
        """Return (p, c) squared distances of points (p,) to c others each (p, c).

        Sums of squared differences: distances that are equal come out equal but for the last bit
        of their own, where those of a product differ in the last bits of the squared norms.
        """
        square = torch.empty(there.shape, dtype=self.dtype, device=self.device)
        step = max(1, PAIRED // (self.width * (there.shape[1] + 1)))
        for first in range(0, len(here), step):
            few = slice(first, first + step)
            x = self._tokens(here[few])
            y = self._tokens(there[few].flatten()).view(len(x), -1, self.width)
            square[few] = y.sub_(x[:, None]).square_().sum(dim=2)
        return square.masked_fill_(square <= SAME[self.dtype] * self.norms[here, None], 0.0)

    def _tokens(self, names: Tensor) -> Tensor:
        return self.tokens.index_select(0, self.among[names]).to(self.dtype)

    def _coordinates(self, names: Tensor) -> Tensor:
        if self.raw:
            return self.tokens.index_select(0, self.among[names])
        return self._tokens(names).sub_(self.middle)

    @cached_property
    def norms(self) -> Tensor:
        """Hold the squared norms (M,) of all points."""
        self.keep()
        if self.kept is not None:
            return self.kept[1]
        return torch.cat([norms for _, (_, norms) in self.tiles()])

    def grain(self, norms: Tensor) -> Tensor:
        """Return to what squared distances are rounded where these are the squared norms.

        A power of two, so many ``DIGITS`` below the squared norm and the mean of all together.
        """
        return grain_of(norms + self.spread, DIGITS[self.dtype])

    def parts(self, start: int, stop: int) -> Iterator[slice]:
        """Yield the rows of one tile after the other."""
        for first in range(start, stop, self.rows):
            yield slice(first, min(first + self.rows, stop))

    def tiles(self) -> Iterator[tuple[slice, tuple[Tensor, Tensor]]]:
        """Yield all points, as many at a time as are held at once."""
        for start in range(0, self.size, self.held):
            part = slice(start, min(start + self.held, self.size))
            yield part, self[part]


def distance_dtype(device: torch.device) -> torch.dtype:
    """Return float64, or float32 on devices where float64 may cost sixty times as much."""
    return torch.float64 if device.type == "cpu" else torch.float32
