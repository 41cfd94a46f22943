"""Find the retention at which a method costs as many FLOPs as another one."""

from __future__ import annotations

import bisect
from collections.abc import Callable

from stc_core.methods import Method
from stc_core.record.costs import layers_after, paper_flops
from stc_core.record.flops import LLMShape
from stc_core.record.grid import TokenGrid

Cost = Callable[[Method], float]

STEPS = 1000  # retentions that are tried: multiples of a thousandth
CLOSE = 0.05  # costs that differ by a smaller share are equal


def cost_on(shape: LLMShape, grid: TokenGrid) -> Cost:
    """Return the function that predicts the FLOPs of a method on one clip.

    In the paper's convention (``paper_flops``).

    Parameters
    ----------
    shape : LLMShape
        Of the decoder.
    grid : TokenGrid
        Of the clip.
    """

    def cost(method: Method) -> float:
        entered, layer = method.budget(grid), method.inside_layer(shape.layers)
        if layer is None:
            per_layer = [entered] * shape.layers
        else:
            per_layer = layers_after(layer, shape.layers, entered, method.inside_budget(entered))
        return paper_flops(per_layer, shape.hidden, shape.ffn)

    return cost


def costing_as(method: Method, other: Method, cost: Cost) -> Method | None:
    """Return the method with the least retention at which it costs as much as another one.

    None where its cost at that retention is not within 5 % of the other's: a method that lets all
    tokens into the first layers has a least cost, and few tokens have coarse steps.
    """
    wanted = cost(other)
    place = bisect.bisect_left(range(1, STEPS), wanted, key=lambda n: cost(method.at(n / STEPS)))
    found = method.at((place + 1) / STEPS)
    return found if abs(cost(found) / wanted - 1) <= CLOSE else None
