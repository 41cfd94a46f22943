"""Cluster by density peaks on k nearest neighbors (DPC-KNN): exact, deterministic, in tiles.

All distances are needed once, and never all at the same time. They come in tiles of one product
x x^T, of which only the upper half is computed; each tile leaves the few nearest neighbors of its
rows and of its columns behind. Density needs no more than these, and so does the nearest denser
token, but for the few tokens that are denser than all their neighbors: their rows come again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

import torch
from torch import Tensor

from stc_core.methods.base import settled
from stc_core.methods.parts.progress import report

HELD = 1 << 25  # coordinates held at once: 256 MiB in float64
ROWS = {"cpu": 768}  # of a tile: few, since what lies on the diagonal is computed twice
SAMPLE = 256  # tokens whose mean stands for that of all
SPARE = 4  # nearest neighbors remembered beyond k: one of them is denser, for most tokens
# Squared distances below this share of a squared norm are rounding: zero.
SAME = {torch.float64: 2e-12, torch.float32: 1e-5}


def dpc_knn(tokens: Tensor, clusters: int, k: int = 7) -> tuple[Tensor, Tensor]:
    """Return centers (C,) of tokens (N, d), ascending, and the center (N,) of each token.

    ``density_peaks``, then ``nearest_center``: they say what is what.
    """
    points = Points(tokens)
    centers = density_peaks(points, clusters, k)
    return centers, nearest_center(points, centers)


def density_peaks(points: Points, clusters: int, k: int = 7) -> Tensor:
    """Return (C,) int64, ascending: the points that are dense and far from denser ones.

    ``rho_i = exp(-(1/k) sum_{j in kNN(i)} d_ij^2)``, ``delta_i = min_{j: rho_j > rho_i} d_ij`` (the
    largest distance in its row for the densest), centers = the highest ``gamma = rho * delta``
    (docs/method.md, section 2.4, arXiv 2603.21957), d = Euclidean / sqrt(width).

    The order is total and free of chance: among equal densities the earlier token is the denser,
    among equal gammas the earlier goes first. Densities are compared as logarithms, so that
    far-apart tokens do not all underflow to zero.

    Time: half a product (M, d) x (d, M). Memory: O(M), and a tile of constant size.

    Parameters
    ----------
    points : Points
    clusters : int
        C, with 1 <= C <= M.
    k : int
        Neighbors, the token itself counted, as in the published codes of this method's family;
        at most M are used.
    """
    if not 1 <= clusters <= points.size:
        raise ValueError(f"{points.size} tokens cannot make {clusters} clusters")
    if clusters == points.size:
        return torch.arange(clusters, device=points.device)
    near, whose = _neighbors(points, min(k + SPARE, points.size))
    log_rho = settled(-near[:, :k].mean(dim=1) / points.width)
    order = torch.sort(log_rho, descending=True, stable=True).indices
    delta = _separation(points, near, whose, order) / points.width
    log_gamma = settled(log_rho + 0.5 * delta.log())
    return torch.sort(log_gamma, descending=True, stable=True).indices[:clusters].sort().values


def nearest_center(points: Points, centers: Tensor) -> Tensor:
    """Return (M,) int64: the center (C,) nearest to each point, ties to the earlier."""
    nearest = torch.arange(points.size, device=points.device)
    if len(centers) == points.size:
        return nearest
    there = points[centers]
    for part in points.parts(0, points.size):
        distance = settled(points.between(points[part], there) / points.width)
        nearest[part] = centers[distance.argmin(dim=1)]
    nearest[centers] = centers
    return nearest


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
        some = tokens[self.among[:: max(1, self.size // SAMPLE)]]
        self.middle = some.to(self.dtype).mean(dim=0)  # amid the others, so that rounding is less
        self.kept = self._made(slice(None)) if self.size <= self.held else None

    def __getitem__(self, part: slice | Tensor) -> tuple[Tensor, Tensor]:
        """Return coordinates (p, d) and squared norms (p,) of some of the points."""
        if self.kept is None:
            return self._made(part)
        return self.kept[0][part], self.kept[1][part]

    def _made(self, part: slice | Tensor) -> tuple[Tensor, Tensor]:
        names = self.among[part]
        kind = self.tokens.dtype if self.raw else self.dtype
        x = torch.empty(len(names), self.width, dtype=kind, device=self.device)
        norms = torch.empty(len(names), dtype=self.dtype, device=self.device)
        for few in self.parts(0, len(names)):
            chosen = self.tokens.index_select(0, names[few])
            if self.raw:
                x[few] = chosen
            else:
                torch.sub(chosen, self.middle, out=x[few])
            norms[few] = torch.linalg.vector_norm(x[few], dim=1, dtype=self.dtype).square()
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


def _separation(points: Points, near: Tensor, whose: Tensor, order: Tensor) -> Tensor:
    """Return (M,): squared distance to the nearest denser point; for the densest, the largest.

    order (M,) names the points by falling density.
    """
    every, rank = torch.arange(points.size, device=points.device), torch.empty_like(order)
    rank[order] = every
    square = near.masked_fill(rank[whose] >= rank[:, None], torch.inf).amin(dim=1)
    peaks = order[square[order].isinf()]  # denser than all their neighbors; the densest is first
    ranks, densest = rank[peaks].tolist(), points[peaks[:1]]
    farthest = [points.between(densest, there).amax() for _, there in points.tiles()]
    square[peaks[0]] = torch.stack(farthest).amax()
    for seen in points.parts(0, ranks[-1]):
        there = points[order[seen]]
        # of these no token is denser than a peak that comes before them
        for few in peaks[max(1, bisect_right(ranks, seen.start)) :].split(points.rows):
            found = points.between(points[few], there)
            found.masked_fill_(every[seen] >= rank[few, None], torch.inf)
            square[few] = torch.minimum(square[few], found.amin(dim=1))
    return square
