"""Whoever has too much loses the oldest of it, and nobody else does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from viz.server.quota import PAGE, Ledger, Limits


def test_ones_own_oldest_goes_first():
    ledger = Ledger(Limits(2, 100, 10, 1000))
    ledger.add("theirs", "them", 90)
    for key in "abc":
        ledger.add(key, "me", 10)
        gone = ledger.excess("me")
    assert gone == ["a"] and ledger.used("me") == (2, 20) and ledger.used("them") == (1, 90)
    ledger.add("b", "me", 10)  # used again: now "c" is the oldest
    ledger.add("d", "me", 95)
    assert ledger.excess("me") == ["c", "b"]
    ledger.add("huge", "me", 500)  # what is shown stays, however large it is
    assert ledger.excess("me") == ["d"] and ledger.used("me") == (1, 500)


def test_many_small_things_of_one_push_out_no_others():
    ledger = Ledger(Limits(40, 1 << 20, 50, 1 << 30))
    for number in range(20):
        ledger.add(f"fresh {number}", f"visitor {number}", 10)
        assert ledger.excess(f"visitor {number}") == []
    for number in range(300):
        ledger.add(f"flood {number}", "flood", 1)
        assert all(key.startswith("flood") for key in ledger.excess("flood"))
    assert all(f"fresh {number}" in ledger for number in range(20))
    ledger.add("late", "late", 10)  # and whoever comes later finds room
    assert [key.split()[0] for key in ledger.excess("late")] == ["flood"]


def test_a_shared_thing_goes_with_its_last_owner():
    ledger = Ledger(Limits(1, 100, 10, 1000))
    ledger.add("shared", "me", 10)
    ledger.add("shared", "them", 10)
    ledger.add("mine", "me", 10)
    assert ledger.excess("me") == [] and ledger.owners("shared") == ["them"]
    ledger.add("theirs", "them", 10)
    assert ledger.excess("them") == ["shared"]


def test_room_is_made_before_something_comes():
    ledger = Ledger(Limits(2, 100, 10, 1000))
    ledger.add("a", "me", 60)
    assert ledger.excess("me", 30) == []
    ledger.add("b", "them", 1)
    assert ledger.excess("me", 50) == ["a"]


VISITORS = st.sampled_from([PAGE, "a", "b", "c"])


@given(st.lists(st.tuples(st.integers(0, 12), VISITORS, st.integers(0, 40)), max_size=60))
def test_limits_hold_and_what_came_last_stays(steps):
    limits = Limits(3, 60, 6, 120)
    ledger, there = Ledger(limits), {}
    for key, visitor, size in steps:
        key = str(key)
        ledger.add(key, visitor, size)
        there[key] = size
        before = {one: ledger.used(one) for one in ("a", "b", "c") if one != visitor}
        in_all = ledger.used()
        gone = ledger.excess(visitor)
        for one in gone:
            del there[one]
        assert ledger.used() == (len(there), sum(there.values())) and key in ledger
        count, total = ledger.used()
        assert count <= limits.things and (total <= limits.bytes or count == 1)
        if visitor != PAGE:
            count, total = ledger.used(visitor)
            assert count <= limits.own_things and (total <= limits.own_bytes or count == 1)
        if in_all[0] <= limits.things and in_all[1] <= limits.bytes:
            assert before == {one: ledger.used(one) for one in before}, "another one lost something"
