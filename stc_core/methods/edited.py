"""Edit the decision of a method before the LLM by hand: did the answer need these tokens?

Knock out what a method kept, or give back what it threw away, and ask again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import index

import torch
from torch import Tensor

from stc_core.errors import InputError
from stc_core.methods.base import Around, Decision, Method
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate


@dataclass(frozen=True)
class Edited(Around):
    """Apply ``method``, then put some tokens into the LLM or take them out.

    The three edits apply together, to the decision of ``method`` before the LLM; its inside stage
    then acts on what entered. Tokens are named by their indices among the N of the video. What was
    asked for and the budget are those before the edits.

    Parameters
    ----------
    method : Method
    remove : tuple of int
        Survivors to drop, with all the tokens that they carry.
    add : tuple of int
        Tokens that enter as themselves. One that was merged leaves the mean, which is then of the
        members that remain. One that was a cluster's center ends the cluster: there is no mean any
        more, and its other members are dropped.
    only : tuple of int, optional
        Of the survivors just these stay, with what they carry; those to ``add`` come on top.

    Raises
    ------
    InputError
        On construction: indices that are none, or a token both to be removed and to stay. When the
        clip is there: an index outside it, a token to remove or to keep that was no survivor, or no
        token left.
    """

    remove: tuple[int, ...] = ()
    add: tuple[int, ...] = ()
    only: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.method, Method) or isinstance(self.method, Edited):
            raise InputError(
                f"a method to edit is needed, such as STC(), not {self.method!r}; put all edits "
                f"into one"
            )
        super().__post_init__()
        for name in ("remove", "add", "only"):
            if name != "only" or self.only is not None:
                object.__setattr__(self, name, _tokens(name, getattr(self, name)))
        both = {*self.remove} & {*self.add, *(self.only or ())}
        if both:
            raise InputError(f"token {min(both)} cannot be removed and stay; name it once")

    @property
    def divisible(self) -> bool:
        return False

    def remarks(self, grid: TokenGrid, entered: int) -> tuple[str, ...]:
        steps = []
        if self.only is not None:
            steps.append(f"only {len(self.only)} of them kept")
        if self.remove:
            steps.append(f"{len(self.remove)} of them removed")
        if self.add:
            steps.append(f"{len(self.add)} added as themselves")
        if not steps:
            return self.method.remarks(grid, entered)
        before = self.budget(grid)
        return (
            *self.method.remarks(grid, before),
            f"Edited by hand: {type(self.method).__name__} let in {before} video tokens; "
            f"{'; '.join(steps)}; so {entered} entered the LLM.",
        )

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        decision = self.method.outside(tokens, contribution, grid)
        self._check_known(set(decision.survivors.tolist()), grid)
        fate, target = decision.fate.clone(), decision.target.clone()
        remove, add, only = (
            torch.tensor(listed, dtype=torch.int64, device=target.device)
            for listed in (self.remove, self.add, self.only or ())
        )
        stays = torch.zeros_like(target, dtype=torch.bool)
        stays[decision.survivors if self.only is None else only] = True
        stays[remove] = False
        stays[add] = False  # not with what it carries: it comes back as itself
        gone = (target >= 0) & ~stays[target.clamp(min=0)]
        fate[gone], target[gone] = int(Fate.DROPPED), -1
        fate[add], target[add] = int(Fate.KEPT), add
        if not (target >= 0).any():
            raise InputError("these edits leave no token of the video; keep at least one")
        weight = decision.weight
        if weight is not None:
            weight = weight.clone()
            weight[add] = 1  # of a token that was dropped it may be anything
        return Decision.of(fate, target, weight, **decision.notes)

    def _check_known(self, entered: set[int], grid: TokenGrid) -> None:
        for name in ("remove", "add", "only"):
            for token in getattr(self, name) or ():
                if token >= grid.size:
                    raise InputError(
                        f"{name} names token {token}, but this clip has 0 to {grid.size - 1}"
                    )
                if name != "add" and token not in entered:
                    raise InputError(
                        f"{name} names token {token}, which is none of the {len(entered)} that "
                        f"{type(self.method).__name__} lets into the LLM; choose among those"
                    )


def _tokens(name: str, given: Iterable[int]) -> tuple[int, ...]:
    """Return different indices in ascending order; ``InputError`` for anything else."""
    try:
        tokens = [index(token) for token in given]
    except TypeError:
        raise InputError(f"{name} must be indices of tokens, not {given!r}") from None
    if any(token < 0 for token in tokens):
        raise InputError(f"{name} must be indices from 0, not {min(tokens)}")
    return tuple(sorted(set(tokens)))
