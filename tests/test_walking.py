"""The order in which each thing follows each other one."""

from __future__ import annotations

from itertools import pairwise, permutations

import pytest
from helpers.walking import every_pair


@pytest.mark.parametrize("n", [2, 3, 8])
def test_each_ordered_pair_occurs_once(n):
    order = every_pair(range(n))
    assert sorted(pairwise(order)) == sorted(permutations(range(n), 2))
