"""Run the vision tower once for each clip, however many methods then compress its tokens."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager

from stc_core.hooks.run_cache import RunCache
from stc_core.hooks.tower import vision
from stc_core.methods import Method
from stc_core.models.stock import StockModel


def vision_once(model: StockModel, methods: Iterable[Method] = ()) -> AbstractContextManager[None]:
    """Keep the vision features of clips while the context is open, instead of computing them again.

    Parameters
    ----------
    model : StockModel
    methods : iterable of Method
        Those that will be tried: what they read of the tower is kept from the first run on. The
        time of reading it anew stays part of the compression's time.
    """
    return vision(model, cache=RunCache(sys.maxsize), methods=methods)
