"""The trace that most tests of pictures use."""

from __future__ import annotations

import numpy as np
import pytest
from handmade import build
from helpers.walking import fits

from stc_core import Trace
from stc_core.record.grid import TokenGrid


@pytest.fixture(scope="session")
def six_fates() -> Trace:
    """2 frames of 2 x 3 tokens, each fate at least once."""
    grid = TokenGrid(2, 2, 3, 40, 60)
    score = np.arange(12, dtype=np.float32) / 12
    relevance = np.full(12, np.nan, np.float32)
    relevance[[0, 1, 2, 5, 6]] = [0.9, 0.1, 0.8, 0.2, 0.3]
    return build(
        grid,
        kept=(0, 1, 5, 6),
        centers={2: (3, 4, 7)},
        ended={1: 0, 6: -1},
        contribution=score,
        relevance=relevance,
        seconds=np.array([0.0, 1.5]),
        baseline={"answer": "red", "costs": {}},
    )


# What says that something went wrong, wherever it stands.
WRONG = ".status.error:visible, .toast-body.error:visible, #workspace .ws-broken:visible"


@pytest.fixture(params=[(1440, 900, "light"), (390, 844, "dark")], ids=["wide", "phone"])
def walked(request, open_tab):
    """A page to walk over; in the end nothing is wider than it, and no error is shown."""
    width, height, theme = request.param
    phone = {"is_mobile": True, "has_touch": True} if width < 500 else {}
    tab = open_tab(width, height, theme, **phone)
    yield tab
    fits(tab.page)
    assert tab.page.locator(WRONG).all_inner_texts() == []
