"""Join decisions about parts of a clip to one about all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from stc_core.methods.base import Decision
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate


def frames_of(grid: TokenGrid, count: int) -> TokenGrid:
    """Return the grid of so many frames of a clip."""
    return replace(grid, frames=count)


def joined(parts: Sequence[tuple[Tensor, Decision]], n: int) -> Decision:
    """Return the decision on n tokens that is made of decisions on some of them.

    Parameters
    ----------
    parts : sequence of ((m,) int64, Decision)
        Which tokens, ascending, and what was decided about these m. No token twice; those that are
        in no part are dropped.
    n : int

    Returns
    -------
    Decision
        With the notes of a single part; of several, with those that are no indices and turns.
    """
    device = parts[0][0].device
    fate = torch.full((n,), int(Fate.DROPPED), dtype=torch.uint8, device=device)
    target = torch.full((n,), -1, dtype=torch.int64, device=device)
    weight: Tensor | None = None
    notes: dict[str, Tensor] = {}
    for places, decision in parts:
        fate[places], target[places] = decision.fate, _named(places, decision.target)
        if decision.weight is not None:
            if weight is None:
                weight = torch.ones(n, dtype=decision.weight.dtype, device=device)
            weight[places] = decision.weight
        for name, values in decision.notes.items():
            whole = values.is_floating_point()
            if whole or len(parts) == 1:
                missing = torch.full((n,), torch.nan if whole else -1, dtype=values.dtype)
                note = notes.setdefault(name, missing.to(device))
                note[places] = _named(places, values) if name == "nearest" else values
    return Decision.of(fate, target, weight, **notes)


def _named(places: Tensor, found: Tensor) -> Tensor:
    """Return indices among the places (m,) as those of the whole; -1 stays."""
    return torch.where(found < 0, -1, places[found.clamp(min=0)])
