"""HoliTom: temporal and spatial merging, then merging inside the LLM. arXiv 2505.21334."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stc_core.methods.base import (
    Decision,
    Method,
    check_inside,
    check_layer,
    check_number,
    check_outside,
    check_whole,
    precise,
    round_half_up,
    settled,
)
from stc_core.methods.parts.clustering import dpc_knn
from stc_core.methods.parts.merging import min_max, most_alike
from stc_core.methods.parts.selection import strongest
from stc_core.methods.parts.sharing import apportion, center_weights, leading
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate

FARTHEST = 96  # halvings after which a share is as good as none: 2^-96 is about 1e-29


@dataclass(frozen=True, kw_only=True)
class HoliTom(Method):
    """Merge static places into one token per window, thin the rest evenly, then merge inside.

    "Global redundancy-aware temporal merging": a place of the grid is static in a window of frames
    if each cosine of its tokens in consecutive frames is above tau. The windows are those that
    save most, ``sum over windows of (static places) * (frames - 1)``, found by dynamic programming;
    each static place becomes the mean over its window, at its first frame.

    "Spatial merging": the same share of what is left stays everywhere, ``R' = B / (N - saved)``.
    Dynamic tokens: in each frame those of highest contribution. Static ones: in each window centers
    by DPC-KNN, every other static token joins its nearest; ``beta * center + (1 - beta) *
    mean(joined)`` goes on, or the center itself where none joined.

    "Inner-LLM merging": after layer K the video tokens that the prompt's last token attends to
    least are averaged into the most similar ones that stay.

    Parameters
    ----------
    retention : float
        Share of the video tokens that enter the LLM.
    tau : float
        Tokens of one place are alike above this cosine; in [-1, 1]. Published 0.65 for a retention
        of 10 %, the lowest there, and 0.8 from 15 %.
    beta : float
        Weight of a center in its token; in [0, 1]. 0 is the mean of those that joined.
    neighbors : int
        k of DPC-KNN, the token itself counted.
    few_neighbors : bool
        k is at most the number of centers, as published. One center then is the window's first
        static place, whatever it shows: with k = 1 all densities are equal. With False k is
        ``neighbors`` for any number of centers, which we think is what was meant.
    layer : int, optional
        K: the inside stage acts after this decoder layer. Default: 18/28 of the depth.
    keep_inside : float
        Share of the video tokens that leave layer K; 1 switches the inside stage off.
    sequential : bool
        Merge inside as published, one token after the other by ``kept = (kept + other) / 2``: the
        last one weighs a half, the first and the kept one ``2^-m`` each.

    Deviations and choices
    ----------------------
    * The budget is met exactly: R' of every group (static places of a window, dynamic tokens of a
      frame) is its quota; what the floors lose goes to the largest remainders, among equals evenly
      spread over time. Published, each frame's dynamic quota is rounded up and each window's static
      one to the nearest: more tokens than asked, by a number that depends on the clip and is
      therefore no option here. A group left without a place is dropped.
    * Where the windows save so much that fewer tokens than the budget are left, all of these go on,
      and the rest of the budget goes to the other tokens of static places by contribution.
    * Windows that save equally: the last window as short as possible, then the one before it, and
      so on. Windows may be as long as the video (published: 1024 frames).
    * Dynamic tokens are never clustered: the published default, D = 0.
    * Contribution is what every method here gets; published, the attention received in the tower's
      last layer, which is the default signal.
    * Survivors keep their original order and, unless ``positions="compact"``, their position ids;
      published, a window's static tokens come first and the ids are numbered anew.
    * DPC-KNN as in ``dpc_knn``: Euclidean distance / sqrt(width), no random term.
    * The inside stage acts after layer K, with the attention of that layer, mean over heads (the
      authors' K = 18 looks at layer 17 and prunes before 18). A token merged inside counts once in
      the mean, however many it carries already: an inside stage sees hidden states, not sizes.
    * ``sequential`` merges in the order of the video; similarities are those before any merging.
    * Halves are rounded up, equal attention and equal cosines go to the earlier token.
    """

    tau: float = 0.65
    beta: float = 0.6
    neighbors: int = 7
    few_neighbors: bool = True
    layer: int | None = None
    keep_inside: float = 0.5
    sequential: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("tau", self.tau, -1, 1)
        check_number("beta", self.beta, 0, 1)
        check_whole("neighbors", self.neighbors, 1)
        if self.layer is not None:
            check_whole("layer", self.layer, 0)
        check_number("keep_inside", self.keep_inside, 0, 1, above=True)

    @property
    def attentive(self) -> bool:
        return True

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        frames, n, device = grid.frames, grid.per_frame, tokens.device
        run = run_lengths(same_place_cosines(tokens.split(n)) > self.tau)
        windows = best_windows(run)
        static = static_places(run, windows)
        every = torch.arange(grid.size, device=device)
        cell = every.view(frames, n)
        unit_of = units(windows, static)

        budget, left = self.budget(grid), int((unit_of == every).sum())
        if budget >= left:
            return all_units(unit_of, contribution, budget - left)
        groups = _groups(windows, static.sum(1).tolist(), n)
        sizes = [size for _, _, size in groups]
        places = apportion(budget, sizes, sizes)
        dynamic = [0] * frames
        goal = torch.full((grid.size,), -1, dtype=torch.int64, device=device)  # of units, to units
        for (start, stop, _), count in zip(groups, places, strict=True):
            if stop is None:
                dynamic[start] = count
            elif count:
                heads = cell[start, static[start]]
                k = min(self.neighbors, count) if self.few_neighbors else self.neighbors
                same = tokens.reshape(frames, n, -1)[start:stop, static[start]]
                means = precise(same).mean(dim=0)
                goal[heads] = heads[dpc_knn(means, count, k)[1]]
        ranked = precise(contribution).view(frames, n).masked_fill(static, -torch.inf)
        chosen = leading(ranked, dynamic).flatten()
        goal[chosen] = every[chosen]

        target = goal[unit_of]
        fate = torch.full((grid.size,), int(Fate.MERGED), dtype=torch.uint8, device=device)
        fate[target < 0] = int(Fate.DROPPED)
        fate[target == every] = int(Fate.CENTER)
        fate[chosen] = int(Fate.KEPT)
        # units that merge are of one window and equally long: the means over time need no weights
        return Decision.of(fate, target, center_weights(goal, self._center_share)[unit_of])

    def _center_share(self, joined: Tensor) -> Tensor:
        """Return (N,): the weight of a center, beta however many others join."""
        return torch.full_like(joined, self.beta)

    def inside_layer(self, depth: int) -> int | None:
        """Return K; ``InputError`` where the model has no layer after it."""
        if self.keep_inside == 1:
            return None
        layer = min(round_half_up(18 / 28 * depth), depth - 2) if self.layer is None else self.layer
        return check_layer(layer, depth)

    def inside_budget(self, entered: int) -> int:
        return max(1, round_half_up(self.keep_inside * entered))

    def inside(self, visual: Tensor, text: Tensor, attention: Tensor) -> Decision:
        check_inside(visual, text, attention)
        relevance = settled(min_max(precise(attention[-1])))
        survivors = strongest(relevance, self.inside_budget(len(visual)))
        target = most_alike(visual, survivors)
        fate = torch.full_like(target, int(Fate.MERGED_INSIDE))
        fate[survivors] = int(Fate.KEPT)
        weight = halvings(target) if self.sequential else None
        return Decision.of(fate, target, weight, relevance=relevance)


def same_place_cosines(clip: Sequence[Tensor]) -> Tensor:
    """Return (T - 1, n): the cosine of each place's tokens in frames (n, d) and the next ones."""
    cosine = torch.ones(len(clip) - 1, len(clip[0]), device=clip[0].device)
    cosine, before = precise(cosine), F.normalize(precise(clip[0]), dim=-1)
    for step, frame in enumerate(clip[1:]):
        direction = F.normalize(precise(frame), dim=-1)
        cosine[step] = (before * direction).sum(dim=-1)
        before = direction
    return settled(cosine)


def static_places(run: Tensor, windows: list[tuple[int, int]]) -> Tensor:
    """Return (T, n) bool: which places are alike all through their window, by run lengths."""
    static = torch.zeros_like(run, dtype=torch.bool)
    for start, stop in windows:
        if stop - start > 1:  # one frame repeats nothing
            static[start:stop] = run[stop - 1] >= stop - 1 - start
    return static


def units(windows: list[tuple[int, int]], static: Tensor) -> Tensor:
    """Return (N,) int64: the token at which a token's unit stands; static (T, n) ones share it."""
    cell = torch.arange(static.numel(), device=static.device).view(static.shape)
    unit_of = cell.clone()
    for start, stop in windows:
        unit_of[start:stop] = torch.where(static[start], cell[start], cell[start:stop])
    return unit_of.flatten()


def all_units(unit_of: Tensor, contribution: Tensor, more: int) -> Decision:
    """Let every unit go on, and so many more of the tokens that would have been merged."""
    every = torch.arange(len(unit_of), device=unit_of.device)
    merged = (unit_of != every).nonzero().flatten()
    target = unit_of.clone()
    freed = merged[strongest(contribution[merged], more)]
    target[freed] = freed
    fate = torch.full_like(target, int(Fate.KEPT))
    fate[torch.bincount(target, minlength=len(target)) > 1] = int(Fate.CENTER)
    fate[target != every] = int(Fate.MERGED)
    return Decision.of(fate, target)


def run_lengths(alike: Tensor) -> Tensor:
    """Return (T, n) int64: for how many frames each place has looked alike, 0 for frame 0.

    alike (T - 1, n) bool: is the place's token alike in this frame and the next.
    """
    step = torch.arange(1, len(alike) + 1, device=alike.device)[:, None]
    broken = torch.where(alike, 0, step).cummax(dim=0).values
    return torch.cat([step.new_zeros(1, alike.shape[1]), step - broken])


def best_windows(run: Tensor) -> list[tuple[int, int]]:
    """Return the windows (start, stop) over T frames that save most; ties as the class says.

    ``best(stop) = max over start of best(start) + static(start, stop) * (stop - start - 1)``. All
    static counts are made where the tokens are and fetched together; the recursion over T frames is
    on the CPU, one vector operation for each.
    """
    frames = len(run)
    spans = torch.arange(frames, device=run.device)
    static = torch.stack([(run >= span).sum(dim=1) for span in spans])  # (frames back, last frame)
    saving = (static * spans[:, None]).cpu()
    best = torch.zeros(frames + 1, dtype=torch.int64)
    starts = []
    for last in range(frames):
        # by span, so that argmax, which takes the first of equals, takes the shortest window
        total = saving[: last + 1, last] + best[: last + 1].flip(0)
        starts.append(last - int(total.argmax()))
        best[last + 1] = total.max()
    windows, stop = [], frames
    while stop:
        windows.append((starts[stop - 1], stop))
        stop = starts[stop - 1]
    return windows[::-1]


def _groups(
    windows: list[tuple[int, int]], static: list[int], n: int
) -> list[tuple[int, int | None, int]]:
    """Return (start, stop, size) of what shares the budget, by time; stop None: dynamic."""
    groups: list[tuple[int, int | None, int]] = []
    for start, stop in windows:
        groups.append((start, stop, static[start]))
        groups.extend((frame, None, n - static[frame]) for frame in range(start, stop))
    return groups


def halvings(target: Tensor) -> Tensor:
    """Return (n,) float64: the share of each token when all are merged in turn by halves.

    The last of m others that join a survivor weighs 1/2, the one before it 1/4, ..., the first and
    the survivor itself ``2^-m``.
    """
    place = torch.arange(len(target), device=target.device)
    other = target != place
    same = (target[:, None] == target) & other
    later = (same & (place > place[:, None])).sum(dim=1)
    exponent = torch.where(other, later + 1, same.sum(dim=1))
    return 0.5 ** precise(exponent.clamp(max=FARTHEST))
