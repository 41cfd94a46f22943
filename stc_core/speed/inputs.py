"""Make tokens like those of a video, the same on every device."""

from __future__ import annotations

import torch
from torch import Tensor

from stc_core.record.grid import TokenGrid

SIDE, WIDTH = 14, 3584  # tokens of a frame's side and their width in LLaVA-OneVision-7B
SCENE = 16  # frames between two cuts


def made_up(
    grid: TokenGrid, width: int, dtype: torch.dtype, device: torch.device, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Make tokens and contributions like those of a video, the same on every device.

    Places keep their token from frame to frame except for noise, a third of them show something new
    in each frame, and every sixteenth frame is a cut. All tokens share a part, as features do.

    Parameters
    ----------
    grid : TokenGrid
        Of N tokens.
    width : int
    dtype : torch.dtype
    device : torch.device
    seed : int

    Returns
    -------
    tokens : (N, width)
    contribution : (N,)
    """
    chance = torch.Generator().manual_seed(seed)
    n = grid.per_frame
    tokens = torch.empty(grid.size, width, dtype=dtype, device=device)
    common = 0.5 * torch.randn(width, generator=chance)
    for frame in range(grid.frames):
        if frame % SCENE == 0:
            scene = torch.randn(n, width, generator=chance)
        noise = torch.randn(n, width, generator=chance)
        moves = torch.rand(n, 1, generator=chance) < 1 / 3
        shown = torch.where(moves, noise, scene + 0.25 * noise) + common
        tokens[frame * n : (frame + 1) * n] = shown.to(device, dtype)
    return tokens, torch.rand(grid.size, generator=chance).to(device)
