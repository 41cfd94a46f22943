"""FastVID: segments, salient tokens, density-based context tokens. arXiv 2503.11187."""

from __future__ import annotations

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
    precise,
    round_half_up,
    settled,
)
from stc_core.methods.parts.clustering import Points, density_peaks
from stc_core.methods.parts.merging import most_alike
from stc_core.methods.parts.selection import strongest
from stc_core.methods.parts.sharing import apportion, center_weights, leading, round_down
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate


@dataclass(frozen=True, kw_only=True)
class FastVID(Method):
    """Keep, by segment of similar frames, salient tokens and context tokens of anchor frames.

    "Dynamic temporal segmentation" (DySeg): the video is cut between consecutive frames at the
    ``segments - 1`` lowest cosines of their features and wherever the cosine is below tau.

    "Density spatiotemporal pruning" (STPrune) splits the budget of a segment: ``1 - context`` of it
    goes to the salient tokens of each frame, those that receive most attention; ``context`` of it
    to the segment's anchor frames, every p-th counted back from its last.

    "Density-based token merging" (DTM): in an anchor frame the context centers are the density
    peaks ``rho * delta`` (see ``density_peaks``) of its tokens that are not salient. Every token of
    the segment that is neither salient nor a center joins the center of highest cosine, which
    becomes ``w * center + (1 - w) * mean(members)``, ``w = max(1 / (members + 1), beta)``. The
    published code finds the center most like itself, so that it is one of its own members.

    Parameters
    ----------
    retention : float
        Share of the video tokens that enter the LLM.
    segments : int
        c: at least so many segments, where there are frames enough.
    tau : float
        Consecutive frames with a cosine below it are cut apart; in [-1, 1]. Published 0.9; 0.84
        where, as here, a frame's feature is the mean of its tokens (Qwen2.5-VL).
    context : float
        d: share of the budget that goes to context tokens; in [0, 1].
    period : int
        p: one frame in so many is an anchor; every segment has one.
    neighbors : int
        k of the density, the token itself counted.
    beta : float
        Least weight w of a context center against its members; in [0, 1]. With 0 and
        ``centers_join=False`` the token is the plain mean.
    centers_join : bool
        A center is one of its members, as published: with one other token it weighs 0.8, not 0.6.
    published_rounding : bool
        Every frame has ``n = floor(retention * tokens)``, at least one, of which ``floor(context *
        n)`` are context; every anchor of a segment has as many, rounded down again. ``budget`` says
        how many tokens that makes at most: the last floor depends on the segments.

    Deviations and choices
    ----------------------
    * A frame's feature is the mean of its tokens; published for SigLIP, what the tower's pooling
      head makes of the frame. Saliency is the contribution that every method here gets;
      ``signal="head"`` is the published one.
    * Frames share the budget equally, segments the context tokens by their budgets, anchors those
      of their segment equally. What floors would lose goes to the largest remainders, evenly spread
      over time, so that the budget is met exactly; below one token a frame some frames have none.
    * The default agrees with the published code in its centers, salient tokens and weights where it
      has one anchor frame a segment and the counts are equal.
    * Where a segment's anchors cannot hold its context tokens, all their tokens go on and the rest
      of the budget goes to salient tokens of the segment's other frames.
    * Published, a token joins a center of every anchor frame of its segment. Here it joins the most
      alike of all: a trace has one carrier for each token.
    * In a segment without context tokens those that are not salient are dropped.
    * No random term: equal densities, contributions and cosines go to the earlier token or frame.
    * The second segmentation of the published Qwen code (``DySeg_ignore``), by which like frames
      within a segment get no tokens of their own, is left out.
    """

    segments: int = 8
    tau: float = 0.9
    context: float = 0.4
    period: int = 4
    neighbors: int = 4
    beta: float = 0.6
    centers_join: bool = True
    published_rounding: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("segments", "period", "neighbors"):
            check_whole(name, getattr(self, name), 1)
        check_number("tau", self.tau, -1, 1)
        check_number("context", self.context, 0, 1)
        check_number("beta", self.beta, 0, 1)

    @property
    def attentive(self) -> bool:
        return True

    def budget(self, grid: TokenGrid) -> int:
        if self.published_rounding:
            return grid.frames * max(1, round_down(self.retention * grid.per_frame))
        return super().budget(grid)

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        n, total, device = grid.per_frame, grid.size, tokens.device
        features = frame_means(tokens, n)
        parts = segment(features, self.segments, self.tau)
        salient, context = self._shares(parts, grid)
        is_salient = leading(contribution.view(grid.frames, n), salient).flatten()

        every = torch.arange(total, device=device)
        fate = torch.full((total,), int(Fate.DROPPED), dtype=torch.uint8, device=device)
        target = torch.full((total,), -1, dtype=torch.int64, device=device)
        fate[is_salient], target[is_salient] = int(Fate.KEPT), every[is_salient]
        for start, stop in parts:
            if not any(context[start:stop]):
                continue
            centers = []
            for frame in range(start, stop):
                if context[frame]:
                    place = slice(frame * n, (frame + 1) * n)
                    others = every[place][~is_salient[place]]
                    points = Points(tokens, others)
                    peaks = density_peaks(points, context[frame], self.neighbors)
                    centers.append(others[peaks])
            place = slice(start * n, stop * n)
            others = every[place][~is_salient[place]]
            peaks = torch.searchsorted(others, torch.cat(centers))
            fate[others] = int(Fate.MERGED)
            fate[others[peaks]] = int(Fate.CENTER)
            target[others] = others[most_alike(tokens[others], peaks)]
        return Decision.of(fate, target, center_weights(target, self._center_share))

    def _center_share(self, joined: Tensor) -> Tensor:
        """Return (N,): the weight of a center that so many others join."""
        members = joined + 1 if self.centers_join else joined
        weight = (1 / (members + 1)).clamp(min=self.beta)
        return weight + (1 - weight) / members if self.centers_join else weight

    def _shares(self, parts: list[tuple[int, int]], grid: TokenGrid) -> tuple[list, list]:
        """Count (T,) salient and (T,) context tokens of each frame."""
        frames, n, budget = grid.frames, grid.per_frame, self.budget(grid)
        kept = apportion(budget, [1] * frames, [n] * frames)
        of_part = [sum(kept[start:stop]) for start, stop in parts]
        if self.published_rounding:
            pooled = [(stop - start) * round_down(self.context * kept[0]) for start, stop in parts]
        else:
            pooled = apportion(round_half_up(self.context * budget), of_part, of_part)
        salient, context = [0] * frames, [0] * frames
        for (start, stop), whole, pool in zip(parts, of_part, pooled, strict=True):
            mine = range(start, stop)
            own = apportion(whole - pool, kept[start:stop], [n] * len(mine))
            salient[start:stop] = own
            anchors = sorted(range(stop - 1, start - 1, -self.period))
            excess = pool - sum(n - salient[frame] for frame in anchors)
            if excess > 0:
                rest = [frame for frame in mine if frame not in anchors]
                more = apportion(excess, [1] * len(rest), [n - salient[frame] for frame in rest])
                for frame, count in zip(rest, more, strict=True):
                    salient[frame] += count
                pool -= excess
            if self.published_rounding:
                pool -= pool % len(anchors)
            room = [n - salient[frame] for frame in anchors]
            for frame, count in zip(
                anchors, apportion(pool, [1] * len(anchors), room), strict=True
            ):
                context[frame] = count
        return salient, context


def segment(features: Tensor, least: int, tau: float) -> list[tuple[int, int]]:
    """Cut frames (T, d) at the ``least - 1`` lowest cosines and all below tau: (start, stop)."""
    unit = F.normalize(precise(features), dim=-1)
    cosine = settled((unit[:-1] * unit[1:]).sum(dim=1))
    cut = cosine < tau
    cut[strongest(-cosine, least - 1)] = True
    edges = [0, *(cut.nonzero().flatten() + 1).tolist(), len(features)]
    return list(zip(edges[:-1], edges[1:], strict=True))
