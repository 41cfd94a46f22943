"""Keep fewer frames: with all their tokens, or with what another method keeps of them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from stc_core.errors import InputError
from stc_core.methods.base import (
    Around,
    Decision,
    Method,
    acts_outside,
    check_method,
    check_one_of,
    check_outside,
    check_whole,
    frame_means,
    paper_budget,
    round_half_up,
    settled,
    text_without,
)
from stc_core.methods.parts.joining import frames_of, joined
from stc_core.record.grid import TokenGrid


@dataclass(frozen=True, kw_only=True, repr=False)
class Frames(Around):
    """Choose frames; keep them whole, or spend the whole budget in them as ``method`` does.

    Without ``method`` a baseline, not a publication: f = B / (tokens per frame) frames, rounded, at
    least 1, stay whole. With it ``keep`` frames are chosen first, and the method thins the clip of
    these frames to the budget that it has for all. Frames that are not chosen are dropped. ::

        Frames(retention=0.1)
        Frames(VisionZip(retention=0.02), keep=8)

    Parameters
    ----------
    method : Method, optional
        One with a stage before the LLM. Default: all tokens of the chosen frames.
    keep : int, optional
        f, with a ``method`` and only then: so many frames, or all of a shorter clip.
    choose : str
        "even": the video is cut into f intervals of T / f frames, and the frame in the middle of
        each is chosen; "unlike": the first frame, then again and again the one whose mean token has
        the lowest highest cosine to those of the chosen frames.
    retention, positions, contribution_layer, signal
        As for every method; those of ``method`` where there is one.

    Raises
    ------
    InputError
        On construction: a method that drops nothing before the LLM, chooses frames itself or needs
        the whole clip; settings beside a ``method`` that has its own. When the clip is there: a
        budget below one token for each chosen frame.

    Deviations and choices
    ----------------------
    * The baseline's count is a whole number of frames and at least one: ``budget(grid)`` says it,
      and a trace notes where it is not what was asked. Halves are rounded up.
    * With a ``method`` the budget is the one that it has for the clip of f frames at the retention
      that makes as many tokens of it. On fine grids that is rounded per frame, as everywhere; more
      than these frames hold it cannot be.
    * The frames have passed through the vision tower as part of the whole clip, which in a tower
      that sees one frame at a time is what sampling fewer frames would give.
    * Cosines are compared after rounding to twelve decimals; ties go to the earlier frame.
    """

    method: Method = field(default=Method(), kw_only=False)
    retention: float = Method.retention
    positions: str = Method.positions
    contribution_layer: int | None = Method.contribution_layer
    signal: str = Method.signal
    keep: int | None = None
    choose: str = "even"

    def __repr__(self) -> str:
        if self._whole:
            return text_without(self, ("method", "keep", "choose"))
        return f"Frames(method={self.method!r}, keep={self.keep!r}, choose={self.choose!r})"

    def __post_init__(self) -> None:
        Method.__post_init__(self)
        check_one_of("choose", self.choose, ("even", "unlike"))
        if not self._whole:
            self._check_method()
            super().__post_init__()
        elif self.keep is not None:
            raise InputError(
                "Frames keeps as many whole frames as the retention asks for; give keep only with "
                "a method, as in Frames(VisionZip(), keep=8)"
            )

    def _check_method(self) -> None:
        """Raise ``InputError`` for a method that cannot be spent in a few frames."""
        check_method(self.method)
        name = type(self.method).__name__
        if not self.method.divisible or isinstance(self.method, Frames):
            raise InputError(
                f"{name} is about all frames of a clip, so Frames cannot choose some for it; put "
                f"it around Frames, or leave it out"
            )
        if not acts_outside(self.method):
            raise InputError(
                f"{name} drops nothing before the LLM that could be spent in a few frames; give a "
                f"method that does, such as VisionZip(), or write Then(Frames(...), {name}(...))"
            )
        if self.keep is None:
            raise InputError("say how many frames to choose, as in Frames(VisionZip(), keep=8)")
        check_whole("keep", self.keep, 1)
        for each in fields(Method):
            value = getattr(self, each.name)
            if value not in (each.default, getattr(self.method, each.name)):
                raise InputError(f"{each.name} is the method's own; give it to {name}, not Frames")

    @property
    def _whole(self) -> bool:
        return type(self.method) is Method

    def at(self, retention: float) -> Frames:
        if self._whole:
            return replace(self, retention=retention)
        return Frames(self.method.at(retention), keep=self.keep, choose=self.choose)

    @property
    def divisible(self) -> bool:
        return False

    def asked(self, grid: TokenGrid) -> int:
        return paper_budget(self.retention, grid) if self._whole else self.method.asked(grid)

    def budget(self, grid: TokenGrid) -> int:
        """Return B: the tokens of f whole frames, or what the method keeps of f frames."""
        if self._whole:
            return self._count(grid) * grid.per_frame
        method, part = self._within(grid)
        return method.budget(part)

    def remarks(self, grid: TokenGrid, entered: int) -> tuple[str, ...]:
        return Method.remarks(self, grid, entered)

    def _count(self, grid: TokenGrid) -> int:
        """Count the frames to choose."""
        if self._whole:
            return max(1, round_half_up(self.asked(grid) / grid.per_frame))
        return min(self.keep or 1, grid.frames)

    def _within(self, grid: TokenGrid) -> tuple[Method, TokenGrid]:
        """Return the method that spends the budget in the chosen frames, and their grid."""
        asked, count = self.asked(grid), self._count(grid)
        if asked < count:
            raise InputError(
                f"retention {self.retention:g} asks for {asked} of {grid.size} video tokens, fewer "
                f"than one for each of {count} frames; give a smaller keep or a larger retention"
            )
        part = frames_of(grid, count)
        return self.method.at(min(1.0, asked / part.size)), part

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        check_outside(tokens, contribution, grid)
        every = torch.arange(grid.size, device=tokens.device).view(grid.frames, -1)
        places = every[self._chosen(tokens, grid)].flatten()
        if self._whole:
            return Decision.keeping(places, grid.size)
        method, part = self._within(grid)
        found = method.outside(tokens[places], contribution[places], part)
        return joined([(places, found)], grid.size)

    def _chosen(self, tokens: Tensor, grid: TokenGrid) -> list[int]:
        """Return the frames that are kept, ascending."""
        count = self._count(grid)
        if self.choose == "even":
            return [(2 * i + 1) * grid.frames // (2 * count) for i in range(count)]
        unit = F.normalize(frame_means(tokens, grid.per_frame), dim=-1)
        cosine = settled(unit @ unit.T)
        chosen, closest = [0], cosine[0].clone()
        while len(chosen) < count:
            closest[chosen] = torch.inf
            chosen.append(int(closest.argmin()))
            closest = torch.maximum(closest, cosine[chosen[-1]])
        return sorted(chosen)
