"""Define types and limits of the arrays of a trace."""

from __future__ import annotations

import numpy as np

MAX_COMPONENTS = 16  # of the tokens before compression


def all_shares(array: np.ndarray) -> bool:
    """Tell whether all float16 are from 0 to 1 by their bits, 20 times faster than numpy compares.

    The bits of numbers from 0 on rise with the numbers; 0x3C00 is 1, 0x8000 is -0.
    """
    bits = array.view(np.uint16)
    return bool(((bits <= 0x3C00) | (bits == 0x8000)).all())


KINDS_OF_ARRAYS = {
    "fate": np.uint8, "target": np.int64, "weight": np.float32, "contribution": np.float32,
    "similarity": np.float32, "nearest": np.int64, "order": np.int64, "relevance": np.float32,
}  # fmt: skip
