"""Cluster by density peaks on k nearest neighbors (DPC-KNN): exact, deterministic, in tiles.

All distances are needed once, and never all at the same time. They come in tiles of one product
x x^T, of which only the upper half is computed; each tile leaves the few nearest neighbors of its
rows and of its columns behind. Density needs no more than these, and so does the nearest denser
token, but for the few tokens that are denser than all their neighbors: their rows come again.

Of many tokens on a CPU the product is float32 first (``float32_first``), and only what its error
could decide is computed in float64. The result is that of float64 everywhere, but for ties that the
float64 product's own rounding breaks.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stc_core.methods.base import settled
from stc_core.methods.parts import exact, float32_first
from stc_core.methods.parts.points import Points


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
    far-apart tokens do not all underflow to zero. Squared distances are rounded relative to the
    spread of the points (``Points.grain``), so that rounding decides as little about small features
    as about large ones. The formula itself has a scale: in ``gamma`` an exponential stands beside a
    length, so that among small features delta decides, and among large ones rho.

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
    found = float32_first.separated(points, points.rough, k) if points.rough else None
    log_rho, delta = exact.separated(points, k) if found is None else found
    log_gamma = log_rho + 0.5 * delta.log()
    return torch.sort(log_gamma, descending=True, stable=True).indices[:clusters].sort().values


def nearest_center(points: Points, centers: Tensor) -> Tensor:
    """Return (M,) int64: the center (C,) nearest to each point, ties to the earlier."""
    nearest = torch.arange(points.size, device=points.device)
    if len(centers) == points.size:
        return nearest
    if points.rough:
        nearest = float32_first.nearest_center(points, points.rough, centers)
    else:
        points.keep()
        there = points[centers]
        for part in points.parts(0, points.size):
            here = points[part]
            distance = settled(points.between(here, there), points.grain(here[1])[:, None])
            nearest[part] = centers[distance.argmin(dim=1)]
    nearest[centers] = centers
    return nearest
