"""Edits of a decision by hand, against a slow reference and on a model."""

import dataclasses

import numpy as np
import pytest
import torch
from helpers.masked import generate, masked_logits
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs import clip_frames, prompt
from references import means
from token_clips import clip

from stc_core import METHODS, STC, Decision, Edited, InputError, Method, TokenGrid, compress
from stc_core.record.stages import Fate

PLAIN = [STC(retention=0.3), METHODS["fastvid"](retention=0.3), METHODS["evs"](retention=0.6)]
FATES = ("fate", "target", "weight")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weighted(Method):
    """Everything in threes, merged with weights; of the last three all is dropped, weights too."""

    def outside(self, tokens, contribution, grid):
        n = len(tokens)
        places = torch.arange(n)
        target = places // 3 * 3
        fate = torch.where(places == target, int(Fate.CENTER), int(Fate.MERGED))
        weight = 1.0 + places % 3
        fate[-3:], target[-3:], weight[-3:] = int(Fate.DROPPED), -1, torch.nan
        return Decision.of(fate, target, weight)


def edited(fate, target, remove, add, only):
    """(fate names, target) after the edits, one token at a time."""
    n = len(fate)
    fate, target = list(fate), list(target)
    for i in range(n):
        carrier = target[i]
        if carrier < 0:
            continue
        out = carrier in remove or carrier in add or (only is not None and carrier not in only)
        if out:
            fate[i], target[i] = "DROPPED", -1
    for i in add:
        fate[i], target[i] = "KEPT", i
    return fate, target


def names(fate):
    return [Fate(int(value)).name for value in fate]


@settings(max_examples=120, deadline=None)
@given(data=st.data(), seed=st.integers(0, 2**31))
def test_edits_equal_the_reference(data, seed):
    tokens, contribution, grid = clip(seed, *data.draw(st.tuples(*[st.integers(1, 4)] * 3)))
    method = data.draw(st.sampled_from([*PLAIN, Weighted()]))
    if isinstance(method, Weighted) and grid.size < 6:
        method = PLAIN[0]
    before = method.outside(tokens, contribution, grid)
    survivors = before.survivors.tolist()
    some = st.sets(st.sampled_from(survivors))
    only = data.draw(st.none() | some)
    remove = data.draw(some) - (only or set())
    add = data.draw(st.sets(st.integers(0, grid.size - 1))) - remove - (only or set())
    fate, target = edited(names(before.fate), before.target.tolist(), remove, add, only)
    changed = Edited(method, remove, add, only)
    if max(target) < 0:
        with pytest.raises(InputError, match="leave no token"):
            changed.outside(tokens, contribution, grid)
        return
    after = changed.outside(tokens, contribution, grid)
    assert names(after.fate) == fate and after.target.tolist() == target
    assert after.survivors.tolist() == [i for i in range(grid.size) if target[i] == i]
    share = after.shares()
    for survivor in after.survivors.tolist():
        members = [i for i in range(grid.size) if target[i] == survivor]
        old = before.shares()[members]
        old = old / old.sum() if len(members) > 1 else torch.ones(1).double()
        torch.testing.assert_close(share[members], old)
    if before.weight is None:
        expected = means(tokens.tolist(), target)
        np.testing.assert_allclose(after.apply(tokens).numpy(), expected, atol=1e-12)
    else:
        rows = torch.stack(
            [(share[:, None] * tokens)[torch.tensor(target) == s].sum(0) for s in after.survivors]
        )
        torch.testing.assert_close(after.apply(tokens), rows)
    for survivor in add:
        row = after.apply(tokens)[after.survivors.tolist().index(survivor)]
        assert torch.equal(row, tokens[survivor])
    for name, values in before.notes.items():
        torch.testing.assert_close(after.notes[name], values, equal_nan=True)


def eight():
    """(method, tokens, contribution, grid): two clusters and a kept token, with indices known."""
    tokens, contribution, grid = clip(3, 2, 2, 3)
    return Weighted(), tokens, contribution, grid  # centers 0, 3, 6; 9, 10, 11 dropped


def test_a_member_taken_out_leaves_the_mean_of_the_others():
    method, tokens, *rest = eight()
    after = Edited(method, add=[1]).outside(tokens, *rest)
    assert after.target.tolist() == [0, 1, 0, 3, 3, 3, 6, 6, 6, -1, -1, -1]
    torch.testing.assert_close(after.apply(tokens)[0], (tokens[0] + 3 * tokens[2]) / 4)
    assert torch.equal(after.apply(tokens)[1], tokens[1])


def test_a_center_taken_as_itself_ends_its_cluster():
    method, tokens, *rest = eight()
    after = Edited(method, add=[3, 10]).outside(tokens, *rest)
    assert after.target.tolist() == [0, 0, 0, 3, -1, -1, 6, 6, 6, -1, 10, -1]
    assert names(after.fate)[3:6] == ["KEPT", "DROPPED", "DROPPED"]
    assert torch.equal(after.apply(tokens)[[1, 3]], tokens[[3, 10]])


def test_of_the_survivors_only_some_and_others_on_top():
    method, tokens, *rest = eight()
    after = Edited(method, only=[6], add=[4]).outside(tokens, *rest)
    assert after.target.tolist() == [-1, -1, -1, -1, 4, -1, 6, 6, 6, -1, -1, -1]
    after = Edited(method, only=[], add=[11]).outside(tokens, *rest)
    assert after.survivors.tolist() == [11]


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ({"remove": [12]}, "remove names token 12, but this clip has 0 to 11"),
        ({"add": [99]}, "add names token 99, but"),
        ({"only": [12]}, "only names token 12, but"),
        ({"remove": [1]}, "remove names token 1, which is none of the 3 that Weighted lets into"),
        ({"only": [9]}, "only names token 9, which is none of the 3"),
        ({"remove": [0, 3, 6]}, "leave no token"),
        ({"only": []}, "leave no token"),
    ],
)
def test_edits_that_do_not_fit_the_clip_are_one_sentence(edits, message):
    method, *rest = eight()
    with pytest.raises(InputError, match=message) as error:
        Edited(method, **edits).outside(*rest)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((STC, (1,)), "method to edit is needed"),
        (("stc",), "method to edit is needed"),
        ((Edited(STC(), [1]), (2,)), "put all edits into one"),
        ((STC(), [-1]), "remove must be indices from 0"),
        ((STC(), [0.5]), "remove must be indices"),
        ((STC(), "12"), "remove must be indices"),
        ((STC(), 3), "remove must be indices"),
        ((STC(), None), "remove must be indices"),
        ((STC(), [4], [5, 4]), "token 4 cannot be removed and stay"),
        ((STC(), [4], [], [4]), "token 4 cannot be removed and stay"),
    ],
)
def test_edits_that_are_none_are_refused_at_once(arguments, message):
    with pytest.raises(InputError, match=message):
        Edited(*arguments)


def test_an_edited_method_is_the_method_but_for_its_edits():
    method = METHODS["fastv"](retention=0.4, layer=1, positions="compact")
    changed = Edited(method, remove=np.array([7, 3, 3]), add=(5,))
    assert changed.remove == (3, 7) and changed.only is None
    names = {type(method).__name__: type(method), "Edited": Edited}
    assert eval(repr(changed), names) == changed
    assert hash(changed) == hash(Edited(method, (3, 7), (5,)))
    assert (changed.retention, changed.positions) == (0.4, "compact")
    assert changed.inside_layer(5) == 1 and changed.inside_budget(10) == 4
    grid = TokenGrid(2, 4, 4)
    assert changed.asked(grid) == changed.budget(grid) == 32
    assert dataclasses.replace(changed, remove=()).remove == ()
    assert Edited not in METHODS.values()


# --- on a model ----------------------------------------------------------------------------------

METHOD = STC(retention=0.4, layer=2, tau=0.99)


def run(tiny, method):
    model, processor = tiny
    with compress(model, method) as trace:
        out = generate(model, prompt(processor, clip_frames()))
    return out, trace.freeze()


def test_removing_nothing_changes_nothing_bit_for_bit(tiny):
    plain, before = run(tiny, METHOD)
    same, after = run(tiny, Edited(METHOD))
    assert all(torch.equal(a, b) for a, b in zip(plain.logits, same.logits, strict=True))
    for name in (*FATES, "similarity", "nearest", "order", "relevance", "contribution"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    assert after.notes == before.notes == () and after.method == repr(Edited(METHOD))


@torch.no_grad()
def test_an_edited_run_equals_the_masked_reference_and_says_what_was_edited(tiny):
    model, processor = tiny
    _, before = run(tiny, METHOD)
    outside = before.stage("outside")
    center = next(int(s) for s in outside.survivors if outside.fate[s] == Fate.CENTER)
    kept = next(int(s) for s in outside.survivors if outside.fate[s] == Fate.KEPT)
    merged = np.flatnonzero(outside.fate == Fate.MERGED)[:2]
    out, after = run(tiny, Edited(METHOD, remove=[kept], add=[center, *merged]))
    assert len(after.stage("outside").survivors) == len(outside.survivors) + 1
    assert after.target[kept] == -1
    assert after.notes == (
        "Edited by hand: STC let in 26 video tokens; 1 of them removed; 3 added as themselves; "
        "so 27 entered the LLM.",
    )
    inputs = prompt(processor, clip_frames())
    for step in (0, 5):
        ids = out.sequences[:, : inputs["input_ids"].shape[1] + step]
        logits, _ = masked_logits(model, inputs, after, ids)
        torch.testing.assert_close(out.logits[step][0], logits, atol=1e-5, rtol=1e-5)


def test_an_edit_that_does_not_fit_the_clip_leaves_the_model_clean(tiny):
    plain, _ = run(tiny, METHOD)
    with pytest.raises(InputError, match="but this clip has 0 to 63"):
        run(tiny, Edited(METHOD, add=[64]))
    again, _ = run(tiny, METHOD)
    assert torch.equal(plain.logits[-1], again.logits[-1])


def test_a_budget_that_a_method_misses_is_told_apart_from_the_edit(tiny):
    method = METHODS["evs"](retention=0.1)
    _, before = run(tiny, method)
    _, after = run(tiny, Edited(method, remove=[0]))
    assert after.notes[0] == before.notes[0] and "cannot meet every budget" in before.notes[0]
    assert after.notes[1].startswith("Edited by hand: EVS let in 16 video tokens; 1 of them")
    assert "so 15 entered" in after.notes[1] and len(after.notes) == 2
