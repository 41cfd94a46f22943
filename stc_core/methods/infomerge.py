"""InfoMerge: FastVID with second-order stillness and budgets by content. arXiv 2606.02161."""

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
    frame_means,
    grain_of,
    precise,
    round_half_up,
    settled,
)
from stc_core.methods.fastvid import segment
from stc_core.methods.parts.clustering import Points, density_peaks
from stc_core.methods.parts.merging import most_alike
from stc_core.methods.parts.selection import strongest
from stc_core.methods.parts.sharing import apportion, center_weights, round_down
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate

BITS = 40  # binary digits to which contributions are compared: beyond is rounding
DISTINCT = 0.9  # how much a segment's distance from the video counts against its entropy


@dataclass(frozen=True, kw_only=True)
class InfoMerge(Method):
    """Keep salient tokens, each still place once, and more context where a segment says more.

    Segments are FastVID's: the video is cut at the ``segments - 1`` lowest cosines of consecutive
    frames and wherever the cosine is below tau. The fingerprint of place p in a segment of L frames
    is ``F_p[l, m] = cos(x_lp, x_mp)``; its change is the mean of ``|F_p[l + 1, m] - F_p[l, m]|``
    over m and l < L. The ``floor(still * places)`` places of least change are still.

    Of the budget ``1 - context`` goes to salient tokens, equally many a frame, those of highest
    contribution; frame by frame the contribution of a still place that was chosen earlier in its
    segment falls by ``penalty`` standard deviations of the frame's. A chosen still place goes on as
    its mean over the segment.

    Segments share the other tokens by ``L * sigmoid(sharpness * m)``, ``m = 0.9 z(u) + 0.1 z(e)``:
    u is one less the cosine of the segment's mean token to the video's, e the spectral entropy of
    its tokens (of the squared singular values, as shares of their sum) over the logarithm of their
    rank, z the distance from the mean over segments in standard deviations. At least one goes to
    each segment. They are the density peaks of its anchor frames, every p-th counted back from its
    last, among the tokens not gone on yet; each other token joins the peak of highest cosine, and
    ``beta * peak + (1 - beta) * mean(joined)`` goes on.

    Parameters
    ----------
    retention : float
        Share of the video tokens that enter the LLM.
    segments : int
        At least so many segments, where there are frames enough.
    tau : float
        Consecutive frames with a cosine below it are cut apart; in [-1, 1].
    context : float
        Share of the budget that goes to context; in [0, 1].
    period : int
        p: one frame in so many is an anchor; every segment has one.
    neighbors : int
        k of the density, the token itself counted.
    beta : float
        Weight of a peak against the tokens that joined it; in [0, 1].
    still : float
        Published rho, share of the places that count as still; in [0, 1]. Published 0.05 at a
        retention of 5 %, 0.1 at 10 %, 0.09 at 15 %.
    penalty : float
        Published lambda; at least 0.
    sharpness : float
        Published tau of the budgets; at least 0. Published 2 at 5 %, 1.2 at 10 and 15 %.

    Deviations and choices
    ----------------------
    * After the paper's text: there is no code. ``context``, ``beta`` and ``period`` are FastVID's,
      which the text does not repeat, as are the segments; standard deviations are those of the
      whole population, which the text leaves open. The changes of fingerprints, u, e and the shares
      of the notes on the paper come out (``tests/methods/test_infomerge.py``).
    * A frame's feature is the mean of its tokens; published, what the tower's pooling head makes
      of the frame. ``signal="head"`` is the published contribution.
    * The budget is met exactly: salient tokens by largest remainder over frames, context over
      segments. A segment that would get none takes one from that which has most.
    * A still place that is chosen again, in spite of the penalty, goes on as itself; published, as
      the same mean once more. A trace has one carrier for each token. Tokens in such a mean are no
      context.
    * What anchor frames cannot hold goes to peaks of the segment's other frames; what a segment
      cannot hold to other segments, and at last to the tokens of still places, by contribution.
    * In a segment without context tokens those that are not salient are dropped.
    * Changes are compared after rounding to twelve decimals, contributions to forty binary digits
      of a frame's largest; ties go to the earlier place or token.
    """

    segments: int = 8
    tau: float = 0.9
    context: float = 0.4
    period: int = 4
    neighbors: int = 4
    beta: float = 0.6
    still: float = 0.1
    penalty: float = 12.0
    sharpness: float = 1.2

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("segments", "period", "neighbors"):
            check_whole(name, getattr(self, name), 1)
        check_number("tau", self.tau, -1, 1)
        for name in ("context", "beta", "still"):
            check_number(name, getattr(self, name), 0, 1)
        for name in ("penalty", "sharpness"):
            check_number(name, getattr(self, name), 0, 1e6)

    @property
    def attentive(self) -> bool:
        return True

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        frames, n, budget = grid.frames, grid.per_frame, self.budget(grid)
        means = frame_means(tokens, n)
        parts = segment(means, self.segments, self.tau)
        pool = round_half_up(self.context * budget)
        counts = apportion(budget - pool, [1] * frames, [n] * frames)

        every = torch.arange(grid.size, device=tokens.device)
        target = torch.full_like(every, -1)
        salient = torch.zeros_like(every, dtype=torch.bool)
        for start, stop in parts:
            part = slice(start * n, stop * n)
            own, head = self._salient(
                tokens[part], contribution[part].view(stop - start, n), counts[start:stop]
            )
            salient[part] = own.flatten()
            target[part] = torch.where(head < 0, -1, head + part.start)
        target[salient] = every[salient]
        free = target < 0
        lacking = pool - int(free.sum())
        if lacking > 0:  # places that stand still come apart again
            carried = (~salient & ~free).nonzero().flatten()
            back = carried[strongest(contribution[carried], lacking)]
            target[back], salient[back] = back, True
            pool -= lacking
        room = [int(free[start * n : stop * n].sum()) for start, stop in parts]
        fate = torch.full_like(every, int(Fate.MERGED))
        fate[salient] = int(Fate.KEPT)
        places = self._places(means, tokens, parts, room, pool, n)
        for (start, stop), count in zip(parts, places, strict=True):
            if count:
                part = slice(start * n, stop * n)
                others = every[part][free[part]]
                peaks = self._peaks(tokens, others, start, stop, n, count)
                near = most_alike(tokens[others], torch.searchsorted(others, peaks))
                target[others] = others[near]
        weight = self._weights(target, free)
        size = torch.bincount(target[target >= 0], minlength=grid.size)
        fate[(target == every) & ((size > 1) | free)] = int(Fate.CENTER)
        fate[target < 0] = int(Fate.DROPPED)
        return Decision.of(fate, target, weight)

    def _salient(
        self, tokens: Tensor, contribution: Tensor, counts: list[int]
    ) -> tuple[Tensor, Tensor]:
        """Choose salient tokens of a segment (L * n, d), ``counts[l]`` of frame l.

        Returns (L, n) bool, which they are, and (L * n,) int64: the token in whose mean a token of
        a chosen still place is; -1 for all others.
        """
        frames, n = contribution.shape
        change = fingerprint_changes(tokens.view(frames, n, -1))
        still = torch.zeros(n, dtype=torch.bool, device=tokens.device)
        if frames > 1:
            still[strongest(-change, round_down(self.still * n))] = True
        first = torch.full((n,), -1, dtype=torch.int64, device=tokens.device)
        chosen = torch.zeros_like(contribution, dtype=torch.bool)
        for frame, count in enumerate(counts):
            score = precise(contribution[frame])
            lower = self.penalty * score.std(correction=0) if n > 1 else 0.0
            score = torch.where(first >= 0, score - lower, score)
            score = settled(score, grain_of(score.abs().max(), BITS))
            chosen[frame, strongest(score, count)] = True
            new = chosen[frame] & still & (first < 0)
            first[new] = frame * n + new.nonzero().flatten()
        return chosen, first.repeat(frames)

    def _places(
        self,
        means: Tensor,
        tokens: Tensor,
        parts: list[tuple[int, int]],
        room: list[int],
        pool: int,
        n: int,
    ) -> list[int]:
        """Count the context tokens of each segment."""
        worth = []
        for start, stop in parts:
            here = means[start:stop].mean(dim=0)
            apart = 1 - F.cosine_similarity(here, means.mean(dim=0), dim=0)
            worth.append((float(apart), spectral_entropy(tokens[start * n : stop * n])))
        return shares(worth, [stop - start for start, stop in parts], self.sharpness, room, pool)

    def _peaks(
        self, tokens: Tensor, others: Tensor, start: int, stop: int, n: int, count: int
    ) -> Tensor:
        """Return (count,) int64, ascending: the density peaks among a segment's free tokens."""
        anchors = set(range(stop - 1, start - 1, -self.period))
        frame_of = others // n
        sizes = [int((frame_of == frame).sum()) for frame in range(start, stop)]
        firsts = [size * (frame in anchors) for frame, size in enumerate(sizes, start)]
        own = min(count, sum(firsts))
        wanted = apportion(own, [frame in anchors for frame in range(start, stop)], firsts)
        rest = [size - first for size, first in zip(sizes, firsts, strict=True)]
        more = apportion(count - own, [1] * len(rest), rest)
        found = []
        for frame, places in enumerate(map(sum, zip(wanted, more, strict=True)), start):
            if places:
                mine = others[frame_of == frame]
                found.append(mine[density_peaks(Points(tokens, mine), places, self.neighbors)])
        return torch.cat(found)

    def _weights(self, target: Tensor, free: Tensor) -> Tensor:
        """Return (N,): plain means of still places, ``beta`` for the peaks among context tokens."""
        context = torch.where(free, target, -1)
        weight = center_weights(context, lambda joined: torch.full_like(joined, self.beta))
        return torch.where(free, weight, 1.0)


def fingerprint_changes(tokens: Tensor) -> Tensor:
    """Return (n,): how much the fingerprint of each place changes, of tokens (L, n, d)."""
    unit = F.normalize(precise(tokens), dim=-1).transpose(0, 1)
    if unit.shape[1] < 2:
        return torch.zeros_like(unit[:, 0, 0])
    return settled((unit @ unit.mT).diff(dim=1).abs().mean(dim=(1, 2)))


def spectral_entropy(tokens: Tensor) -> float:
    """Return the entropy in 0..1 of the squared singular values of tokens (M, d)."""
    x = precise(tokens)
    gram = x @ x.T if len(x) < x.shape[1] else x.T @ x
    power = torch.linalg.eigvalsh(gram).clamp(min=0)
    if len(power) < 2 or not float(power.sum()):
        return 0.0
    share = power / power.sum()
    return float(torch.special.entr(share).sum()) / math.log(len(power))


def shares(
    worth: list[tuple[float, float]],
    lengths: list[int],
    sharpness: float,
    room: list[int],
    pool: int,
) -> list[int]:
    """Share ``pool`` context tokens out over segments by (u, e), length and the room they have."""
    apart, spread = (_standard([pair[i] for pair in worth]) for i in (0, 1))
    weights = []
    for length, u, e in zip(lengths, apart, spread, strict=True):
        m = DISTINCT * u + (1 - DISTINCT) * e
        weights.append(length * (1 + math.tanh(sharpness * m / 2)) / 2)  # length * sigmoid
    places = apportion(pool, weights, room)
    for part, most in enumerate(room):
        largest = max(range(len(places)), key=lambda k: (places[k], -k))
        if not places[part] and most and places[largest] > 1:
            places[part], places[largest] = 1, places[largest] - 1
    return places


def _standard(values: list[float]) -> list[float]:
    """Return the distances from the mean in standard deviations; zeros where all are equal."""
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    return [(value - mean) / spread if spread > 1e-12 else 0.0 for value in values]
