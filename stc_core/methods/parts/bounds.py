"""Bound squared distances from below by products in float32, and list the lowest bounds.

A float32 product costs half of a float64 one. Its error is bounded whatever the order in which a
library adds: n products, each of relative error u = 2^-24, added in any order, with or without
fused multiply-add, are within ``n u / (1 - n u) * sum |x y|`` of the exact sum, and
``sum |x y| <= (|x|^2 + |y|^2) / 2``. Norms that are shrunk by that share make each computed
distance a lower bound of the true one, and so the lists of the lowest are lists of lower bounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from stc_core.methods.parts.progress import report

if TYPE_CHECKING:
    from stc_core.methods.parts.points import Points

HELD = 1 << 26  # coordinates held at once: 256 MiB in float32
SIDE = 1056  # points on a side of a tile, at most: more leave the cache, fewer slow the product
STRIP = 128  # of a tile on the diagonal: few rows, since some distances are computed twice
GROUP = 16  # distances of which only the lowest is looked at first
UNIT = 2.0**-24  # relative error of one operation in float32
# Roundings beside those of the sum: two of the coordinates, one of each of the norms, two sums of
# all three (twice as large as the sum of the norms). The rest is room for the errors of float64.
BESIDE = 16
LARGEST, SMALLEST = 2.0**100, 2.0**-60  # of the largest squared norm: no overflow, no underflow
FAINT = 2.0**-98  # more than what underflow adds up to, and nothing beside the largest norm


def float32_holds(width: int) -> bool:
    """Tell whether products of this width are computed in float32 where float32 is asked for.

    PyTorch and the libraries below it may be told, by a setting or by the environment, to round
    float32 factors to bfloat16 or TF32. Products of one term each show whether they do.
    """
    if torch.get_float32_matmul_precision() != "highest":
        return False
    x = torch.zeros(64, width, dtype=torch.float32)
    # steps of 2^-17 that need 23 binary digits, all of them different
    x[:, 0] = 1 + torch.arange(1, 65) * (2.0**-7 - 2.0**-17) + 2.0**-23
    exact = x[:, :1].double() @ x[:, :1].double().T
    # as in ``Bounds.between``: no autocast
    found = torch.mm(x, x.T, out=torch.empty(64, 64, dtype=torch.float32))
    return bool(((found - exact).abs() <= 2 * UNIT * exact).all())


class Bounds:
    """Hold M points in float32, and compute lower bounds of the squared distances between them.

    Parameters
    ----------
    points : Points
        On a CPU.
    """

    def __init__(self, points: Points) -> None:
        self.points, self.size = points, points.size
        tiles = -(-self.size // SIDE)  # equally large, and whole groups
        self.side = -(-self.size // (tiles * GROUP)) * GROUP
        self.held = max(1, HELD // max(points.width, 2 * SIDE) // self.side) * self.side
        self.kept = None
        if self.size <= self.held:  # coordinates are made once for both
            self.kept, points.norms = points.made(slice(None), torch.float32)
        terms = (points.width + BESIDE) * UNIT
        self.share = terms / (1 - terms)
        # rounded to float32 once more, for which BESIDE has room
        self.low = ((1 - self.share) * points.norms - FAINT / 4).float()
        self.tile = torch.empty(self.side**2, dtype=torch.float32)

    @classmethod
    def of(cls, points: Points) -> Bounds | None:
        """Make the bounds; None where float32 could say nothing that is certain."""
        if points.width >= 1 << 20 or not float32_holds(points.width):
            return None
        bounds = cls(points)
        return bounds if SMALLEST < float(points.norms.max()) < LARGEST else None

    def __getitem__(self, part: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Return coordinates (p, d) and shrunk squared norms (p,) of some of the points."""
        if self.kept is None:
            return self.points.made(part, torch.float32)[0], self.low[part]
        return self.kept[part], self.low[part]

    def between(self, a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
        """Return (p, q) lower bounds of squared distances, up to ``slack`` below them.

        The next call may write to the same place.
        """
        (x, here), (y, there) = a, b
        size = len(x), len(y)
        if size[0] * size[1] <= len(self.tile):
            tile = self.tile[: size[0] * size[1]].view(size)
        else:
            tile = torch.empty(size, dtype=torch.float32)
        torch.mm(x, y.T, out=tile)
        torch.add(there, tile, alpha=-2, out=tile)
        return tile.add_(here[:, None])

    def slack(self, norms: Tensor) -> Tensor:
        """Return how much too low the bounds can be where two squared norms have this sum."""
        return 2 * self.share * norms + FAINT

    def lowest(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the (M, count) lowest bounds of each point to others, rising, and their points.

        Bounds are float64, what is computed with them is. All that is not listed is at least as
        far as the last bound.
        """
        near = torch.full((self.size, count), torch.inf, dtype=torch.float32)
        whose = torch.zeros((self.size, count), dtype=torch.int64)
        for held in _steps(0, self.size, self.held):
            x, low = self[held]
            for cols in _steps(held.start, held.stop, self.side):
                part = slice(cols.start - held.start, cols.stop - held.start)
                there = x[part], low[part]
                for rows in _steps(0, cols.start, self.side):
                    tile = self.between(self[rows], there)
                    _offer_rows(near, whose, rows, cols.start, tile)
                    _offer_cols(near, whose, cols, rows.start, tile)
                _offer_rows(near, whose, cols, cols.start, self._among(*there))
                report((cols.stop / self.size) ** 2)
        return near.double(), whose

    def _among(self, x: Tensor, low: Tensor) -> Tensor:
        """Return (p, p): ``between`` the same points, each to the others; to itself inf."""
        size = len(x)
        tile = self.tile[: size * size].view(size, size)
        for part in _steps(0, size, STRIP):
            torch.mm(x[part], x[part.start :].T, out=tile[part, part.start :])
            tile[part.stop :, part] = tile[part, part.stop :].T
        torch.add(low, tile, alpha=-2, out=tile)
        return tile.add_(low[:, None]).fill_diagonal_(torch.inf)


def _steps(start: int, stop: int, step: int) -> Iterator[slice]:
    for first in range(start, stop, step):
        yield slice(first, min(first + step, stop))


def _offer_rows(near: Tensor, whose: Tensor, rows: slice, first: int, tile: Tensor) -> None:
    """Offer the rows of a tile their bounds to the points from ``first`` on."""
    spare = -tile.shape[1] % GROUP
    tile = F.pad(tile, (0, spare), value=torch.inf) if spare else tile
    each = tile.unflatten(1, (GROUP, -1))
    _offer(near, whose, rows, first, each.amin(dim=1), each.permute(0, 2, 1))


def _offer_cols(near: Tensor, whose: Tensor, cols: slice, first: int, tile: Tensor) -> None:
    """Offer the columns of a tile their bounds to the points from ``first`` on."""
    spare = -tile.shape[0] % GROUP
    tile = F.pad(tile, (0, 0, 0, spare), value=torch.inf) if spare else tile
    each = tile.unflatten(0, (GROUP, -1))
    _offer(near, whose, cols, first, each.amin(dim=0).T.contiguous(), each.permute(2, 1, 0))


def _offer(
    near: Tensor, whose: Tensor, rows: slice, first: int, least: Tensor, each: Tensor
) -> None:
    """Offer each of these rows its bounds to the points from ``first`` on.

    Parameters
    ----------
    near, whose : (M, count)
        The lowest so far, rising, and their points; changed in place.
    rows : slice
        n of the M rows.
    first : int
    least : (n, g)
        The lowest bound of each group.
    each : (n, g, GROUP)
        Bounds; member m of group c is of point ``first + m * g + c``.
    """
    count, groups = near.shape[1], least.shape[1]
    bound = near[rows, -1]
    if groups >= count and bound.isinf().any():
        # among so many groups there are that many bounds, one in each
        bound = bound.minimum(least.topk(count, dim=1, largest=False).values[:, -1])
    row, group = (least <= bound[:, None]).nonzero().unbind(1)
    if not len(row):
        return
    bounds = each[row, group]
    hit, member = (bounds <= bound[row, None]).nonzero().unbind(1)
    row, points = row[hit], first + member * groups + group[hit]
    counts = torch.bincount(row, minlength=len(bound))
    touched = counts.nonzero().flatten()
    place = torch.empty_like(counts)
    place[touched] = torch.arange(len(touched))
    slot = count + torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]
    mine = touched + rows.start
    values = near.new_full((len(touched), count + int(counts.max())), torch.inf)
    names = torch.zeros(values.shape, dtype=torch.int64)
    values[:, :count], names[:, :count] = near[mine], whose[mine]
    values[place[row], slot], names[place[row], slot] = bounds[hit, member], points
    best = values.topk(count, dim=1, largest=False)
    near[mine], whose[mine] = best.values, names.gather(1, best.indices)
