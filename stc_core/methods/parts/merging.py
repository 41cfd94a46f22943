"""Score relevance to the question, and merge what is not relevant (the stage inside the LLM)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from stc_core.methods.base import Decision, precise, settled
from stc_core.methods.parts.selection import strongest
from stc_core.record.stages import Fate

ROWS = 2048  # tokens whose cosines are taken at a time


def min_max(values: Tensor) -> Tensor:
    """Scale (n,) to 0..1 over its own range; return zeros where all values are equal.

    Equal means within a millionth of the largest: rounding noise is not stretched to a range.
    """
    low, high = values.min(), values.max()
    if high - low <= 1e-6 * values.abs().max():
        return torch.zeros_like(values)
    return (values - low) / (high - low)


def text_relevance(visual: Tensor, text: Tensor, attention: Tensor, lam: float) -> Tensor:
    """Return I = (1 - lam) * A_m + lam * S_m for each video token (docs/method.md, section 3).

    ``A_m`` is the highest attention that any text token pays to the video token, ``S_m`` the
    highest cosine of any text token's hidden state to its own, both min-max normalized.

    Parameters
    ----------
    visual : (n, d)
    text : (q, d)
    attention : (q, n)
    lam : float
        Weight of the similarity in 0..1.

    Returns
    -------
    (n,) relevance in 0..1
    """
    attended = precise(attention).amax(dim=0)
    cosine = F.normalize(precise(text), dim=-1) @ F.normalize(precise(visual), dim=-1).T
    return settled((1 - lam) * min_max(attended) + lam * min_max(cosine.amax(dim=0)))


def keep_relevant(scores: Tensor, keep: int) -> Decision:
    """Drop all but the ``keep`` video tokens of highest score, inside the LLM; ties to the earlier.

    scores (n,) are scaled to 0..1, which the decision notes as ``relevance``.
    """
    relevance = settled(min_max(precise(scores)))
    survivors = strongest(relevance, keep)
    return Decision.keeping(survivors, len(scores), Fate.DROPPED_INSIDE, relevance=relevance)


def most_alike(tokens: Tensor, survivors: Tensor) -> Tensor:
    """Return (n,) int64: for each token the survivor of highest cosine, ties to the earlier one.

    tokens (n, d); survivors (B,) int64 ascending; a survivor's is itself.
    """
    chosen = F.normalize(precise(tokens[survivors]), dim=-1).T
    cosine = (F.normalize(precise(part), dim=-1) @ chosen for part in tokens.split(ROWS))
    target = survivors[torch.cat([settled(part).argmax(dim=1) for part in cosine])]
    target[survivors] = survivors
    return target
