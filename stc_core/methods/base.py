"""What every method shares: the ``Decision`` it returns, its budget, its checks."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import InputError
from ..grid import TokenGrid
from ..trace import SURVIVORS, Fate

FINE_GRID = 100  # tokens per frame from which the paper's rounding per frame is used


def precise(tensor: Tensor) -> Tensor:
    """The tensor in float64, or in float32 on devices that have none (MPS).

    Selection compares numbers, and in half precision equal tokens would not look equal.
    """
    return tensor.to(torch.float32 if tensor.device.type == "mps" else torch.float64)


def settled(values: Tensor) -> Tensor:
    """Rounded to nine decimals, so that equal tokens tie exactly and the earlier one goes first.

    Matrix products may give equal columns results that differ in the last bit.
    """
    return torch.round(values, decimals=9)


def round_half_up(value: float) -> int:
    """Nearest integer, halves up (Python's ``round`` takes halves to the even side)."""
    return math.floor(value + 0.5)


def paper_budget(retention: float, grid: TokenGrid) -> int:
    """B, the number of video tokens that enter the LLM, for a retention ratio.

    On grids as fine as the paper's, ``T * round(retention * tokens_per_frame)``: the only rounding
    under which its FLOPs column comes out (section 1 "Budget" of the specification; 128 of
    32 x 196 at 2 %). On coarse grids that rounding would distort the ratio (25 tokens per frame at
    2 % would give none), so the whole video is rounded once. Never below one token.
    """
    if grid.per_frame >= FINE_GRID:
        budget = grid.frames * round_half_up(retention * grid.per_frame)
    else:
        budget = round_half_up(retention * grid.size)
    return min(max(budget, 1), grid.size)


def check_number(name: str, value: float, low: float, high: float, *, above: bool = False) -> None:
    """Raise ``InputError`` unless low <= value <= high (low < value with ``above``)."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not (low < value if above else low <= value) or not value <= high:
        raise InputError(
            f"{name} must be a number {'above' if above else 'from'} {low:g} "
            f"{'and at most' if above else 'to'} {high:g}, not {value!r}"
        )


def check_features(name: str, tensor: Tensor, dims: int) -> None:
    """Raise ``InputError`` unless the tensor has ``dims`` axes and only finite numbers."""
    if tensor.ndim != dims:
        raise InputError(f"{name} must have {dims} dimensions, not the shape {tuple(tensor.shape)}")
    if not torch.isfinite(tensor).all():
        raise InputError(f"{name} hold nan or infinite numbers; check the model's dtype and input")


@dataclass(frozen=True)
class Decision:
    """Who goes on and who carries whom: the outcome of one compression step on N tokens.

    Attributes
    ----------
    survivors : (B,) int64, ascending
        Indices of the tokens that go on.
    target : (N,) int64
        Index of the survivor that carries token i; itself for a survivor; -1 for a dropped token.
    fate : (N,) uint8
        ``Fate`` of each token.
    notes : dict of str to (N,) float tensors
        Numbers worth recording: ``similarity`` or ``relevance``; nan where not defined.
    """

    survivors: Tensor
    target: Tensor
    fate: Tensor
    notes: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def of(cls, fate: Tensor, target: Tensor, **notes: Tensor) -> Decision:
        """The decision with these fates (N,) and targets (N,)."""
        survives = sum(fate == kind for kind in SURVIVORS).bool()
        return cls(survives.nonzero().flatten(), target, fate.to(torch.uint8), notes)

    @classmethod
    def keep_all(cls, n: int, device: torch.device | str = "cpu") -> Decision:
        """The decision that changes nothing."""
        every = torch.arange(n, device=device)
        return cls(every, every, torch.full((n,), int(Fate.KEPT), dtype=torch.uint8, device=device))

    @property
    def changes(self) -> bool:
        """False where every token goes on as it is."""
        return len(self.survivors) < len(self.target)

    def apply(self, tokens: Tensor) -> Tensor:
        """(N, d) tokens -> (B, d): each survivor becomes the mean of the tokens it carries.

        A true mean, each token counting once. A survivor that carries only itself is copied bit for
        bit. Means are taken in float32 or better as one matrix product, which is deterministic
        where a scatter-add on a GPU is not.
        """
        if len(tokens) != len(self.target):
            raise InputError(f"the decision is about {len(self.target)} tokens, not {len(tokens)}")
        out = tokens[self.survivors].clone()
        size = torch.bincount(self.target[self.target >= 0], minlength=len(tokens))
        shared = (size[self.survivors] > 1).nonzero().flatten()
        if len(shared):
            centers = self.survivors[shared]
            members = ((self.target >= 0) & (size[self.target.clamp(min=0)] > 1)).nonzero()[:, 0]
            wide = torch.promote_types(tokens.dtype, torch.float32)
            share = (self.target[members] == centers[:, None]).to(wide)
            means = share @ tokens[members].to(wide) / size[centers, None]
            out[shared] = means.to(tokens.dtype)
        return out


@dataclass(frozen=True, kw_only=True)
class Method:
    """A training-free compressor: a frozen dataclass whose ``repr`` reproduces it.

    Parameters
    ----------
    retention : float
        Share of the video tokens that enter the LLM, above 0 and at most 1.
    positions : str
        "original": survivors keep the position ids they had; "compact": the shortened sequence is
        numbered 0, 1, 2 ... at the LLM's door.
    contribution_layer : int, optional
        Vision layer whose attention is the contribution, counted as a list index. Default: what the
        checkpoint records (``config.stc``), else the layer whose output is the feature.
    """

    retention: float = 0.02
    positions: str = "original"
    contribution_layer: int | None = None

    def __post_init__(self) -> None:
        check_number("retention", self.retention, 0, 1, above=True)
        if self.positions not in ("original", "compact"):
            raise InputError(f"positions must be 'original' or 'compact', not {self.positions!r}")

    def budget(self, grid: TokenGrid) -> int:
        """B: how many of the grid's tokens enter the LLM."""
        return paper_budget(self.retention, grid)

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        """Decide before the LLM: tokens (N, d), contribution (N,) -> ``Decision`` on N."""
        return Decision.keep_all(len(tokens), tokens.device)

    def inside_layer(self, depth: int) -> int | None:
        """K, the index of the decoder layer after which ``inside`` acts; None: never."""
        return None

    def inside(self, visual: Tensor, text: Tensor, attention: Tensor) -> Decision:
        """Decide after layer K on the n video tokens there.

        visual (n, d) and text (q, d) are hidden states, attention (q, n) is the mean over heads of
        the weights from the text queries to the video tokens.
        """
        return Decision.keep_all(len(visual), visual.device)
