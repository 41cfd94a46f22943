"""Compute what a recorded run keeps beside the fates: text pieces, principal components.

None of it is needed for an answer; ``compress`` and ``answer`` make it with ``record=True``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

COMPONENTS = 16  # most that a trace holds
QUESTION_WORDS = 256  # of a longer question the last so many tokens
EXACT_WIDTH = 1024  # up to here all eigenvectors take less than two seconds on two cores


@torch.no_grad()
def leading_components(tokens: Tensor, count: int = COMPONENTS) -> np.ndarray:
    """Return (N, c) float16: tokens (N, d), centered, on their leading principal components.

    c is the least of ``count``, N and d. The largest loading of each component is positive. Always
    worked out on the CPU in float64, so that it does not depend on the device; above
    ``EXACT_WIDTH`` dimensions by a randomized decomposition with a fixed seed.
    """
    x = tokens.detach().cpu().double()
    x = x - x.mean(dim=0)
    count = min(count, *x.shape)
    if x.shape[1] <= EXACT_WIDTH:
        axes = torch.linalg.eigh(x.T @ x).eigenvectors.flip(1)[:, :count]  # largest first
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            axes = torch.pca_lowrank(x, q=count, center=False, niter=4)[2]
    largest = axes.gather(0, axes.abs().argmax(dim=0, keepdim=True))
    projected = x @ torch.where(largest < 0, -axes, axes)
    most = float(torch.finfo(torch.float16).max)
    return projected.clamp(-most, most).half().numpy()


def pieces(tokenizer, ids: Sequence[int]) -> list[str]:
    """Return the text of each token as it stands in the whole, its leading space included.

    Joined they are the decoded whole. A character of several tokens belongs to the last of them.
    """
    said, found = "", []
    for end in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[:end])
        if text.endswith("\ufffd") and end < len(ids):  # bytes of a character not yet complete
            text = said
        found.append(text[len(said) :])
        said = text
    return found
