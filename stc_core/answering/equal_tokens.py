"""Let the frames that were chosen keep as many video tokens as uniform ones would.

A method's ``retention`` is a share of the tokens of a clip. Where frames are chosen, what is meant
is the share of the clip's usual tokens: those of as many uniform frames as the model reads by
default. The method is used at the retention at which it keeps as many of the tokens that there are.
"""

from __future__ import annotations

import bisect

from stc_core.answering.frame_selection import Chosen
from stc_core.methods import Method
from stc_core.models.memory import merge_of
from stc_core.models.processors import grid_of_video
from stc_core.models.vlm import VLM
from stc_core.record.grid import TokenGrid

__all__ = ["at_equal_tokens", "grid_of_size", "tokens_left", "with_usual_budget"]

RETENTIONS = 10**6  # retentions that are tried: multiples of a millionth


def with_usual_budget(vlm: VLM, method: Method, chosen: Chosen) -> tuple[Method, str]:
    """Return the method that keeps as many tokens as of uniform frames, and a sentence on it.

    Parameters
    ----------
    vlm : VLM
    method : Method
        As it was asked for.
    chosen : Chosen
        The frames.
    """
    depth = len(vlm.model.get_decoder().layers)
    shown, size = len(chosen.video.frames), chosen.video.frames.shape[1:3]
    usual, grid = (grid_of_size(vlm, frames, size) for frames in (chosen.usual, shown))
    found = at_equal_tokens(method, usual, grid, depth)

    def budget(method: Method, grid: TokenGrid) -> str:
        entered, end = tokens_left(method, grid, depth)
        kept = end if entered == grid.size else entered  # some let all in and drop them later
        return f"{kept} of {grid.size} video tokens (retention {method.retention:g})"

    return found, (
        f"Frames chosen by content: looked at {chosen.looked_at}, without near-duplicates "
        f"{chosen.distinct}, shown {shown}. They keep {budget(found, grid)}, "
        f"where {chosen.usual} uniform frames keep {budget(method, usual)}."
    )


def at_equal_tokens(method: Method, usual: TokenGrid, grid: TokenGrid, depth: int) -> Method:
    """Return the method at the retention at which it keeps as many tokens of another grid.

    That is ``retention * usual.size / grid.size`` where rounding allows it, else the highest
    retention that keeps no more tokens, neither at the LLM's door nor in its last layer.

    Parameters
    ----------
    method : Method
    usual : TokenGrid
        On which the method's own retention counts.
    grid : TokenGrid
        Of the tokens that there are.
    depth : int
        Decoder layers.
    """
    if (usual.frames, usual.per_frame) == (grid.frames, grid.per_frame):
        return method
    allowed = tokens_left(method, usual, depth)

    def exceeds(millionths: int) -> bool:
        left = tokens_left(method.at(millionths / RETENTIONS), grid, depth)
        return any(tokens > most for tokens, most in zip(left, allowed, strict=True))

    highest = bisect.bisect_left(range(1, RETENTIONS + 1), True, key=exceeds)
    found = method.at(max(1, highest) / RETENTIONS)
    exact = round(min(1.0, method.retention * usual.size / grid.size), 6)
    plain = method.at(max(exact, 1 / RETENTIONS))
    same = tokens_left(plain, grid, depth) == tokens_left(found, grid, depth)
    return plain if same else found


def tokens_left(method: Method, grid: TokenGrid, depth: int) -> tuple[int, int]:
    """Count the video tokens that enter the LLM and that are in its last layer."""
    entered = method.budget(grid)
    inside = method.inside_layer(depth) is not None
    return entered, method.inside_budget(entered) if inside else entered


def grid_of_size(vlm: VLM, frames: int, size: tuple[int, int]) -> TokenGrid:
    """Return the grid of the video tokens of so many frames of (height, width) ``size``.

    As ``grid_of``, but without frames: where the processor chooses the grid, it is asked what it
    would do, and nothing is resized.
    """
    family, config = vlm.family, vlm.model.config
    step = family.step(config)
    if family.cell_shape is None:
        made = grid_of_video(vlm.processor.video_processor, family, step, frames, size)
        merge = merge_of(config)
        steps, rows, cols = made[0], made[1] // merge, made[2] // merge
    else:
        steps, (rows, cols) = -(-frames // step), family.cell_shape(config)
    return TokenGrid(steps, rows, cols, *size, family.seen(vlm.processor, *size))
