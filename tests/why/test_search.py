"""The search for the smallest set, on made-up answers whose needed tokens are planted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stc_core.why.search import Search

HOUR = 3600.0


def planted(needed: set[int]):
    """A test that all of ``needed`` passes; its probability grows with how many are there."""
    tried: list[tuple[int, ...]] = []

    def test(tokens: tuple[int, ...]) -> tuple[bool, float]:
        tried.append(tokens)
        return needed <= set(tokens), (1 + len(needed & set(tokens))) / (1 + len(needed))

    return test, tried


@settings(max_examples=200, deadline=None)
@given(order=st.permutations(range(40)), needed=st.sets(st.integers(0, 39), min_size=1, max_size=6))
def test_just_the_planted_tokens_are_found_in_any_order(order, needed):
    test, tried = planted(needed)
    search = Search(tuple(order)).run(test, HOUR)
    assert search.done and search.restored and set(search.best) == needed
    assert len(tried) == len(set(tried)) == len(search.tried)  # nothing is tried twice
    assert all(list(tokens) == sorted(tokens) for tokens in tried)


@settings(max_examples=50, deadline=None)
@given(order=st.permutations(range(30)), needed=st.sets(st.integers(0, 29), min_size=1, max_size=4),
       stops=st.lists(st.integers(1, 9), max_size=4))  # fmt: skip
def test_a_search_that_was_stopped_goes_on_to_the_same_end(order, needed, stops):
    whole = Search(tuple(order)).run(planted(needed)[0], HOUR)
    test, tried = planted(needed)
    search = Search(tuple(order))
    for count in stops:
        end = len(tried) + count

        def stopped(tokens, end=end):
            if len(tried) == end:
                raise KeyboardInterrupt
            return test(tokens)

        try:
            search.run(stopped, HOUR)
        except KeyboardInterrupt:
            assert not search.done and len(tried) == end
    search.run(test, HOUR)
    assert (search.best, search.tried) == (whole.best, whole.tried)
    assert len(tried) == len(whole.tried)


def test_time_is_kept_and_the_best_so_far_is_told():
    test, tried = planted({7, 8, 9})
    search = Search(tuple(range(20))).run(test, 0.0)
    assert not search.done and not tried and search.best == ()
    told = []
    search.run(test, HOUR, lambda *news: told.append(news))
    assert search.done and search.best == (7, 8, 9)
    assert told[0] == (0, False, 0) and told[-1][1] and [n for n, *_ in told] == [*range(len(told))]
    assert search.seconds > 0


def test_nothing_brings_it_back():
    search = Search((3, 1, 2)).run(planted({1, 5})[0], HOUR)
    assert search.done and not search.restored
    assert search.best == (1, 3)  # more of it than any other set that was tried
    assert Search(()).run(planted({1})[0], HOUR).done


@pytest.mark.parametrize("good", [{(0,), (0, 1), (0, 1, 2)}, {(0, 1, 2)}])
def test_answers_that_do_not_grow_with_the_set_still_end(good):
    """A model is no set function: more tokens may turn the answer again."""
    search = Search((0, 1, 2, 3)).run(lambda t: (t in good, 0.5), HOUR)
    assert search.done and (search.best in good or not search.restored)
