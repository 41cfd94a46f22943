"""Place tokens in two dimensions, so that tokens that are alike before compression lie close.

    positions = embedding(trace, how="pca")     # at once: the two leading components
    positions = embedding(trace, how="umap")    # seconds to minutes, and umap-learn

Both depend on nothing but the tokens: every method and ratio on one clip has the same positions.
"""

from __future__ import annotations

import numpy as np

from stc_core.errors import InputError
from stc_core.record.trace import Trace

NEIGHBOURS = 15  # of UMAP: larger values show more of the whole, smaller ones more detail
DISTANCE = 0.1  # least distance between points, in units of the picture
METRIC = "euclidean"
SEED = 7
MOST_FITTED = 8_000  # tokens; the others are placed by what these taught
MOST_TOKENS = 100_000  # a clip of 128 frames of 729 tokens has 93,312
LEAST_TOKENS = 16
CHUNK = 8_000  # tokens placed at once, so that memory does not grow with the clip


def embedding(trace: Trace, how: str = "umap") -> np.ndarray:
    """Return a place in two dimensions for every token; the same input gives the same places.

    Parameters
    ----------
    trace : Trace
        Recorded, so that it holds the tokens.
    how : str
        "pca": the two leading principal components, in the units of the tokens; a projection, so
        distances are never too long. "umap": neighbors stay neighbors, but neither distances nor
        sizes of groups mean anything.

    Returns
    -------
    (N, 2) float32

    Raises
    ------
    InputError
        The trace was not recorded, ``how`` is neither, or there are too few or too many tokens.
    """
    if trace.features is None:
        raise InputError(
            "this trace holds no features of its tokens; make it again with record=True"
        )
    if how == "pca":
        return pca(trace.features)
    if how == "umap":
        return umap(trace.features)
    raise InputError(f"an embedding is made by 'pca' or 'umap', not by {how!r}")


def pca(features: np.ndarray) -> np.ndarray:
    """Return (N, 2) float32: the first two of (N, c) components, zeros for a missing one."""
    positions = np.zeros((len(features), 2), np.float32)
    width = min(2, features.shape[1])
    positions[:, :width] = features[:, :width]
    return positions


def held(features: np.ndarray) -> list[float]:
    """Return the share of the variance that the first and the second component hold, 0 to 1."""
    variance = features.astype(np.float64).var(axis=0)
    shares = variance / (variance.sum() or 1.0)
    return [float(share) for share in np.pad(shares, (0, 1))[:2]]


def umap(features: np.ndarray) -> np.ndarray:
    """Return (N, 2) float32: UMAP of (N, c) principal components, started from the PCA.

    Above ``MOST_FITTED`` tokens it is fitted on a sample of so many, drawn with a fixed seed, and
    the others are placed among them. Importing umap-learn alone takes seconds. Raises
    ``InputError`` as ``check_size`` does.
    """
    count = len(features)
    check_size(count)
    from umap import UMAP

    x = np.pad(features, ((0, 0), (0, max(0, 2 - features.shape[1])))).astype(np.float32)
    chosen = np.ones(count, bool)
    if count > MOST_FITTED:
        chosen[:] = False
        chosen[np.random.default_rng(SEED).choice(count, MOST_FITTED, replace=False)] = True
    model = UMAP(
        n_neighbors=min(NEIGHBOURS, count - 1),
        min_dist=DISTANCE,
        metric=METRIC,
        init="pca",
        random_state=SEED,
        n_jobs=1,
    )
    positions = np.empty((count, 2), np.float32)
    positions[chosen] = model.fit_transform(x[chosen])
    rest = np.flatnonzero(~chosen)
    for start in range(0, len(rest), CHUNK):
        part = rest[start : start + CHUNK]
        positions[part] = model.transform(x[part])
    if not np.isfinite(positions).all():
        raise InputError("UMAP found no place for some tokens of this clip; the PCA has one")
    return positions


def check_size(count: int) -> None:
    """Raise ``InputError`` where there are too few or too many tokens for UMAP."""
    if not LEAST_TOKENS <= count <= MOST_TOKENS:
        raise InputError(
            f"UMAP is for {LEAST_TOKENS} to {MOST_TOKENS} tokens, and this clip has {count}; the "
            "PCA is there for any number"
        )


def to_scale(positions: np.ndarray) -> np.ndarray:
    """Return (N, 2) uint16 for the browser: the same picture, its longer side 0 to 65535."""
    moved = positions.astype(np.float64) - positions.min(axis=0)
    return np.rint(moved * (65535 / (moved.max() or 1.0))).astype(np.uint16)
