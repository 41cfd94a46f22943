"""STTM against a slow reference: pyramids by recursion, groups by walking along the joints."""

import itertools
import math

import numpy as np
import pytest
import torch
from references import cosine
from token_clips import ADVERSARIAL, RETENTIONS, clip, compare

from stc_core.methods.sttm import STTM, Tree, connected
from stc_core.record.grid import TokenGrid


def mean(rows):
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def pyramid(frame, rows, cols):
    """Levels of {(r, c): (mean, cells, lowest cosine to the four children, the children)}."""
    level = {
        (r, c): (frame[r * cols + c], [r * cols + c], math.inf, [])
        for r in range(rows)
        for c in range(cols)
    }
    levels = [level]
    while min(rows, cols) > 1:
        top, left, found = rows % 2, cols % 2, {}
        for r, c in itertools.product(range(rows // 2), range(cols // 2)):
            names = [(top + 2 * r + i, left + 2 * c + j) for i in (0, 1) for j in (0, 1)]
            node = mean([level[name][0] for name in names])
            least = min(round(cosine(level[name][0], node), 12) for name in names)
            cells = sorted(cell for name in names for cell in level[name][1])
            found[r, c] = (node, cells, least, names)
        rows, cols, level = rows // 2, cols // 2, found
        levels.append(level)
    return levels


def nodes_at(levels, tau):
    """The nodes [(mean, cells)] of a frame that are not split."""
    out = []

    def walk(depth, name):
        node, cells, least, names = levels[depth][name]
        if least >= tau:
            out.append((node, cells))
        else:
            for child in names:
                walk(depth - 1, child)

    for depth in reversed(range(len(levels))):
        held = set()
        if depth + 1 < len(levels):
            held = {child for node in levels[depth + 1].values() for child in node[3]}
        for name in levels[depth]:
            if name not in held:
                walk(depth, name)
    return out


def groups_at(pyramids, n, tau):
    """{first token: tokens} of the groups."""
    nodes = [
        (t, node, cells)
        for t, levels in enumerate(pyramids)
        for node, cells in nodes_at(levels, tau)
    ]
    parent = list(range(len(nodes)))

    def top(i):
        while parent[i] != i:
            i = parent[i]
        return i

    for i, j in itertools.combinations(range(len(nodes)), 2):
        (t, a, here), (u, b, there) = nodes[i], nodes[j]
        nested = set(here) <= set(there) or set(there) <= set(here)
        if abs(t - u) == 1 and nested and round(cosine(a, b), 12) >= tau:
            parent[top(i)] = top(j)
    found = {}
    for i, (t, _, cells) in enumerate(nodes):
        # the corner of a node comes first, so that of the earliest node does
        found.setdefault(top(i), []).append((t * n + cells[0], [t * n + c for c in cells]))
    return {
        min(c for c, _ in part): sum((cells for _, cells in part), []) for part in found.values()
    }


def reference(tokens, contribution, grid, budget):
    n = grid.per_frame
    frames = [tokens[t * n : (t + 1) * n] for t in range(grid.frames)]
    pyramids = [pyramid(frame, grid.rows, grid.cols) for frame in frames]
    low, high = -1.0, 2.0
    best = groups_at(pyramids, n, low)
    if len(best) < budget:
        best = groups_at(pyramids, n, high)
        for _ in range(45):
            middle = (low + high) / 2
            found = groups_at(pyramids, n, middle)
            if len(found) >= budget:
                high, best = middle, found
            else:
                low = middle
    gone = sorted(best, key=lambda r: (len(best[r]), -r))[: len(best) - budget]
    center = {root: mean([tokens[i] for i in members]) for root, members in best.items()}
    stays = sorted(set(best) - set(gone))
    target = [-1] * grid.size
    for root, members in best.items():
        to = root
        if root in gone:
            to = max(stays, key=lambda s: (round(cosine(center[root], center[s]), 12), -s))
        for i in members:
            target[i] = to
    fate = [
        "MERGED" if target[i] != i else "CENTER" if target.count(i) > 1 else "KEPT"
        for i in range(grid.size)
    ]
    return fate, target, None


def referring(method):
    def decide(tokens, contribution, grid):
        return reference(tokens, contribution, grid, method.budget(grid))

    return decide


@pytest.mark.parametrize("shape", [(4, 4, 4), (5, 3, 5), (3, 2, 6), (6, 1, 4)])
@pytest.mark.parametrize("retention", [0.05, 0.2, 0.5])
def test_random_clips(shape, retention):
    method = STTM(retention=retention)
    compare(method, *clip(sum(shape), *shape), referring(method))


@pytest.mark.parametrize("case", ADVERSARIAL)
@pytest.mark.parametrize("retention", RETENTIONS)
def test_adversarial_clips(case, retention):
    method = STTM(retention=retention)
    compare(method, *ADVERSARIAL[case], referring(method))


@pytest.mark.parametrize("tau", [0.2, 0.7, 0.95, 2.0])
@pytest.mark.parametrize("shape", [(3, 5, 7), (4, 4, 4)])
def test_the_groups_of_a_threshold(tau, shape):
    tokens, _, grid = clip(11, *shape)
    n = grid.per_frame
    rows = [tokens[t * n : (t + 1) * n].tolist() for t in range(grid.frames)]
    expected = groups_at([pyramid(frame, grid.rows, grid.cols) for frame in rows], n, tau)
    found = Tree(tokens, grid).groups(tau)
    assert {r: (found == r).nonzero().flatten().tolist() for r in found.unique().tolist()} == {
        r: sorted(members) for r, members in expected.items()
    }


def test_a_still_quarter_is_one_token_for_the_whole_clip():
    """And what differs stays by itself: nothing of it is mixed into the quarter's mean."""
    rng = np.random.default_rng(4)
    frames = rng.normal(size=(5, 4, 4, 6))
    frames[:, :2, :2] = rng.normal(size=6)
    method, grid = STTM(retention=61 / 80), TokenGrid(5, 4, 4)
    decision = method.outside(torch.from_numpy(frames.reshape(80, 6)), torch.ones(80), grid)
    quarter = (decision.target == 0).nonzero().flatten().tolist()
    assert quarter == [16 * t + p for t in range(5) for p in (0, 1, 4, 5)]
    assert len(decision.survivors) == 61


@pytest.mark.parametrize("scale", [2.0**-13, 1e-4, 1e4])
def test_the_scale_of_features_decides_nothing(scale):
    tokens, contribution, grid = clip(3, 6, 4, 4)
    one, other = (
        STTM(retention=0.2).outside(x, contribution, grid) for x in (tokens, scale * tokens)
    )
    assert torch.equal(one.target, other.target)


def test_connected_numbers():
    a, b = torch.tensor([5, 1, 2, 8]), torch.tensor([1, 2, 7, 9])
    assert connected(a, b, 10).tolist() == [0, 1, 1, 3, 4, 1, 6, 1, 8, 8]
    chain = torch.arange(99)
    assert connected(chain, chain + 1, 100).eq(0).all()
    assert connected(chain[:0], chain[:0], 3).tolist() == [0, 1, 2]


def test_tensors_that_do_not_belong_together():
    with pytest.raises(ValueError, match="do not belong together"):
        STTM().outside(torch.ones(4, 3), torch.ones(3), TokenGrid(1, 2, 2))
