"""Find densities and nearest denser points with every distance in the precision of the points.

On a CPU that is float64: what ``float32_first`` must agree with, and falls back to.
"""

from __future__ import annotations

from bisect import bisect_right

import torch
from torch import Tensor

from stc_core.methods.base import settled
from stc_core.methods.parts.points import Points
from stc_core.methods.parts.progress import report

SPARE = 4  # nearest neighbors remembered beyond k: one of them is denser, for most tokens


def separated(points: Points, k: int) -> tuple[Tensor, Tensor]:
    """Return (M,) logarithms of ``rho`` and (M,) ``delta^2``, as ``density_peaks`` has them."""
    points.keep()
    near, whose = _neighbors(points, min(k + SPARE, points.size))
    norms = points.norms
    near = settled(near, points.grain(norms[:, None] + norms[whose]))
    log_rho = -near[:, :k].mean(dim=1) / points.width
    order = torch.sort(log_rho, descending=True, stable=True).indices
    delta, denser = _separation(points, near, whose, order)
    return log_rho, settled(delta, points.grain(norms + norms[denser])) / points.width


def _neighbors(points: Points, count: int) -> tuple[Tensor, Tensor]:
    """Return the (M, count) smallest squared distances of each point, rising, and their points."""
    shape = points.size, count
    near = torch.full(shape, torch.inf, dtype=points.dtype, device=points.device)
    whose = torch.zeros(shape, dtype=torch.int64, device=points.device)

    def offer(rows: slice, square: Tensor, first: int) -> None:
        """Offer these rows their distances (rows, cols) to the points from ``first`` on."""
        found = square.topk(min(count, square.shape[1]), dim=1, largest=False)
        values = torch.cat([near[rows], found.values], dim=1)
        names = torch.cat([whose[rows], found.indices + first], dim=1)
        best = values.topk(count, dim=1, largest=False)
        near[rows], whose[rows] = best.values, names.gather(1, best.indices)

    for cols, (x, norms) in points.tiles():
        for rows in points.parts(0, cols.stop):
            # the tile below the diagonal: its mirror image is not computed
            first, beyond = max(rows.start, cols.start), max(rows.stop, cols.start)
            below = slice(first - cols.start, None)
            here = points[rows] if rows.stop <= cols.start else _cut(x, norms, rows, cols.start)
            square = points.between((x[below], norms[below]), here)
            offer(rows, square.T.contiguous(), first)
            if beyond < cols.stop:
                offer(slice(beyond, cols.stop), square[beyond - first :], rows.start)
        report((cols.stop / points.size) ** 2)
    return near, whose


def _cut(x: Tensor, norms: Tensor, rows: slice, start: int) -> tuple[Tensor, Tensor]:
    """Return the rows of a tile among the points that begin with ``start``."""
    part = slice(rows.start - start, rows.stop - start)
    return x[part], norms[part]


def _separation(
    points: Points, near: Tensor, whose: Tensor, order: Tensor
) -> tuple[Tensor, Tensor]:
    """Return (M,) squared distances to the nearest denser points, and (M,) int64: these points.

    For the densest point: to the farthest. order (M,) names the points by falling density.
    """
    rank = ranked(order)
    square, place = near.masked_fill(rank[whose] >= rank[:, None], torch.inf).min(dim=1)
    denser = whose.gather(1, place[:, None]).flatten()
    peaks = order[square[order].isinf()]  # denser than all their neighbors; the densest is first
    densest = points[peaks[:1]]
    farthest = [points.between(densest, there)[0] for _, there in points.tiles()]
    square[peaks[0]], denser[peaks[0]] = torch.cat(farthest).max(dim=0)
    search(points, peaks[1:], rank, order, square, denser)
    return square, denser


def ranked(order: Tensor) -> Tensor:
    """Return (M,) int64: the place of each point in the order (M,)."""
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device)
    return rank


def search(
    points: Points, peaks: Tensor, rank: Tensor, order: Tensor, square: Tensor, denser: Tensor
) -> None:
    """Look among all denser points for the nearest one of each peak (p,), by falling density.

    Parameters
    ----------
    rank, order : (M,) int64
        Of and by density.
    square, denser : (M,)
        The least squared distance so far and whose it is; changed in place.
    """
    every, ranks = torch.arange(points.size, device=points.device), rank[peaks].tolist()
    for seen in points.parts(0, ranks[-1] if ranks else 0):
        there = points[order[seen]]
        # of these no token is denser than a peak that comes before them
        for few in peaks[bisect_right(ranks, seen.start) :].split(points.rows):
            found = points.between(points[few], there)
            found.masked_fill_(every[seen] >= rank[few, None], torch.inf)
            least, place = found.min(dim=1)
            nearer = least < square[few]
            square[few] = torch.where(nearer, least, square[few])
            denser[few] = torch.where(nearer, order[seen][place], denser[few])
