"""Small clips as bare tokens, and what every decision on them must hold."""

import numpy as np
import torch
from references import means

from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Fate


def clip(seed, frames, rows, cols, width=5, still=0.6, scenes=2):
    """(tokens, contribution, grid): scenes with a still background and a part that moves."""
    rng = np.random.default_rng(seed)
    n = rows * cols
    tokens = np.empty((frames, n, width))
    for frame in range(frames):
        if frame % max(1, frames // scenes) == 0:
            background = rng.normal(size=(n, width))
        moving = rng.random(n) > still
        tokens[frame] = background + 0.05 * rng.normal(size=(n, width))
        tokens[frame, moving] = rng.normal(size=(moving.sum(), width))
    return (
        torch.from_numpy(tokens.reshape(frames * n, width)),
        torch.from_numpy(rng.random(frames * n)),
        TokenGrid(frames, rows, cols),
    )


def _repeated(frames, rows, cols):
    tokens, contribution, grid = clip(8, frames, rows, cols)
    n = grid.per_frame
    return tokens[:n].repeat(frames, 1), contribution[:n].repeat(frames), grid


ADVERSARIAL = {
    "one frame": clip(1, 1, 3, 4),
    "one token": clip(2, 1, 1, 1),
    "one token a frame": clip(3, 7, 1, 1),
    "all equal": (torch.ones(24, 3).double(), torch.ones(24).double(), TokenGrid(4, 2, 3)),
    "all zero": (torch.zeros(24, 3).double(), torch.zeros(24).double(), TokenGrid(4, 2, 3)),
    "still": _repeated(5, 2, 3),
    "equal contributions": (clip(4, 4, 3, 3)[0], torch.ones(36).double(), TokenGrid(4, 3, 3)),
    "few distinct": (clip(5, 1, 1, 3)[0].repeat(12, 1), torch.rand(36).round(decimals=1), None),
    "half precision": (clip(6, 4, 3, 3)[0].bfloat16(), torch.rand(36), TokenGrid(4, 3, 3)),
}
ADVERSARIAL["few distinct"] = (*ADVERSARIAL["few distinct"][:2], TokenGrid(4, 3, 3))
RETENTIONS = (1e-6, 0.1, 0.4, 0.8, 1.0)


def compare(method, tokens, contribution, grid, reference):
    """The method decides as ``reference`` does: (fate names, target, weight or None)."""
    decision = method.outside(tokens, contribution, grid)
    wide = tokens.double().tolist()
    fate, target, weight = reference(wide, contribution.double().tolist(), grid)
    assert [Fate(int(value)).name for value in decision.fate] == fate
    assert decision.target.tolist() == target
    merged = decision.apply(tokens.double()).numpy()
    expected = means(wide, target) if weight is None else weighted(wide, target, weight)
    np.testing.assert_allclose(merged, expected, atol=1e-12)
    count = sum(name in ("KEPT", "CENTER") for name in fate)
    check(method, decision, tokens, contribution, grid, count)


def check(method, decision, tokens, contribution, grid, count=None):
    """The invariants of a decision before the LLM; ``count``: of what the reference lets go on."""
    count = method.budget(grid) if count is None else count
    rounded = getattr(method, "published_rounding", False)  # it may lose more, by the clip
    assert count <= method.budget(grid) if rounded else count == method.budget(grid)
    assert len(decision.survivors) == count
    assert (decision.survivors.diff() > 0).all()
    carried = decision.target >= 0
    assert torch.isin(decision.target[carried], decision.survivors).all()
    assert (decision.target[decision.survivors] == decision.survivors).all()
    assert torch.equal(~carried, decision.fate == int(Fate.DROPPED))
    shares = decision.shares()
    assert (shares[carried] > 0).all() and (shares[~carried] == 0).all()
    sums = torch.bincount(decision.target[carried], shares[carried], len(shares))
    torch.testing.assert_close(sums[decision.survivors], torch.ones(count).double())
    again = method.outside(tokens.clone(), contribution.clone(), grid)
    assert torch.equal(again.target, decision.target)
    assert torch.equal(again.apply(tokens), decision.apply(tokens))


def weighted(tokens, target, weight):
    """(B, d): the weighted mean of the tokens that each survivor carries, in original order."""
    rows = []
    for s in range(len(tokens)):
        if target[s] == s:
            members = [i for i in range(len(tokens)) if target[i] == s]
            whole = sum(weight[i] for i in members)
            rows.append(
                [
                    sum(weight[i] * tokens[i][c] for i in members) / whole
                    for c in range(len(tokens[0]))
                ]
            )
    return np.array(rows)


def shared_out(total, weights, limits):
    """Largest remainder, one place at a time."""
    whole = sum(weights) or 1
    quota = [round(total * weight / whole, 9) for weight in weights]
    given = [min(int(q), most) for q, most in zip(quota, limits, strict=True)]
    while sum(given) < total:
        left = total - sum(given)
        open_parts = [i for i in range(len(given)) if given[i] < limits[i]]
        levels = sorted({round(quota[i] - int(quota[i]), 9) for i in open_parts}, reverse=True)
        for level in levels:
            tied = [i for i in open_parts if round(quota[i] - int(quota[i]), 9) == level]
            if left <= 0:
                break
            if left >= len(tied):
                winners = tied
            else:  # the middles of equal stretches
                winners = [tied[int((j + 0.5) * len(tied) / left)] for j in range(left)]
            for i in winners:
                given[i] += 1
            left -= len(winners)
    return given
