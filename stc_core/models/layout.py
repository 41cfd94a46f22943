"""Find where the tokens of a video stand in a prompt, and which other places depend on them.

Every family writes placeholders into ``input_ids``: one per video token, and some for what lies on
no cell of the grid (the newline after a video or after each of its rows, a class token per frame).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stc_core.errors import InputError
from stc_core.models.stock import StockConfig

ONE_VIDEO = (
    "compress one prompt with one video at a time, all of it in one call (no prefill_chunk_size)"
)


@dataclass(frozen=True)
class Layout:
    """Hold the places of one video in a prompt of L tokens.

    Attributes
    ----------
    frames, rows, cols : int
        T time steps of rows x cols tokens; N = T * rows * cols.
    tokens : Tensor (N,) int64
        Places of the video tokens, in the order (frame, row, column).
    extras : Tensor (E,) int64
        Places of placeholders that lie on no cell.
    owned : Tensor (E, 2) int64
        The tokens [first, last) that each of them belongs to: it goes where none of them stays.
    """

    frames: int
    rows: int
    cols: int
    tokens: Tensor
    extras: Tensor
    owned: Tensor

    @property
    def last(self) -> int:
        """Return the last place of the video."""
        return int(torch.cat([self.tokens, self.extras]).max())

    def to(self, device: torch.device) -> Layout:
        """Return the same layout on another device."""
        parts = {name: getattr(self, name).to(device) for name in ("tokens", "extras", "owned")}
        return replace(self, **parts)

    def going(self, length: int, survivors: Tensor) -> Tensor:
        """Return (length,) bool: the places of the prompt that go on with ``survivors``."""
        alive = torch.zeros(len(self.tokens) + 1, dtype=torch.long, device=self.tokens.device)
        alive[survivors + 1] = 1
        so_far = alive.cumsum(0)  # survivors before each token
        going = torch.ones(length, dtype=torch.bool, device=self.tokens.device)
        going[self.tokens] = alive[1:].bool()
        going[self.extras] = so_far[self.owned[:, 1]] > so_far[self.owned[:, 0]]
        return going

    def after(self, kept: Tensor, survivors: Tensor) -> Layout:
        """Return the layout of the same video in a prompt of which only ``kept`` is left.

        The survivors are its tokens now, numbered anew, and lie on a grid no more.
        """
        alive = torch.zeros(len(self.tokens) + 1, dtype=torch.long, device=self.tokens.device)
        alive[survivors + 1] = 1
        stays = torch.isin(self.extras, kept)
        return replace(
            self,
            tokens=torch.searchsorted(kept, self.tokens[survivors]),
            extras=torch.searchsorted(kept, self.extras[stays]),
            owned=alive.cumsum(0)[self.owned[stays]],
        )


# Reads a layout from (config, ids (L,), grid_thw (videos, 3) or None). ``InputError`` where the
# placeholders are not those of one video.
Reader = Callable[[StockConfig, Tensor, Tensor | None], Layout]


def fixed(
    placeholder: Callable[[StockConfig], int],
    cells: Callable[[StockConfig], tuple[int, int]],
    *,
    before: int = 0,
    newline: int = 0,
    after: int = 0,
    split: bool = False,
) -> Reader:
    """Make the reader of a family in which every frame has ``cells(config)`` = (rows, cols) tokens.

    Parameters
    ----------
    before, newline, after : int
        Placeholders before each frame, after each row, after the video.
    split : bool
        Whether text stands between the frames.
    """

    def read(config: StockConfig, ids: Tensor, grid_thw: Tensor | None) -> Layout:
        rows, cols = cells(config)
        places = (ids == placeholder(config)).nonzero().flatten()
        frame = before + rows * (cols + newline)
        frames, rest = divmod(len(places) - after, frame)
        if rest or frames < 1:
            raise InputError(
                f"{len(places)} video placeholders do not make whole frames of {rows} x {cols} "
                f"tokens from one video; {ONE_VIDEO}"
            )
        _check_runs(places, frames if split else 1)
        body = places[: frames * frame].view(frames, frame)
        lines = body[:, before:].reshape(frames * rows, cols + newline)
        extras = [body[:, :before], lines[:, cols:], places[frames * frame :]]
        owned = [
            _spans(frames, rows * cols, before),
            _spans(frames * rows, cols, newline),
            _spans(1, frames * rows * cols, after),
        ]
        return Layout(
            frames,
            rows,
            cols,
            tokens=lines[:, :cols].flatten(),
            extras=torch.cat([part.flatten() for part in extras]),
            owned=torch.cat(owned).to(ids.device),
        )

    return read


def measured(
    placeholder: Callable[[StockConfig], int],
    merge: Callable[[StockConfig], int],
    *,
    split: bool = False,
) -> Reader:
    """Make the reader of a family whose processor chooses the grid (``grid_thw``, in patches).

    Parameters
    ----------
    merge : callable
        config -> side of the square of patches that becomes one token.
    split : bool
        Whether text stands between the time steps.
    """

    def read(config: StockConfig, ids: Tensor, grid_thw: Tensor | None) -> Layout:
        places = (ids == placeholder(config)).nonzero().flatten()
        if grid_thw is None or len(grid_thw) != 1:
            raise InputError(f"this prompt holds several videos or images; {ONE_VIDEO}")
        frames, rows, cols = grid_thw[0].tolist()
        rows, cols = rows // merge(config), cols // merge(config)
        if len(places) != frames * rows * cols:
            raise InputError(
                f"{len(places)} video placeholders stand for {frames} x {rows} x {cols} tokens; "
                f"let the model's own processor write the prompt, with its own token compression "
                f"switched off"
            )
        _check_runs(places, frames if split else 1)
        nothing = places.new_empty(0)
        return Layout(frames, rows, cols, places, nothing, nothing.view(0, 2))

    return read


def _check_runs(places: Tensor, wanted: int) -> None:
    runs = 1 + int((places.diff() != 1).sum())
    if runs != wanted:
        raise InputError(
            f"the video placeholders stand in {runs} runs where one video of this family has "
            f"{wanted}; {ONE_VIDEO}, and no images beside it"
        )


def _spans(count: int, length: int, times: int) -> Tensor:
    """Return (count * times, 2): spans [0, length), [length, 2 length) ..., ``times`` each."""
    first = torch.arange(count).repeat_interleave(times) * length
    return torch.stack([first, first + length], dim=1)
