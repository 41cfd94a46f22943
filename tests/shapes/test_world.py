"""The world: the same scene on every run, true evidence, fair and unambiguous questions."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stc_core.shapes import (
    DEVELOPMENT_SEEDS,
    HELD_OUT_SEEDS,
    KINDS,
    TRAIN_SEEDS,
    WORLD,
    World,
    make_clip,
)
from stc_core.shapes.world.drawing import coverage, fronts
from stc_core.shapes.world.questions import (
    DOES,
    MOVES,
    NOUNS,
    NOWHERE,
    NUMBERS,
    PHRASINGS,
    UNANSWERABLE,
    VERBS,
    ask,
    words,
)
from stc_core.shapes.world.scenes import (
    BACKGROUNDS,
    BLINKING,
    CIRCLING,
    COLORS,
    FILLS,
    GROWING,
    HEADINGS,
    MOTIONS,
    PAN_MOST,
    SHAPES,
    SIZES,
    STILL,
    distances,
    frame_times,
    make_scene,
)

SEEDS = st.integers(0, 2**40)
TIMES = frame_times(32)


def questions_of(seed: int, frames: int = 32, world: World = WORLD):
    """(scene, questions) of a seed, without drawing a picture."""
    scene, times = make_scene(seed, world), frame_times(frames)
    return scene, ask(scene, world, times, coverage([scene], times, 7, 7)[0].numpy())


@pytest.fixture(scope="module")
def many():
    return [questions_of(seed) for seed in range(1200)]


def test_the_world_is_rich():
    assert len(SHAPES) >= 8 and len(COLORS) >= 8 and len(SIZES) == 2 and len(FILLS) == 2
    assert len(BACKGROUNDS) >= 5 and len(KINDS) >= 10 and WORLD.objects == (1, 5)
    assert {STILL, *HEADINGS, CIRCLING, GROWING, BLINKING} == set(MOTIONS)


# Pinned: a change of any pixel or word makes the shipped weights' numbers incomparable.
@pytest.mark.parametrize(
    ("seed", "frames", "size"),
    [(0, 32, 112), (1, 8, 112), (2_000_000_000, 16, 112), (3, 4, (90, 160))],
)
def test_a_seed_gives_the_same_clip_on_every_machine(seed, frames, size):
    clip = make_clip(seed, frames, size)
    told = repr([(q.kind, q.text, q.answer, q.evidence.tolist()) for q in clip.questions])
    found = hashlib.sha256(clip.frames.tobytes() + told.encode()).hexdigest()[:16]
    assert found == PINNED[seed]


PINNED = {
    0: "27337af1c18e1f0a",
    1: "23dd3af14b85e2d0",
    2_000_000_000: "f43118b2200b4100",
    3: "f01d479781cd44c2",
}


def test_all_that_a_seed_gives_is_repeated():
    for seed in range(20):
        (first, asked), (second, again) = questions_of(seed), questions_of(seed)
        assert first == second and asked == again
        for a, b in zip(asked, again, strict=True):
            np.testing.assert_array_equal(a.evidence, b.evidence)


def test_splits_do_not_share_a_seed():
    splits = sorted((TRAIN_SEEDS, DEVELOPMENT_SEEDS, HELD_OUT_SEEDS), key=lambda r: r.start)
    for earlier, later in zip(splits, splits[1:], strict=False):
        assert earlier.stop <= later.start


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from([0.6, 1.0, 1.7]))
def test_things_are_different_and_hide_each_other_only_in_passing(seed, aspect):
    scene = make_scene(seed, aspect=aspect)
    low, high = WORLD.objects
    assert low <= len(scene.things) <= high
    looks = {(t.shape, t.color, t.fill, t.size) for t in scene.things}
    assert len(looks) == len(scene.things)
    assert [t.depth for t in scene.things] == sorted(t.depth for t in scene.things)
    for i, a in enumerate(scene.things):
        for b in scene.things[:i]:
            both = a.there(TIMES) & b.there(TIMES)
            far = distances(a, b, TIMES[both], aspect)
            if (far <= 0.75).any():  # one passes the other, which rests
                mover, rest = (a, b) if a.goes else (b, a)
                assert mover.goes and rest.motion == STILL and mover.size == "small"


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from([0.6, 1.0, 1.7]))
def test_what_does_not_cross_the_border_stays_whole_in_the_frame(seed, aspect):
    scene = make_scene(seed, replace(WORLD, entering=0.0), aspect)
    assert (np.abs(scene.pan(TIMES)) <= PAN_MOST).all()
    assert (np.abs(scene.light(TIMES) - 1) <= WORLD.drift + 1e-4).all()
    for thing in scene.things:
        radii = thing.radii(TIMES)[:, None] * [min(1, 1 / aspect), min(1, aspect)]
        places = scene.places(thing, TIMES)
        if all(distances(thing, t, TIMES, aspect).min() > 0.75 for t in scene.things if t != thing):
            assert (places >= radii - 1e-4).all() and (places <= 1 - radii + 1e-4).all()


def test_things_appear_move_circle_grow_blink_cross_borders_and_vanish(many):
    things = [thing for scene, _ in many for thing in scene.things]
    assert {t.motion for t in things} == set(MOTIONS)
    assert any(t.appears > 0.1 for t in things) and any(t.vanishes < 0.9 for t in things)
    assert any(scene.pans for scene, _ in many) and not all(scene.pans for scene, _ in many)
    there = [(thing, thing.places(TIMES)[thing.there(TIMES)]) for thing in things]
    outside = [thing for thing, places in there if (places < 0).any() or (places > 1).any()]
    assert outside and all(thing.goes for thing in outside)
    for thing in things:
        moments = TIMES[(thing.appears <= TIMES) & (thing.vanishes > TIMES)]
        moved = np.ptp(thing.places(TIMES), axis=0).max()
        if thing.goes:
            assert thing.appears <= thing.departs < thing.stops <= thing.vanishes + 1e-9
            ends = thing.places(np.array([thing.departs, thing.stops]))
            step = (ends[1] - ends[0]) / thing.reach
            np.testing.assert_allclose(step, HEADINGS[thing.motion], atol=1e-3)
        elif thing.motion == CIRCLING:
            away = np.hypot(*(thing.places(TIMES) - thing.start).T)
            np.testing.assert_allclose(away, abs(thing.reach), atol=1e-3)
        else:
            assert moved == 0
        if thing.motion == GROWING and len(moments) > 1:
            assert (np.diff(thing.radii(moments)) > 0).all()
        if thing.motion == BLINKING:
            assert 0.3 < thing.there(moments).mean() < 0.8
        if thing.flashes:
            assert 1 <= thing.there(TIMES).sum() <= 2


def test_the_same_scene_at_another_length_and_size():
    short, long = make_clip(11, 8, 64), make_clip(11, 32, 112)
    assert short.scene == long.scene
    assert short.frames.shape == (8, 64, 64, 3) and long.frames.shape == (32, 112, 112, 3)


def test_a_flash_and_a_blink_are_seen_at_any_number_of_frames():
    for frames in (4, 8, 16, 32):
        world = replace(WORLD, flashing=1.0, objects=(2, 3)).at_pace(frames)
        for seed in range(30):
            scene = make_scene(seed, world)
            flashing = [t for t in scene.things if t.flashes]
            assert all(1 <= t.there(frame_times(frames)).sum() <= 2 for t in flashing)


# Questions -----------------------------------------------------------------------------------


def named(scene, text: str) -> list:
    """The things that fit all the property words of a text."""
    said = text.replace("?", "").replace(",", "").split()
    found = []
    for thing in scene.things:
        look = {"shape": thing.shape, "color": thing.color, "fill": thing.fill, "size": thing.size}
        known = {"shape": SHAPES, "color": tuple(COLORS), "fill": FILLS, "size": SIZES}
        if all(w == look[p] for p, values in known.items() for w in said if w in values):
            found.append(thing)
    return found


def first_seen(scene, thing, frames=32) -> int:
    front = fronts([scene], frame_times(frames), 84, 84)[0].numpy()
    return int(np.argmax((front == scene.things.index(thing)).any(axis=(1, 2))))


def test_questions_name_exactly_one_thing_and_their_answers_are_true(many):
    for scene, asked in many[:500]:
        for q in asked:
            if q.kind in ("color", "shape", "place", "direction", "motion", "behind"):
                (thing,) = named(scene, q.text)
            if q.kind in ("color", "shape"):
                assert q.answer == getattr(thing, q.kind)
            elif q.kind == "direction":
                assert q.answer == (thing.motion if thing.goes else NOWHERE)
            elif q.kind == "motion":
                assert q.answer == (MOVES if thing.goes else DOES[thing.motion])
            elif q.kind == "exists":
                assert (q.answer == "yes") == bool(named(scene, q.text))
            elif q.kind == "flash":
                (thing,) = [t for t in scene.things if t.flashes]
                assert q.answer == f"{thing.color} {thing.shape}"
            elif q.kind == "look":
                text = q.text.split(" a " if " a " in q.text else q.choices[0])[0]
                kind = "size" if q.answer in SIZES else "fill"
                (thing,) = named(scene, text.rsplit(q.choices[0], 1)[0])
                assert q.answer == getattr(thing, kind) and set(q.choices) in ({*SIZES}, {*FILLS})
            elif q.kind == "order":
                one, two = (named(scene, choice)[0] for choice in q.choices)
                if one.goes or two.goes:
                    continue  # what comes in over the border counts once it shows clearly
                early = one if first_seen(scene, one) < first_seen(scene, two) else two
                assert q.answer == f"{early.color} {early.shape}"
            elif q.kind == "behind":
                (mover,) = named(scene, q.answer)
                assert mover.goes and scene.things.index(mover) < scene.things.index(thing)
                assert distances(mover, thing, TIMES, 1.0).min() < 0.5
            elif q.kind == "count" and not scene.pans:
                front = fronts([scene], TIMES, 112, 112)[0].numpy()
                seen = [k for k in range(len(scene.things)) if (front == k).any()]
                assert q.answer == NUMBERS[len(seen)]


def test_what_came_after_is_the_next_event(many):
    checked = 0
    for scene, asked in many[:400]:
        for q in (q for q in asked if q.kind == "after"):
            (mark,), (thing,) = named(scene, q.text), named(scene, q.answer)
            if mark.motion == STILL and thing.motion == STILL and not scene.pans:
                appears = "vanished?" in q.text
                moment = mark.vanishes if appears else mark.appears
                event = thing.appears if appears else thing.vanishes
                assert event > moment - 1 / 32
                checked += 1
    assert checked > 20


def test_place_is_where_the_thing_is_first_seen(many):
    for scene, asked in many[:300]:
        for q in (q for q in asked if q.kind == "place"):
            (thing,) = named(scene, q.text)
            frames = np.unique(q.evidence[:, 0])
            assert len(frames) == 1
            x, y = scene.places(thing, TIMES[frames])[0]
            said = set(q.answer.split())
            assert ("left" in said) == (x < 1 / 3) and ("right" in said) == (x > 2 / 3)
            assert ("top" in said) == (y < 1 / 3) and ("bottom" in said) == (y > 2 / 3)
            assert (said == {"middle"}) == (1 / 3 < x < 2 / 3 and 1 / 3 < y < 2 / 3)


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from([1, 2, 8, 16]))
def test_evidence_is_sorted_inside_the_grid_and_there_when_something_is(seed, frames):
    scene, times = make_scene(seed), frame_times(frames)
    share = coverage([scene], times, 4, 6)[0].numpy()
    for q in ask(scene, WORLD, times, share):
        assert q.evidence.shape[1] == 3
        assert (q.evidence >= 0).all() and (q.evidence < [frames, 4, 6]).all()
        assert q.evidence.tolist() == sorted(q.evidence.tolist())
        assert (len(q.evidence) == 0) == (q.answer in ("no", UNANSWERABLE))
        seen = share.sum(axis=0)[tuple(q.evidence.T)]
        assert (seen > 0).all()


def test_evidence_of_one_thing_is_where_its_pixels_are(many):
    for scene, asked in many[:60]:
        front = fronts([scene], TIMES, 112, 112)[0].numpy()
        for q in (q for q in asked if q.kind == "color"):
            (thing,) = named(scene, q.text)
            mask = front == scene.things.index(thing)
            shares = mask.reshape(32, 7, 16, 7, 16).mean(axis=(2, 4))
            evident = np.zeros_like(shares, dtype=bool)
            evident[tuple(q.evidence.T)] = True
            assert (shares[evident] > 0).all()
            often = mask.sum(axis=(1, 2)) > 0.6 * mask.sum(axis=(1, 2)).max()
            assert evident[often][shares[often] > 0.4].all()


def test_evidence_reaches_from_a_thousandth_to_a_third_of_the_clip(many):
    shares = np.array([len(q.evidence) / (32 * 49) for _, asked in many for q in asked])
    shares = shares[shares > 0]
    assert shares.min() <= 0.0013 and shares.max() >= 0.3


def test_answers_are_balanced(many):
    """Who always says the most common answer of a kind is not much better than chance."""
    answers = {kind: Counter() for kind in KINDS}
    for _, asked in many:
        for q in asked:
            answers[q.kind][q.answer] += 1
    most = {
        "color": 0.16,
        "shape": 0.16,
        "look": 0.31,
        "exists": 0.505,
        "count": 0.25,
        "place": 0.18,
        "direction": 0.26,
        "motion": 0.40,
        "unanswerable": 1.0,
    }
    for kind, counted in answers.items():
        assert max(counted.values()) / counted.total() <= most.get(kind, 0.07), (kind, counted)


def test_choices_that_a_question_offers_are_right_equally_often(many):
    places = {kind: Counter() for kind in ("look", "order")}
    for _, asked in many:
        for q in asked:
            if q.kind in places:
                assert q.text.index(q.choices[0]) < q.text.rindex(q.choices[1])
                places[q.kind][q.choices.index(q.answer)] += 1
    for counted in places.values():
        assert 0.46 < counted[0] / counted.total() < 0.54


def test_yes_and_no_cannot_be_told_from_the_words(many):
    asked = Counter()
    for _, questions in many:
        for q in questions:
            if q.kind == "exists":
                for word in q.text.replace("?", "").split():
                    asked[word, q.answer] += 1
    for word in (*SHAPES, *COLORS):
        yes, no = asked[word, "yes"], asked[word, "no"]
        assert 0.36 < yes / (yes + no) < 0.64, word


def test_every_kind_is_asked_in_every_phrasing(many):
    texts = {q.text for _, asked in many for q in asked}
    for phrasings in PHRASINGS.values():
        for phrasing in phrasings:
            start, end = phrasing.split("{")[0], phrasing.split("}")[-1]
            assert any(t.startswith(start) and t.endswith(end) for t in texts), phrasing


def test_every_word_is_in_the_vocabulary_but_those_of_other_worlds(many):
    known = set(words())
    assert not known & {*NOUNS, *VERBS}
    for _, asked in many:
        for q in asked:
            said = q.text.replace("?", " ?").replace(",", " ,").replace(" an ", " a ").split()
            assert set(q.answer.split()) <= known
            assert q.kind == UNANSWERABLE or set(said) <= known


def test_unanswerable_questions_ask_for_what_is_not_there(many):
    for scene, asked in many[:300]:
        for q in (q for q in asked if q.kind == UNANSWERABLE):
            assert q.answer == UNANSWERABLE and not len(q.evidence)
            strange = {*NOUNS, *VERBS} & set(q.text.replace("?", "").split())
            assert strange or not named(scene, q.text.split(" small or")[0].split(" solid or")[0])


def test_distractors_look_like_what_is_asked_for(many):
    def alike(a, b):
        return sum(getattr(a, p) == getattr(b, p) for p in ("shape", "color", "fill", "size"))

    pairs = [
        max(alike(a, b) for a in scene.things for b in scene.things if a is not b)
        for scene, _ in many
        if len(scene.things) > 1
    ]
    assert np.mean(np.array(pairs) == 3) > 0.3


# Bad input -----------------------------------------------------------------------------------


HUGE = (0.45, 0.45)  # radius: one such thing takes most of a frame


@pytest.mark.parametrize(
    "arguments",
    [
        {"seed": -1},
        {"seed": 0, "frames": 0},
        {"seed": 0, "frames": 257},
        {"seed": 0, "size": 8},
        {"seed": 0, "size": (80, 4)},
        {"seed": 0, "grid": (0, 5)},
        {"seed": 0, "frames": 1, "grid": (1, 3), "world": replace(WORLD, objects=(6, 6))},
        {"seed": 0, "world": replace(WORLD, objects=(6, 6), always=1.0, small=HUGE, large=HUGE)},
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(arguments):
    with pytest.raises(ValueError) as error:
        make_clip(**arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "knobs", [{"objects": (0, 3)}, {"objects": (3, 2)}, {"shapes": ("blob",)}, {"colors": ()}]
)
def test_bad_worlds_are_refused_in_one_sentence(knobs):
    with pytest.raises(ValueError) as error:
        replace(WORLD, **knobs)
    assert "\n" not in str(error.value)
