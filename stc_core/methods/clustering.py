"""Density-peaks clustering on k nearest neighbours (DPC-KNN), exact, deterministic, in blocks."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .base import precise, settled

BLOCK_VALUES = 1 << 25  # distances held at once: 256 MiB in float64
SAME = 1e-12  # squared distances below this share of the squared norms are rounding: zero


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """(m, n) squared Euclidean distances of rows (m, d) to rows (n, d); equal rows give zero."""
    norms = a.square().sum(1)[:, None] + b.square().sum(1)
    square = norms - 2 * (a @ b.T)
    same = SAME if a.dtype == torch.float64 else 1e-6
    return torch.where(square <= same * norms, 0.0, square)


def dpc_knn(tokens: Tensor, clusters: int, k: int = 7) -> tuple[Tensor, Tensor]:
    """Cluster M tokens around density peaks.

    ``rho_i = exp(-(1/k) sum_{j in kNN(i)} d_ij^2)``, ``delta_i = min_{j: rho_j > rho_i} d_ij`` (the
    largest distance in its row for the densest), centers = the highest ``gamma = rho * delta``
    (section 1 of the specification, "Recycling", arXiv 2603.21957), d = Euclidean / sqrt(width).
    Every other token joins its nearest center.

    The order is total and free of chance: among equal densities the earlier token is the denser,
    among equal gammas and equal distances the earlier goes first. Densities are compared as
    logarithms, so that far-apart tokens do not all underflow to zero.

    Parameters
    ----------
    tokens : (M, d)
    clusters : int
        C, with 1 <= C <= M.
    k : int
        Neighbours, the token itself counted, as in the published codes of this method's family;
        at most M are used.

    Returns
    -------
    centers : (C,) int64, ascending
    nearest : (M,) int64
        The center of each token, as an index of ``tokens``; a center's is itself.
    """
    m = len(tokens)
    if not 1 <= clusters <= m:
        raise ValueError(f"{m} tokens cannot make {clusters} clusters")
    every = torch.arange(m, device=tokens.device)
    if clusters == m:
        return every, every
    x = precise(tokens) / tokens.shape[1] ** 0.5
    x = x - x.mean(dim=0)  # distances stay, rounding shrinks
    step = max(1, BLOCK_VALUES // m)
    whole = squared_distances(x, x) if step >= m else None

    def rows() -> Iterator[tuple[Tensor, Tensor]]:
        """Pairs of row numbers and their (rows, M) squared distances."""
        for part in every.split(step):
            yield part, squared_distances(x[part], x) if whole is None else whole[part]

    log_rho = settled(
        torch.cat([-s.topk(min(k, m), dim=1, largest=False).values.mean(1) for _, s in rows()])
    )
    rank = torch.empty_like(every)  # 0 is the densest
    rank[torch.sort(log_rho, descending=True, stable=True).indices] = every
    delta = torch.cat(
        [
            torch.where(
                rank[part] == 0,
                square.amax(1),
                square.masked_fill(rank >= rank[part, None], torch.inf).amin(1),
            )
            for part, square in rows()
        ]
    )
    log_gamma = settled(log_rho + 0.5 * delta.log())
    centers = torch.sort(log_gamma, descending=True, stable=True).indices[:clusters].sort().values
    to_center = torch.cat([squared_distances(x[part], x[centers]) for part in every.split(step)])
    nearest = centers[settled(to_center).argmin(dim=1)]
    nearest[centers] = centers
    return centers, nearest
