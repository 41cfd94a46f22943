"""Hold the tokens of a video as it comes in, at most so many; merge them when they are more."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from stc_core.errors import InputError
from stc_core.methods.base import Decision, Method, check_features, check_whole
from stc_core.methods.stc import STC
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate


class Pool:
    """Hold the tokens of the N so far, and which of the held ones carries each of the N.

    Frame after frame is added. Where the next one would not fit, the outside stage of STC first
    makes half as many of the tokens that are held, as of a set without a grid. So what is held
    depends on the frames alone, not on how many come at once. A token that already stands for m
    of the video counts m times in the mean that it joins: each held token is the plain mean of all
    those that it stands for. It keeps the contribution of the one in whose place it is.

    Time: one clustering of ``limit`` tokens for every ``limit / 2`` that come in.

    Parameters
    ----------
    method : Method
        With a limit: an ``STC``.
    per_frame : int
        Tokens of a frame.
    limit : int, optional
        Tokens held at most, at least twice those of a frame. Default: all are held.

    Raises
    ------
    InputError
        On construction: another method, or a limit that is too low.
    """

    def __init__(self, method: Method, per_frame: int, limit: int | None = None) -> None:
        check_limit(method, limit)
        if limit is not None and limit < 2 * per_frame:
            raise InputError(
                f"a pool holds at least two frames' tokens, here {2 * per_frame}, not {limit}"
            )
        self.method, self.per_frame, self.limit = method, per_frame, limit
        self.merged = False  # whether any of the tokens held stands for several, or some are gone
        self._tokens: list[Tensor] = []
        self._sizes: list[Tensor] = []  # of the N, how many each token stands for
        self._places: list[Tensor] = []  # index among the N, ascending
        self._slots: list[Tensor] = []  # of each of the N: the token that carries it, -1 for none
        self._contribution: list[Tensor] = []  # of each of the N
        self.held = self.seen = 0

    def add(self, tokens: Tensor, contribution: Tensor) -> None:
        """Add whole frames: tokens (n, d) in their order in time, contribution (n,).

        Raises ``InputError``, and adds nothing, where they are no finite numbers.
        """
        check_features("video tokens", tokens, 2)
        check_features("contributions", contribution, 1)
        wide = tokens.dtype
        if self.limit is not None:
            wide = torch.promote_types(wide, torch.float32)  # of means of means
        for frame, received in zip(
            tokens.to(wide).split(self.per_frame), contribution.split(self.per_frame), strict=True
        ):
            if self.limit is not None and self.held + len(frame) > self.limit:
                self._halve()
            names = torch.arange(len(frame), device=frame.device)
            self._tokens.append(frame)
            self._contribution.append(received)
            self._sizes.append(torch.ones_like(names))
            self._places.append(names + self.seen)
            self._slots.append(names + self.held)
            self.held += len(frame)
            self.seen += len(frame)

    @property
    def tokens(self) -> Tensor:
        """Return the (p, d) tokens held, in the order of their places."""
        return _one(self._tokens)

    @property
    def places(self) -> Tensor:
        """Return (p,) int64, ascending: where among the N each token held stands."""
        return _one(self._places)

    @property
    def sizes(self) -> Tensor:
        """Return (p,) int64: how many of the N each token held is the mean of."""
        return _one(self._sizes)

    @property
    def slots(self) -> Tensor:
        """Return (N,) int64: the token held that carries each of the N, -1 for none."""
        return _one(self._slots)

    @property
    def contribution(self) -> Tensor:
        """Return the (N,) contributions of all tokens so far."""
        return _one(self._contribution)

    def most(self, grid: TokenGrid) -> int:
        """Return how many tokens enter the LLM: the method's budget, at most half of the limit."""
        budget = self.method.budget(grid)
        return budget if self.limit is None else min(budget, self.limit // 2)

    def decide(self, grid: TokenGrid) -> tuple[Decision, Tensor]:
        """Return the method's decision about all N tokens, and the (B, d) that it lets in.

        grid: of the N. As long as nothing was merged this is the method's own decision. The pool
        does not change.
        """
        tokens, count = self.tokens, self.most(grid)
        if not self.merged and count == self.method.budget(grid):
            decision = self.method.outside(tokens, self.contribution, grid)
            return decision, decision.apply(tokens)
        chosen = self._reduced(min(count, self.held))
        slots, places = self.slots, self.places
        carrier = torch.where(slots >= 0, chosen.target[slots.clamp(min=0)], -1)
        target = torch.where(carrier >= 0, places[carrier.clamp(min=0)], -1)
        return _plain(target), chosen.apply(tokens)

    def _reduced(self, count: int) -> Decision:
        """Decide about the tokens held, as a set: ``count`` of them survive."""
        if not isinstance(self.method, STC):
            raise TypeError("only STC decides about tokens without a grid")
        method = replace(self.method, retention=count / self.held, window=0)
        mine = self.contribution[self.places]
        found = method.outside(self.tokens, mine, TokenGrid(self.held, 1, 1))
        return replace(found, weight=self.sizes.to(self.tokens))

    def _halve(self) -> None:
        chosen = self._reduced(int(self.limit or 0) // 2)
        stay, joins = chosen.survivors, chosen.target
        sizes = torch.zeros_like(joins).index_add_(
            0, joins.clamp(min=0), torch.where(joins >= 0, self.sizes, 0)
        )
        renumbered = torch.full_like(joins, -1)
        renumbered[stay] = torch.arange(len(stay), device=stay.device)
        slots = self.slots
        after = torch.where(joins >= 0, renumbered[joins.clamp(min=0)], -1)
        self._slots = [torch.where(slots >= 0, after[slots.clamp(min=0)], -1)]
        self._tokens, self._sizes = [chosen.apply(self.tokens)], [sizes[stay]]
        self._places = [self.places[stay]]
        self.held, self.merged = len(stay), True


def check_limit(method: Method, limit: int | None) -> None:
    """Raise ``InputError`` unless a pool of this limit can be merged by the method."""
    if limit is None:
        return
    check_whole("pool", limit, 2)
    if not isinstance(method, STC):
        raise InputError(
            f"a bounded pool is merged by STC's outside stage, which {type(method).__name__} has "
            f"not; give an STC(...), or pool=None to hold all tokens"
        )


def _plain(target: Tensor) -> Decision:
    """Return the decision with these targets (N,), in which every token counts once in a mean."""
    itself = target == torch.arange(len(target), device=target.device)
    members = torch.bincount(target[target >= 0], minlength=len(target))
    fate = torch.full_like(target, int(Fate.MERGED), dtype=torch.uint8)
    fate[target < 0] = int(Fate.DROPPED)
    fate[itself] = int(Fate.KEPT)
    fate[itself & (members > 1)] = int(Fate.CENTER)
    return Decision.of(fate, target)


def _one(parts: list[Tensor]) -> Tensor:
    """Join the parts of a list, in it too."""
    if len(parts) > 1:
        parts[:] = [torch.cat(parts)]
    return parts[0]
