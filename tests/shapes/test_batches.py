"""Training batches: questions chosen fairly, and labels of what has happened that are true."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from stc_core.shapes import TRAIN_SEEDS, WORLD
from stc_core.shapes.model.batches import (
    CLEAR,
    EASY_KINDS,
    FRAME_EVENTS,
    IGNORED,
    LOOKS,
    TOKEN_EVENTS,
    TrainingStage,
    choose,
    draw_step,
    event_labels,
)
from stc_core.shapes.model.sizes import Size
from stc_core.shapes.world.questions import ask, seen
from stc_core.shapes.world.scenes import MOTIONS, distances

SIZE = Size(frame=56, patch=4)  # 7 x 7 tokens
STAGE = TrainingStage(
    "language", 1, 12, (8,), (1e-3, 1e-3), replace(WORLD, crossing=0.6, flashing=0.6)
)


@pytest.fixture(scope="module")
def drawn():
    return draw_step(STAGE, 1, 0, SIZE)


@pytest.fixture(scope="module")
def labels(drawn):
    return {name: values.numpy() for name, values in event_labels(drawn).items()}


def first_and_last(drawn, b):
    """Each thing of clip b with the first and the last frame in which it is clearly seen."""
    found = []
    for thing, share in zip(drawn.scenes[b].things, drawn.share[b], strict=False):
        frames = [*np.flatnonzero(seen(thing, drawn.times, share)[2])] or [None]
        found.append((thing, frames[0], frames[-1]))
    return found


def test_every_label_is_there_and_within_its_classes(drawn, labels):
    assert labels.keys() == TOKEN_EVENTS.keys() | FRAME_EVENTS.keys()
    for name, classes in {**TOKEN_EVENTS, **FRAME_EVENTS}.items():
        told = labels[name] != IGNORED
        assert labels[name].shape == ((12, 8, 49) if name in TOKEN_EVENTS else (12, 8))
        assert told.any() and ((labels[name] >= 0) & (labels[name] < classes))[told].all()


def test_frames_tell_how_many_came_and_who_came_and_went_last(drawn, labels):
    for b in range(12):
        things = first_and_last(drawn, b)
        for t in range(8):
            known = [(thing, f, last) for thing, f, last in things if f is not None]
            assert labels["count"][b, t] == sum(f <= t for _, f, _ in known)
            for name, events in (
                ("came", [(f, thing) for thing, f, _ in known if 0 < f <= t]),
                ("went", [(last, thing) for thing, _, last in known if last < t]),
                ("flash", [(last, x) for x, _, last in known if last < t and x.flashes]),
            ):
                newest = [thing for when, thing in events if when == max(w for w, _ in events)]
                for look in ("shape", "color"):
                    told = labels[f"{name}_{look}"][b, t]
                    if len(newest) == 1:
                        assert told == LOOKS[look].index(getattr(newest[0], look))
                    else:
                        assert told == IGNORED


def test_tokens_tell_what_is_new_what_is_gone_and_how_things_move(drawn, labels):
    for b, scene in enumerate(drawn.scenes):
        things = first_and_last(drawn, b)
        for t in range(8):
            for cell in range(49):
                share = drawn.share[b, : len(things), :, cell // 7, cell % 7]
                front = int(share[:, t].argmax())
                thing, first, _ = things[front]
                clear = share[front, t] >= CLEAR
                fresh, motion = labels["fresh"][b, t, cell], labels["motion"][b, t, cell]
                assert fresh == (int(first == t) if clear and t > 0 else IGNORED)
                known = clear and first is not None and t - first >= 2 and not scene.pans
                assert motion == (MOTIONS.index(thing.motion) if known else IGNORED)
                gone = IGNORED
                if t > 0 and share[:, t - 1].max() >= CLEAR:
                    gone = int(things[int(share[:, t - 1].argmax())][2] == t - 1)
                assert labels["gone"][b, t, cell] == gone


def test_what_a_token_hides_is_behind_it_and_near(drawn, labels):
    told = np.argwhere(labels["hides_shape"] != IGNORED)
    assert len(told)
    for b, t, cell in told:
        scene = drawn.scenes[b]
        front = int(drawn.share[b, : len(scene.things), t, cell // 7, cell % 7].argmax())
        behind = [
            thing
            for thing in scene.things[:front]
            if LOOKS["shape"].index(thing.shape) == labels["hides_shape"][b, t, cell]
            and LOOKS["color"].index(thing.color) == labels["hides_color"][b, t, cell]
        ]
        time = drawn.times[[t]]
        assert any(
            distances(thing, scene.things[front], time, scene.aspect)[0] < 0.8 for thing in behind
        )


def test_questions_are_one_of_each_kind_before_a_second_of_any(drawn):
    for scene, share in zip(drawn.scenes, drawn.share, strict=True):
        asked = ask(scene, WORLD.at_pace(8), drawn.times, share)
        kinds = Counter(q.kind for q in asked)
        chosen = choose(asked, len(kinds), scene.seed)
        assert Counter(q.kind for q in chosen) == Counter(dict.fromkeys(kinds, 1))
        assert len(choose(asked, 1000, scene.seed)) == len(asked)
        hard = [kind for kind in kinds if kind not in EASY_KINDS]
        late = choose(asked, len(hard), scene.seed, EASY_KINDS)
        assert {q.kind for q in late} == set(hard)


def test_training_never_reaches_the_seeds_of_another_split():
    first = draw_step(STAGE, 0, 0, SIZE).scenes[0].seed
    assert first == TRAIN_SEEDS.start
    with pytest.raises(ValueError, match="longer than the range"):
        draw_step(STAGE, 20, 0, SIZE)
