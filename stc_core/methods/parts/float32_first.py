"""Find densities, nearest denser points and nearest centers by a float32 product first.

``Bounds`` lists for each point the others that are near, by lower bounds of their distances. What
could be among the answers by these bounds is computed again in float64; where the float64 answer
is below all that is not listed, it is the answer, and where it is not, the whole row is computed.
The results are those of ``exact``, whatever the library that multiplies.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import torch
from torch import Tensor

from stc_core.methods.base import settled
from stc_core.methods.parts.bounds import Bounds
from stc_core.methods.parts.exact import ranked, search
from stc_core.methods.parts.points import Points

LISTED = 12  # points listed for each point, at least
SPARE = 5  # points listed beyond the k nearest, at least
ASKED = 32  # points that show beforehand how much float32 decides
UNSURE = 0.3  # share of rows from which it is faster to compute all of them in float64


def separated(points: Points, bounds: Bounds, k: int) -> tuple[Tensor, Tensor] | None:
    """Return (M,) logarithms of ``rho`` and (M,) ``delta^2``, as ``density_peaks`` has them.

    None where float32 decides too little: among equal or nearly equal tokens.
    """
    k, count = min(k, points.size), min(max(LISTED, k + SPARE), points.size - 1)
    if not _promising(bounds, k - 1, count):
        return None
    listed = Listed(points, *bounds.lowest(count), bounds)
    found = _log_density(listed, k)
    if found is None or not listed.hold():
        return None
    order = torch.sort(found, descending=True, stable=True).indices
    delta = _separation(listed, order)
    return None if delta is None else (found, delta / points.width)


def nearest_center(points: Points, bounds: Bounds, centers: Tensor) -> Tensor:
    """Return (M,) int64: the center (C,) nearest to each point, ties to the earlier."""
    nearest = torch.empty(points.size, dtype=torch.int64)
    there = bounds[centers]
    for part in points.parts(0, points.size):
        low, norms = bounds.between(bounds[part], there), points.norms[part]
        least, place = low.min(dim=1)
        high = bounds.slack(norms + points.norms[centers[place]]) + least + 2 * points.grain(norms)
        others = low.scatter(1, place[:, None], torch.inf).amin(dim=1)
        unsure = (others <= high).nonzero().flatten()
        row, center = (low[unsure] <= high[unsure, None]).nonzero().unbind(1)
        here = unsure[row] + part.start
        square = points.pairs(here, centers[center, None]).flatten()
        among = torch.full((len(unsure), len(centers)), torch.inf, dtype=points.dtype)
        among[row, center] = settled(square, points.grain(points.norms[here]))
        place[unsure] = among.argmin(dim=1)
        nearest[part] = centers[place]
    return nearest


@dataclass
class Listed:
    """Hold for each of M points the others of lowest bound, and the distances known so far.

    Attributes
    ----------
    points : Points
    low : (M, count) float64
        Lower bounds of squared distances, rising.
    whose : (M, count) int64
        The points at these distances.
    bounds : Bounds
    """

    points: Points
    low: Tensor
    whose: Tensor
    bounds: Bounds

    def __post_init__(self) -> None:
        self.square = torch.full_like(self.low, torch.inf)  # inf: not known
        self.norms = self.points.norms[:, None] + self.points.norms[self.whose]
        # what is not listed is at least so far
        all_listed = self.low.shape[1] == self.points.size - 1
        self.beyond = torch.full_like(self.low[:, 0], torch.inf) if all_listed else self.low[:, -1]

    def know(self, wanted: Tensor) -> None:
        """Compute the distances (M, count) bool in float64."""
        row, place = (wanted & self.square.isinf()).nonzero().unbind(1)
        there = self.whose[row, place]
        self.square[row, place] = self.points.pairs(row, there[:, None]).flatten()

    def know_first(self, count: int) -> None:
        """Compute the distances of the first ``count`` of each list in float64."""
        every = torch.arange(self.points.size)
        self.square[:, :count] = self.points.pairs(every, self.whose[:, :count])

    def most(self) -> Tensor:
        """Return (M, count): upper bounds of the distances."""
        return self.low + self.bounds.slack(self.norms)

    def high(self) -> Tensor:
        """Return (M, count): upper bounds of the distances, or what they are."""
        return torch.where(self.square.isinf(), self.most(), self.square)

    def rounded(self) -> Tensor:
        """Return (M, count): the distances known, rounded as distances are; inf where not known."""
        return torch.where(
            self.square.isinf(), torch.inf, settled(self.square, self.points.grain(self.norms))
        )

    def hold(self) -> bool:
        """Tell whether all distances known are within their bounds: they are, or float32 is not."""
        within = (self.low <= self.square) & (self.square <= self.most())
        return bool((within | self.square.isinf()).all())


def _promising(bounds: Bounds, nearest: int, count: int) -> bool:
    """Tell by a few points whether the lists (M, count) will show who the nearest are."""
    size = bounds.size
    some = torch.arange(0, size, max(1, size // ASKED))
    here = bounds[some]
    low = torch.cat(
        [bounds.between(here, bounds[part]).clone() for part in bounds.points.parts(0, size)], dim=1
    )
    low[torch.arange(len(some)), some] = torch.inf
    listed = low.double().topk(count, largest=False)
    if count == size - 1 or not nearest:
        return True
    norms = bounds.points.norms
    reached = listed.values + bounds.slack(norms[some, None] + norms[listed.indices])
    unsure = reached[:, nearest - 1] >= listed.values[:, -1]
    return float(unsure.double().mean()) < UNSURE


def _log_density(listed: Listed, k: int) -> Tensor | None:
    """Return (M,): the logarithms of the densities; None where too many would need whole rows."""
    points, others = listed.points, k - 1  # without the point itself, whose distance is 0
    if not others:
        return torch.zeros(points.size, dtype=points.dtype)
    listed.know_first(others)
    reached = listed.square[:, :others].amax(dim=1)
    listed.know(listed.low <= reached[:, None])
    near = listed.square.topk(others, largest=False)
    unsure = (near.values[:, -1] >= listed.beyond).nonzero().flatten()
    if len(unsure) > UNSURE * points.size:
        return None
    kept = listed.rounded().gather(1, near.indices)
    for few in unsure.split(points.rows):
        kept[few] = _nearest_of_all(points, few, k)[:, 1:]
    nothing = torch.zeros(points.size, 1, dtype=points.dtype)
    return -torch.cat([nothing, kept], dim=1).mean(dim=1) / points.width


def _nearest_of_all(points: Points, few: Tensor, k: int) -> Tensor:
    """Return the (p, k) smallest squared distances of a few points (p,), rounded, rising."""
    here = points[few]
    square = torch.cat([points.between(here, there) for _, there in points.tiles()], dim=1)
    whose = square.topk(k, largest=False).indices
    grain = points.grain(here[1][:, None] + points.norms[whose])
    return settled(points.pairs(few, whose), grain).sort(dim=1).values


def _separation(listed: Listed, order: Tensor) -> Tensor | None:
    """Return (M,) squared distances, rounded, to the nearest denser points.

    For the densest point: to the farthest. order (M,) names the points by falling density. None
    where too many would need whole rows.
    """
    points, rank = listed.points, ranked(order)
    denser = rank[listed.whose] < rank[:, None]
    reached = listed.high().masked_fill(~denser, torch.inf).amin(dim=1)
    listed.know(denser & (listed.low <= reached[:, None]))
    square = listed.square.masked_fill(~denser, torch.inf).amin(dim=1)
    unsure = ~(square < listed.beyond) | square.isinf()
    delta = listed.rounded().masked_fill(~denser, torch.inf).amin(dim=1)
    peaks = order[unsure[order]]  # the densest is first
    if len(peaks) > UNSURE * points.size:
        return None
    square[peaks] = torch.inf
    whose = torch.zeros_like(order)
    square[peaks[0]], whose[peaks[0]] = _farthest(listed.bounds, peaks[:1])
    rest = _search(listed.bounds, peaks[1:], order, rank, square, whose)
    search(points, rest, rank, order, square, whose)
    square[rest] = points.pairs(rest, whose[rest, None]).flatten()
    norms = points.norms
    delta[peaks] = settled(square[peaks], points.grain(norms[peaks] + norms[whose[peaks]]))
    return delta


def _farthest(bounds: Bounds, one: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared distance of one point (1,) to the farthest point, and that point."""
    points, here = bounds.points, bounds[one]
    parts = points.parts(0, points.size)
    low = torch.cat([bounds.between(here, bounds[part])[0].clone() for part in parts]).double()
    high = low + bounds.slack(points.norms[one] + points.norms)
    far = (high >= low.max()).nonzero().T
    most = points.pairs(one, far)[0].max(dim=0)
    return most.values, far[0, most.indices]


def _search(
    bounds: Bounds, peaks: Tensor, order: Tensor, rank: Tensor, square: Tensor, whose: Tensor
) -> Tensor:
    """Look by bounds for the nearest denser point of each peak (p,); return who is still unsure.

    square, whose (M,) are changed in place where the answer is certain.
    """
    points, ranks = bounds.points, rank[peaks].tolist()
    near = torch.full((len(peaks), 4), torch.inf, dtype=torch.float32)
    names = torch.zeros(near.shape, dtype=torch.int64)
    every = torch.arange(points.size)
    for start in range(0, ranks[-1] if ranks else 0, points.rows):
        seen = order[start : start + points.rows]
        there = bounds[seen]
        places = torch.arange(bisect_right(ranks, start), len(peaks))
        for few in places.split(points.rows):
            low = bounds.between(bounds[peaks[few]], there)
            later = every[start : start + len(seen)] >= rank[peaks[few], None]
            low = torch.cat([near[few], low.masked_fill_(later, torch.inf)], dim=1)
            best = low.topk(4, largest=False)
            mine = torch.cat([names[few], seen.expand(len(few), -1)], dim=1)
            near[few], names[few] = best.values, mine.gather(1, best.indices)
    low = near.double()
    exact = points.pairs(peaks, names).masked_fill_(low.isinf(), torch.inf)
    least, place = exact.min(dim=1)
    sure = least < low[:, -1]
    square[peaks[sure]] = least[sure]
    whose[peaks[sure]] = names.gather(1, place[:, None]).flatten()[sure]
    return peaks[~sure]
