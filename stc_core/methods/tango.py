"""Tango: diverse attended tokens, and clusters in a space that knows where they are. 2604.09547."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stc_core.methods.base import (
    Decision,
    Method,
    check_number,
    check_outside,
    check_whole,
    grain_of,
    precise,
    settled,
)
from stc_core.methods.holitom import (
    all_units,
    best_windows,
    run_lengths,
    same_place_cosines,
    static_places,
    units,
)
from stc_core.methods.parts.clustering import Points, density_peaks, nearest_center
from stc_core.methods.parts.selection import strongest
from stc_core.methods.parts.sharing import apportion, center_weights, round_down
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate

BASES = (10_000.0, 1000.0, 1000.0)  # of the angles of time, row and column
BITS = 40  # binary digits to which mean contributions are compared: beyond is rounding


@dataclass(frozen=True, kw_only=True)
class Tango(Method):
    """Keep attended tokens of different kinds and means of the others, clustered in space and time.

    arXiv 2604.09547. "Spatio-temporal rotary embedding" (ST-RoPE): a token at length 1 is cut into
    parts for time, row and column, d_s wide; the pair (i, i + d_s / 2) of a part is turned by the
    angle ``place * base^(-2 i / d_s)``, base 10,000 for time in seconds, 1000 for row and column.
    All distances below are Euclidean between tokens so turned; what is merged is not turned.

    The video is cut into HoliTom's windows: those that save most where tokens of one place are
    alike above tau. In a window a place is static if all its cosines in consecutive frames are
    above ``static_tau``; static tokens become the mean over the window, at its first frame, with
    the mean of their contributions and the direction of the first. A window gets a share of the
    budget by its frames, which its static places and the dynamic tokens of each of its frames
    share by their number.

    Of b tokens of such a group ``s = floor((1 - context) * b)`` are salient: the ``floor(candidates
    * s)`` of highest contribution are clustered into s, and of each cluster the highest goes on as
    it is. The other ``b - s`` are context: the tokens that are not salient, the dynamic ones of all
    frames of a window together, are clustered into as many; ``w * center + (1 - w) * mean(members
    and center)`` goes on, ``w = max(1 / n, beta)`` for n members, the center counted.

    Clusters are those of DPC-KNN: centers are the highest ``exp(-mean over the k nearest others of
    d^2) * (distance to the nearest denser)``, every token joins the nearest center.

    Parameters
    ----------
    retention : float
        Share of the video tokens that enter the LLM.
    tau : float
        Cosine above which windows count tokens of one place as alike; in [-1, 1]. Published 0.65
        for a retention of 10 %, the lowest there, and 0.8 from 15 %.
    static_tau : float
        Cosine above which a place is static in its window; in [-1, 1]. The published code passes
        tau to the windows alone and leaves this at its default.
    context : float
        Share of the budget for context tokens; in [0, 1].
    candidates : float
        So many candidates for each salient token; from 1 to 100.
    neighbors : int
        k of DPC-KNN, the token itself *not* counted.
    beta : float
        Least weight w of a center; in [0, 1].
    seconds : float
        Time from one frame to the next, of which the angle is made; at least 0. A method does not
        see the clock: by default the frame's number.

    Deviations and choices
    ----------------------
    * The published code computes the merged context tokens in the order of the video and writes
      them in the order of their scores, so that clusters land on each other's places wherever the
      two differ. Here every cluster stands at its own center.
    * The budget is met exactly, by largest remainder over windows, then over the groups of a
      window; published, each number is rounded up (13 of 54 tokens where 11 are asked). A group
      left without a place is dropped; dynamic tokens that are not salient are dropped in a window
      without dynamic context. With one token a frame all are context, as published.
    * Where static places save so much that fewer tokens than the budget are left, all of these go
      on, and the rest of the budget goes to the other tokens of static places by contribution.
    * DPC-KNN without a random term, and with the densest token's own farthest distance instead of
      the farthest of all. ``density_peaks`` counts the token itself and divides by the width; both
      are undone by a factor on the features, so that the score is the published one.
    * No list of sink cells, which the authors wrote down by hand for two models:
      ``SToP(Tango(...))`` takes off what is bright in every frame.
    * Where the width is not 3584 the parts for row and column have ``2 * floor(width / 6)``, time
      the rest; an odd coordinate is not turned.
    * No stage inside the LLM. Published for LLaVA-Video alone: ``Then(Tango(...), HoliTom())`` is
      like it, with another weight of what is merged.
    * Contribution is what every method here gets; ``signal="head"`` is the published one.
    * Mean contributions are compared to forty binary digits; ties go to the earlier token.
    * At equal counts the tokens of the published code go on (``tests/methods/test_tango.py``);
      below 10 % no results are published.
    """

    tau: float = 0.65
    static_tau: float = 0.8
    context: float = 0.4
    candidates: float = 1.5
    neighbors: int = 7
    beta: float = 0.6
    seconds: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("tau", "static_tau"):
            check_number(name, getattr(self, name), -1, 1)
        for name in ("context", "beta"):
            check_number(name, getattr(self, name), 0, 1)
        check_number("candidates", self.candidates, 1, 100)
        check_whole("neighbors", self.neighbors, 1)
        check_number("seconds", self.seconds, 0, 1e6)

    @property
    def attentive(self) -> bool:
        return True

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        n, device = grid.per_frame, tokens.device
        cosine = same_place_cosines(tokens.split(n))
        windows = best_windows(run_lengths(cosine > self.tau))
        static = static_places(run_lengths(cosine > self.static_tau), windows)
        unit_of = units(windows, static)
        every = torch.arange(grid.size, device=device)
        is_unit = unit_of == every
        budget, left = self.budget(grid), int(is_unit.sum())
        if budget >= left:
            return all_units(unit_of, contribution, budget - left)

        lengths = [stop - start for start, stop in windows]
        room = [int(is_unit[start * n : stop * n].sum()) for start, stop in windows]
        goal = torch.full((grid.size,), -1, dtype=torch.int64, device=device)  # of units, to units
        salient = torch.zeros_like(is_unit)
        for (start, stop), count in zip(windows, apportion(budget, lengths, room), strict=True):
            if count:
                part = slice(start * n, stop * n)
                scores = precise(contribution[part]).view(stop - start, n)
                turned = rotated(tokens[part], self._places(start, stop, grid).to(device))
                still = int(static[start].sum())
                sizes = [still] + [n - still] * (stop - start)
                places = apportion(count, sizes, sizes)
                found, salient[part] = self.thin(turned, scores, static[start], places)
                goal[part] = torch.where(found < 0, -1, found + part.start)

        target = goal[unit_of]
        fate = torch.full((grid.size,), int(Fate.MERGED), dtype=torch.uint8, device=device)
        fate[target < 0] = int(Fate.DROPPED)
        fate[target == every] = int(Fate.CENTER)
        fate[salient] = int(Fate.KEPT)
        # units that merge are of one window and equally long: the means over time need no weights
        return Decision.of(fate, target, center_weights(goal, self._center_share)[unit_of])

    def _places(self, start: int, stop: int, grid: TokenGrid) -> Tensor:
        """Return (L * n, 3): seconds, row and column of the tokens of these frames."""
        axes = (torch.arange(a, b) for a, b in ((start, stop), (0, grid.rows), (0, grid.cols)))
        return torch.cartesian_prod(*axes) * torch.tensor([self.seconds, 1, 1])

    def thin(
        self, turned: Tensor, scores: Tensor, static: Tensor, places: list[int]
    ) -> tuple[Tensor, Tensor]:
        """Decide which tokens of a window of L frames go on.

        Parameters
        ----------
        turned : (L * n, d)
            Its tokens, rotated.
        scores : (L, n)
            Their contributions.
        static : (n,) bool
            Which places are static.
        places : list of int
            L + 1 numbers: how many static tokens go on, and how many dynamic ones of each frame.

        Returns
        -------
        tuple
            (L * n,) int64: where each unit goes, -1: dropped or no unit; (L * n,) bool: which
            tokens are dynamic and salient.
        """
        frames, n = scores.shape
        cell = torch.arange(frames * n, device=scores.device).view(frames, n)
        goal = torch.full((frames * n,), -1, dtype=torch.int64, device=scores.device)
        still, *moving = places
        if still:
            mean = scores.mean(dim=0)
            mean = settled(mean, grain_of(mean.abs().max(), BITS))
            own = round_down((1 - self.context) * still)
            heads = cell[0, static]
            self._merge(goal, heads, self._salient(turned, heads, mean[static], own), still, turned)
        chosen = [cell[0, :0]]
        for frame, whole in enumerate(moving):
            own = round_down((1 - self.context) * whole)
            there = cell[frame, ~static]
            chosen.append(self._salient(turned, there, scores[frame, ~static], own))
        salient = torch.cat(chosen)
        self._merge(goal, cell[:, ~static].flatten(), salient, sum(moving), turned)
        return goal, torch.zeros_like(goal, dtype=torch.bool).index_fill(0, salient, True)

    def _salient(self, turned: Tensor, names: Tensor, scores: Tensor, count: int) -> Tensor:
        """Return ``count`` of the tokens ``names``: of each cluster of the highest the highest."""
        first = strongest(scores, round_down(self.candidates * count))
        if len(first) <= count:
            return names[first]
        centers, nearest = self._clusters(turned[names[first]], count)
        mine = nearest == centers[:, None]
        best = scores[first].masked_fill(~mine, -torch.inf).argmax(dim=1)
        return names[first[best]]

    def _merge(
        self, goal: Tensor, names: Tensor, salient: Tensor, count: int, turned: Tensor
    ) -> None:
        """Write where the tokens ``names`` go, of which ``count`` go on, the salient among them."""
        goal[salient] = salient
        others = names[~torch.isin(names, salient)]
        if count > len(salient):
            nearest = self._clusters(turned[others], count - len(salient))[1]
            goal[others] = others[nearest]

    def _clusters(self, turned: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return centers (C,), ascending, and the center of each rotated token (M, d)."""
        k = min(self.neighbors + 1, len(turned))  # the token itself counted
        points = Points(turned * math.sqrt(turned.shape[1] * k / max(k - 1, 1)))
        centers = density_peaks(points, count, k)
        return centers, nearest_center(points, centers)

    def _center_share(self, joined: Tensor) -> Tensor:
        """Return (N,): the weight of a center that so many others join."""
        members = joined + 1
        weight = (1 / members).clamp(min=self.beta)
        return weight + (1 - weight) / members


def rotated(tokens: Tensor, places: Tensor) -> Tensor:
    """Return (M, d): tokens (M, d) at length 1, turned by their places (M, 3) in time and space."""
    unit = F.normalize(precise(tokens), dim=-1)
    space = 2 * (unit.shape[1] // 6)
    widths = [unit.shape[1] - 2 * space, space, space]
    turned = []
    for part, place, base in zip(unit.split(widths, dim=1), places.T, BASES, strict=True):
        half = part.shape[1] // 2
        power = torch.arange(half, device=unit.device).to(unit.dtype) / max(half, 1)
        angle = place.to(unit.dtype)[:, None] * base**-power
        one, two, odd = part.split([half, half, part.shape[1] - 2 * half], dim=1)
        turned += [one * angle.cos() - two * angle.sin(), two * angle.cos() + one * angle.sin()]
        turned.append(odd)
    return torch.cat(turned, dim=1)
