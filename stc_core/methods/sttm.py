"""STTM: merge quadtrees in space, then what overlaps in time. ICCV 2025, arXiv 2507.07990."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from stc_core.methods.base import Decision, Method, check_outside, precise, settled
from stc_core.methods.parts.merging import most_alike
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate

STEPS = 45  # of the search for the threshold: down to the last digits of rounded cosines


@dataclass(frozen=True, kw_only=True)
class STTM(Method):
    """Merge like neighbors in each frame to larger cells, then like cells of consecutive frames.

    "Multi-granular spatiotemporal token merging". Each frame is a pyramid: a node of a level is the
    mean of 2 x 2 nodes of the level below; of an odd number of rows or columns the first is left
    out of it. From the top down a node is split unless the cosines of all four children to it reach
    ``tau_s``. Then two nodes of consecutive frames of which one lies within the other are joined
    if their cosine reaches ``tau_t``. What hangs together goes on as its mean, at the upper left
    token of its earliest node. No attention, no question.

    Parameters
    ----------
    retention : float
        Share of the video tokens that enter the LLM.

    Deviations and choices
    ----------------------
    * Before the LLM. Published, after two layers of it, on the hidden states there, which see no
      question either.
    * One threshold for both, the lowest found by halving [-1, 2] that leaves at least the budget.
      The published code lists some thirty pairs ``tau_s, tau_t``, tuned by hand for each benchmark,
      model and budget.
    * The budget is met exactly: what the threshold leaves too much, the groups of fewest tokens,
      later ones first, join the group of highest cosine.
    * Groups are plain means of their tokens; whether published means count tokens or nodes alike
      is not known to us.
    * Survivors keep the position ids of the upper left token; published for LLaVA, they are
      numbered anew (``positions="compact"``).
    * Cosines are compared after rounding to twelve decimals; ties go to the earlier token.
    * Tested against a slow reference; no results of the published code are at hand.
    """

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        tree, budget = Tree(tokens, grid), self.budget(grid)
        every = torch.arange(grid.size, device=tokens.device)
        low, high, root = -1.0, 2.0, every  # at 2 no token is like another
        lowest = tree.groups(low)
        if _count(lowest) >= budget:
            root = lowest
        else:
            for _ in range(STEPS):
                middle = (low + high) / 2
                found = tree.groups(middle)
                if _count(found) >= budget:
                    high, root = middle, found
                else:
                    low = middle
        target = fewer(tokens, root, budget)
        size = torch.bincount(target, minlength=grid.size)
        fate = torch.where(target == every, int(Fate.KEPT), int(Fate.MERGED))
        fate[size > 1] = int(Fate.CENTER)
        return Decision.of(fate, target)


class Tree:
    """Hold the pyramids of a clip and the cosines that decide which nodes become one.

    Parameters
    ----------
    tokens : (T * rows * cols, d)
    grid : TokenGrid

    Attributes
    ----------
    corners : (levels, n) int64
        The upper left token of the node of each level that a place of a frame lies in.
    within : (levels, T, n)
        Lowest cosine of that node to its four children; -inf where there is no such node, and for
        the tokens themselves inf.
    across : (levels, levels, T - 1, n)
        Cosine of the node of a place to the one in the next frame, by both levels.
    """

    def __init__(self, tokens: Tensor, grid: TokenGrid) -> None:
        self.frames, self.n, device = grid.frames, grid.per_frame, tokens.device
        node, corner = self._nodes(grid)
        node, self.corners = node.to(device), corner.to(device)
        levels, (rows, cols) = len(node), (grid.rows, grid.cols)
        within, across, before = [], [], None
        for frame in tokens.split(self.n):
            level, units, least = precise(frame).view(rows, cols, -1), [], []
            units.append(F.normalize(level.flatten(0, 1), dim=-1))
            least.append(torch.full_like(units[0][:, 0], torch.inf))
            for _ in range(levels - 1):
                level, lowest = _coarser(level)
                units.append(F.normalize(level.flatten(0, 1), dim=-1))
                least.append(lowest)
            ends = torch.tensor([0, *(len(unit) for unit in units)]).cumsum(0).tolist()
            unit = torch.cat(units)
            places = zip(node, ends, strict=False)
            at = torch.stack([torch.where(known < 0, -1, known + end) for known, end in places])
            within.append(_read(torch.cat(least), at))
            if before is not None:
                cosine = settled(before @ unit.T)
                across.append(cosine[at[:, None].clamp(min=0), at[None].clamp(min=0)])
            before = unit
        self.within = torch.stack(within, dim=1)
        empty = self.within.new_zeros(levels, levels, 0, self.n)
        self.across = torch.stack(across, dim=2) if across else empty

    @staticmethod
    def _nodes(grid: TokenGrid) -> tuple[Tensor, Tensor]:
        """Return (levels, n): the node of each level that a place lies in, -1: none; its corner."""
        rows, cols, n = grid.rows, grid.cols, grid.per_frame
        nodes, corners = [torch.arange(n)], [torch.arange(n)]
        corner = torch.arange(n).view(rows, cols)
        while min(rows, cols) > 1:
            top, left = rows % 2, cols % 2
            parent = torch.full((rows, cols), -1)
            inner = torch.arange((rows // 2) * (cols // 2)).view(rows // 2, cols // 2)
            parent[top:, left:] = inner.repeat_interleave(2, 0).repeat_interleave(2, 1)
            corner = corner[top::2, left::2]
            known = _read(parent.flatten(), nodes[-1], -1)
            nodes.append(known)
            corners.append(_read(corner.flatten(), known, -1))
            rows, cols = rows // 2, cols // 2
        return torch.stack(nodes), torch.stack(corners)

    def groups(self, tau: float) -> Tensor:
        """Return (N,) int64: the first token of the group that each token is in at ``tau``."""
        device = self.within.device
        whole = self.within >= tau
        steps = torch.arange(1, len(whole) + 1, device=device)[:, None, None]
        level = (whole * steps).amax(dim=0) - 1  # (T, n): the highest node that is not split
        place = torch.arange(self.n, device=device).expand_as(level)
        first = torch.arange(self.frames, device=device)[:, None] * self.n
        label = self.corners[level, place] + first
        time = torch.arange(self.frames - 1, device=device)[:, None]
        joins = self.across[level[:-1], level[1:], time, place[1:]] >= tau
        root = connected(label[:-1][joins], label[1:][joins], self.frames * self.n)
        return root[label.flatten()]


def connected(a: Tensor, b: Tensor, n: int) -> Tensor:
    """Return (n,) int64: the smallest of the numbers 0..n-1 that each is connected to by a - b."""
    root = torch.arange(n, device=a.device)
    while True:
        least = torch.minimum(root[a], root[b])
        found = root.scatter_reduce(0, torch.cat([root[a], root[b]]), least.repeat(2), "amin")
        while not torch.equal(found, found[found]):
            found = found[found]
        if torch.equal(found, root):
            return root
        root = found


def fewer(tokens: Tensor, root: Tensor, budget: int) -> Tensor:
    """Return (N,) int64: the groups ``root`` of tokens (N, d), of which small ones join others."""
    names, group, size = torch.unique(root, return_inverse=True, return_counts=True)
    surplus = len(names) - budget
    if surplus <= 0:
        return root
    order = torch.sort(size.flip(0), stable=True).indices  # of equal sizes the later first
    stays = torch.ones_like(size, dtype=torch.bool)
    stays[len(size) - 1 - order[:surplus]] = False
    every = torch.arange(len(root), device=root.device)
    fate = torch.where(root == every, int(Fate.CENTER), int(Fate.MERGED))
    means = Decision.of(fate, root).apply(precise(tokens))
    return names[most_alike(means, stays.nonzero().flatten())][group]


def _coarser(level: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means of 2 x 2 of (rows, cols, d), and their lowest cosines to these four."""
    rows, cols = level.shape[0] // 2, level.shape[1] // 2
    children = level[level.shape[0] % 2 :, level.shape[1] % 2 :]
    children = children.unflatten(1, (cols, 2)).unflatten(0, (rows, 2))
    mean = children.mean(dim=(1, 3))
    cosine = F.normalize(children, dim=-1) * F.normalize(mean, dim=-1)[:, None, :, None]
    return mean, settled(cosine.sum(dim=-1)).amin(dim=(1, 3)).flatten()


def _read(values: Tensor, places: Tensor, missing: float = -torch.inf) -> Tensor:
    """Return ``values`` at these places, ``missing`` where a place is -1."""
    return torch.where(places < 0, missing, values[places.clamp(min=0)])


def _count(root: Tensor) -> int:
    """Count the groups."""
    return int((root == torch.arange(len(root), device=root.device)).sum())
