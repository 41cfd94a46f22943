"""Random weights that make every choice matter."""

from __future__ import annotations

import torch
from torch import nn

TOWER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}
DECODER = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "initializer_range": 0.05,
}


def random_model(model_class: type[nn.Module], config, seed: int) -> nn.Module:
    """A model in evaluation mode; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return sharpened(model_class(config).eval())


@torch.no_grad()
def sharpened(model: nn.Module, contrast: float = 6.0) -> nn.Module:
    """Untrained attention is almost uniform, so the decoder's queries are made larger."""
    for layer in model.get_decoder().layers:
        layer.self_attn.q_proj.weight.mul_(contrast)
    return model
