"""Tokens and contributions of several kinds, for methods on bare tensors."""

import numpy as np
import torch

KINDS = ["random", "all equal", "all zero", "few distinct, half precision", "opposite and huge"]


def tokens_of(kind, n, width=6, seed=0):
    """(tokens (n, width), contribution (n,))."""
    rng = np.random.default_rng([seed, n])
    if kind == "random":
        tokens = rng.normal(size=(5, width))[rng.integers(5, size=n)]
        tokens = tokens + 0.3 * rng.normal(size=(n, width))
        return torch.from_numpy(tokens), torch.from_numpy(rng.random(n))
    if kind == "all equal":
        return torch.ones(n, width), torch.full((n,), 0.25)
    if kind == "all zero":
        return torch.zeros(n, width), torch.zeros(n)
    if kind == "few distinct, half precision":
        tokens = torch.from_numpy(rng.normal(size=(3, width))).bfloat16()
        return tokens[torch.arange(n) % 3], torch.rand(n, generator=torch.manual_seed(0))
    if kind == "opposite and huge":
        return 1e4 * (-1.0) ** torch.arange(n)[:, None].expand(n, width), torch.arange(float(n))
    raise KeyError(kind)
