"""Encode a video part by part, and let the LLM read what is left of all parts.

A long video never stands in one prompt: the vision tower sees a few frames at a time, and the LLM
gets the tokens that were chosen from all of them, each at the position that it has in the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from stc_core.errors import InputError, moved
from stc_core.hooks.claiming import unwrapped
from stc_core.hooks.compression import LiveTrace, Run, opened
from stc_core.hooks.shortening import Door, Shortened
from stc_core.methods import Decision, Method
from stc_core.models.families import Family, family_of, layout_of
from stc_core.models.layout import Layout
from stc_core.models.stock import StockModel
from stc_core.record.grid import TokenGrid
from stc_core.record.stopwatch import Stopwatch


@dataclass(frozen=True, eq=False)
class Encoded:
    """Hold what the vision tower and the projector make of some frames.

    Attributes
    ----------
    tokens : (n, d) tensor
    contribution : (n,) tensor
        What the method reads in the vision tower.
    grid : TokenGrid
    newline : (e, d) tensor
        What stands after a video of this family, e of 0 or 1.
    """

    tokens: Tensor
    contribution: Tensor
    grid: TokenGrid
    newline: Tensor


@dataclass(frozen=True, eq=False)
class Whole:
    """Hold what is left of a video for the LLM.

    Attributes
    ----------
    grid : TokenGrid
        Of all N tokens.
    decision : Decision
        On the N tokens.
    tokens : (B, d) tensor
        Of its survivors, in their order.
    contribution : (N,) tensor
    newline : (e, d) tensor
    frames : int
        Positions are those of a video of so many frames: in a longer one, frame t stands where
        frame ``t * frames // T`` would.
    """

    grid: TokenGrid
    decision: Decision
    tokens: Tensor
    contribution: Tensor
    newline: Tensor
    frames: int

    def positions(self, first: int, length: int) -> Tensor:
        """Return (length,) int64: position ids of a prompt in which the survivors begin at first.

        Cells keep their order within a frame; where several frames share one's positions, so do
        their cells.
        """
        where = self.decision.survivors.cpu()
        frame, cell = where // self.grid.per_frame, where % self.grid.per_frame
        taken = frame * self.frames // self.grid.frames
        end = first + self.frames * self.grid.per_frame
        behind = length - first - len(where)
        return torch.cat(
            [
                torch.arange(first),
                first + taken * self.grid.per_frame + cell,
                end + torch.arange(behind),
            ]
        )


class _Met(Exception):
    """Leave a model before its decoder: the tokens are there."""


class _Encoding(Run):
    """Take the video tokens at the decoder's door, and leave."""

    encoded_part: Encoded

    def at_door(self, door: Door) -> Shortened | None:
        grid_thw, self.encoded = self.grid_thw, False
        layout = layout_of(self.model.config, door.ids, grid_thw)
        if layout is None:
            return None  # no video
        if not _in_one_run(layout):
            raise moved(f"the video tokens of {self.family.name} do not stand in one row")
        self.encoded_part = Encoded(
            door.embeds[0, layout.tokens].clone(),
            self.heard(layout, grid_thw).to(door.embeds.device),
            self.grid_of(layout, door),
            door.embeds[0, layout.extras].clone(),
        )
        raise _Met


class _Entering(Run):
    """Put what is left of a video in the places of a prompt's placeholders."""

    whole: Whole

    def signal(self) -> AbstractContextManager[None]:
        return nullcontext()

    def at_door(self, door: Door) -> Shortened | None:
        whole, ids = self.whole, door.ids
        places = (ids == self.family.placeholder(self.model.config)).nonzero().flatten()
        count, extras = len(whole.tokens), len(whole.newline)
        if len(places) != count + extras:
            return None  # a prompt about nothing
        self.grid, self.contribution, self.outside = whole.grid, whole.contribution, whole.decision
        embeds = door.embeds.clone()
        embeds[:, places] = torch.cat([whole.tokens, whole.newline.to(whole.tokens)]).to(embeds)
        owned = places.new_tensor([[0, count]]).expand(extras, 2)
        self.layout = Layout(1, 1, count, places[:count], places[count:], owned)
        self.extras = [extras, extras]
        if self.method.inside_text == "embeddings":
            self.words = door.embeds[0, self.layout.last + 1 :].detach().clone()
        if self.layer is None:
            self._write(None)
        every = torch.arange(len(ids), device=ids.device)
        numbers = every
        if self.method.positions == "original":
            numbers = whole.positions(int(places[0]), len(ids)).to(ids.device)
        return Shortened(every, embeds, numbers=numbers)


def encode(model: StockModel, method: Method, inputs: Mapping[str, Tensor]) -> Encoded:
    """Run a prompt with some frames as far as the decoder's door, and return what came there.

    Parameters
    ----------
    model
        A stock Video-LLM, not inside ``compress``.
    method
        Tells which contribution is read in the vision tower.
    inputs
        What ``generate`` takes.

    Raises
    ------
    InputError
        A family whose videos cannot be encoded in parts, or inputs without a video.
    """
    stock = unwrapped(model)
    family = family_of(stock.config)
    if not family.parts:
        raise InputError(foreign_to_parts(family))
    run = _Encoding(stock, family, method, Stopwatch())
    with opened(run), torch.no_grad():
        try:
            stock(**inputs, use_cache=False)
        except _Met:
            return run.encoded_part
    raise InputError("these inputs hold no video")


@contextmanager
def entering(
    model: StockModel, method: Method, whole: Whole, *, watch: Stopwatch, **about: object
) -> Iterator[LiveTrace]:
    """Let every prompt inside the ``with`` be about ``whole``; its placeholders are B + e.

    The stage inside the LLM is the method's. The trace is about all N tokens.

    Parameters
    ----------
    model, method, watch
        As for ``compress``.
    whole
        What is left of the video.
    about
        "seconds", "frames" and "question" of the trace, as for ``compress``.
    """
    stock = unwrapped(model)
    run = _Entering(stock, family_of(stock.config), method, watch)
    run.whole, run.about = whole, {"seconds": None, "frames": None, "question": "", **about}
    with opened(run) as trace:
        yield trace


def foreign_to_parts(family: Family) -> str:
    """Say that videos of this family are not encoded in parts."""
    return (
        f"{family.name} cannot read a video in parts: its tokens do not stand in one row with "
        f"plain positions; use fewer frames, or LLaVA-OneVision or LLaVA-NeXT-Video"
    )


def _in_one_run(layout: Layout) -> bool:
    """Tell whether the video tokens follow each other, and at most one newline follows them."""
    after = layout.extras - layout.tokens[-1]
    return bool((layout.tokens.diff() == 1).all()) and after.tolist() in ([], [1])
