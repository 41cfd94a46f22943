"""Random parts of clips in training: drawn as promised, asked only what they can answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from stc_core.shapes.model.batches import (
    IGNORED,
    LONG_SHARE,
    VIEW_SEEDS,
    TrainingStage,
    choose,
    draw_step,
)
from stc_core.shapes.model.batches import stage_batches as batches_of
from stc_core.shapes.model.losses import language_loss, patch_features, project
from stc_core.shapes.model.question_turns import attend_by_turns
from stc_core.shapes.model.random_parts import (
    CLEAR,
    FULL,
    LEAST_SHARE,
    LEAST_TOKENS,
    LOOKS,
    PATHS,
    PATTERNS,
    VIEWS,
    Part,
    draw_part,
    part_of,
    still_answerable,
)
from stc_core.shapes.model.sizes import Size, build
from stc_core.shapes.world.questions import KINDS, Question, ask
from stc_core.shapes.world.scenes import WORLD, Dice

TINY = Size(
    frame=32, patch=4, vision_width=16, vision_layers=2, vision_heads=2, vision_ffn=16,
    width=32, layers=2, heads=2, kv_heads=1, ffn=32,
)  # fmt: skip
STAGE = TrainingStage(
    "language", 8, 2, (8,), (1e-3, 1e-3), replace(WORLD, objects=(1, 3)), parts=True
)
LONG = replace(STAGE, frames=(33,), steps=2)


# How a batch shows its clips


def test_a_quarter_of_the_batches_shows_whole_clips():
    whole = np.mean([part_of(seed) is None for seed in range(4000)])
    assert FULL == 0.25 and abs(whole - FULL) < 0.03  # four standard deviations


def test_shares_are_log_uniform_between_one_and_a_hundred_per_cent():
    drawn = [part_of(seed) for seed in range(4000)]
    shares = np.sort([part.share for part in drawn if part is not None])
    assert LEAST_SHARE == 0.01 and shares[0] >= 0.01 and shares[-1] <= 1.0
    at = (0.05, 0.25, 0.5, 0.75, 0.95)
    expected = [100 ** (q - 1) for q in at]  # the median is 10 %
    assert np.quantile(np.log(shares), at) == pytest.approx(np.log(expected), abs=0.15)


def test_patterns_are_drawn_alike_and_things_are_preferred_by_half_of_the_others():
    drawn = [part for part in map(part_of, range(4000)) if part is not None]
    counts = Counter(part.pattern for part in drawn)
    assert counts.keys() == set(PATTERNS)
    assert all(abs(n / len(drawn) - 1 / len(PATTERNS)) < 0.035 for n in counts.values())
    assert all(0.2 <= part.bonus <= 1 for part in drawn if part.pattern == "things")
    blind = [part.bonus == 0 for part in drawn if part.pattern != "things"]
    assert abs(np.mean(blind) - 0.5) < 0.05


def test_smaller_parts_are_drawn_more_often_from_each_clip():
    for part in filter(None, map(part_of, range(500))):
        expected = 6 if part.share <= 0.1 else 3 if part.share <= 0.25 else 2
        assert part.views == (expected if part.share <= 0.5 else 1)
    assert [bound for bound, _ in VIEWS] == [0.1, 0.25, 0.5]


def test_where_memory_is_short_no_batch_shows_whole_clips():
    for seed in range(500):
        part, free = part_of(seed, LONG_SHARE), part_of(seed)
        assert part is not None and part.share <= LONG_SHARE
        if free is not None:
            assert (part.share, part.pattern) == (min(free.share, LONG_SHARE), free.pattern)


def test_a_seed_decides_everything():
    assert [part_of(seed) for seed in range(50)] == [part_of(seed) for seed in range(50)]
    assert len({part_of(seed) for seed in range(50)}) > 30


# The tokens of a part


def painted(seed: int, things: int = 2, shape: tuple[int, ...] = (8, 7, 7)) -> np.ndarray:
    """Shares of cells (K, T, rows, cols): most cells are empty, some hold slivers."""
    dice = np.random.default_rng(seed)
    share = dice.random((things, *shape)) * (dice.random((things, *shape)) < 0.1)
    return share.astype(np.float32)


def slow_part(part: Part, seed: int, view: int, share: np.ndarray) -> list[int]:
    """The same draws, cell by cell: every cell gets a number, the highest are taken."""
    _, frames, rows, cols = share.shape
    dice = Dice(seed, 16 + view)
    if part.pattern == "frames":
        noise = dice.uniform(frames)
    elif part.pattern == "blocks":
        long, side = dice.integer(2, 8), dice.integer(2, 3)
        noise = dice.uniform(-(-frames // long), -(-rows // side), -(-cols // side))
    else:
        noise = dice.uniform(frames, rows, cols)
    ties = dice.uniform(frames, rows, cols)
    scores = []
    for t in range(frames):
        for y in range(rows):
            for x in range(cols):
                if part.pattern == "frames":
                    score = noise[t]
                elif part.pattern == "blocks":
                    score = noise[t // long, y // side, x // side]
                else:
                    score = noise[t, y, x]
                if any(thing[t, y, x] >= CLEAR for thing in share):
                    score += part.bonus
                scores.append(score + 1e-6 * ties[t, y, x])
    count = min(len(scores), max(LEAST_TOKENS, round(part.share * len(scores))))
    return sorted(sorted(range(len(scores)), key=lambda i: -scores[i])[:count])


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("bonus", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("amount", [0.001, 0.02, 0.3, 1.0])
def test_a_part_is_what_cell_by_cell_drawing_gives(pattern, bonus, amount):
    part = Part(amount, pattern, bonus, 2)
    for seed in range(3):
        share = painted(seed)
        for view in range(part.views):
            drawn = draw_part(part, seed, view, share)
            assert drawn.dtype == np.int64 and drawn.tolist() == slow_part(part, seed, view, share)
            assert len(drawn) == max(8, round(amount * 392))
            assert (np.diff(drawn) > 0).all() and drawn[0] >= 0 and drawn[-1] < 392
            assert (draw_part(part, seed, view, share) == drawn).all()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_views_and_clips_have_parts_of_their_own(pattern):
    share = painted(0, shape=(32, 7, 7))
    part = Part(0.1, pattern, 0.3, 6)
    drawn = {tuple(draw_part(part, seed, view, share)) for seed in (1, 2) for view in range(6)}
    assert len(drawn) == 12


def test_a_clip_with_fewer_tokens_than_the_least_part_is_shown_whole():
    drawn = draw_part(Part(0.01, "cells", 0.0, 1), 3, 0, painted(0, shape=(1, 2, 2)))
    assert drawn.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("amount", [0.05, 0.3, 0.77])
def test_frames_are_whole_but_for_one(amount):
    for seed in range(20):
        drawn = draw_part(Part(amount, "frames", 0.0, 1), seed, 0, painted(seed))
        left = np.bincount(drawn // 49, minlength=8)
        assert ((left != 0) & (left != 49)).sum() <= 1


def test_blocks_are_whole_but_for_one():
    for seed in range(20):
        drawn = draw_part(Part(0.3, "blocks", 0.0, 1), seed, 0, painted(seed))
        dice = Dice(seed, 16)
        long, side = dice.integer(2, 8), dice.integer(2, 3)
        t, y, x = np.unravel_index(np.arange(392), (8, 7, 7))
        block = (t // long * 7 + y // side) * 7 + x // side
        there = np.isin(np.arange(392), drawn)
        broken = [b for b in np.unique(block) if 0 < there[block == b].sum() < (block == b).sum()]
        assert len(broken) <= 1


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_bonus_of_one_takes_things_first(pattern):
    for seed in range(10):
        share = painted(seed)
        shows = (share >= CLEAR).any(axis=0).ravel()
        for amount in (0.05, 0.5):
            there = shows[draw_part(Part(amount, pattern, 1.0, 1), seed, 0, share)]
            assert there.sum() == min(len(there), shows.sum())


def test_blind_cells_are_drawn_evenly():
    share = painted(0)
    part = Part(0.25, "cells", 0.0, 1)
    drawn = np.concatenate([draw_part(part, seed, 0, share) for seed in range(1000)])
    shown = np.bincount(drawn, minlength=392) / 1000
    assert np.abs(shown - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / 1000)
    shows = (share >= CLEAR).any(axis=0).ravel()
    assert abs(shown[shows].mean() - shown[~shows].mean()) < 0.02


# What may still be asked


def slow_answerable(kind: str, evidence: list, kept: np.ndarray, share: np.ndarray) -> bool:
    if not evidence:
        return True
    there = [cell for cell in evidence if kept[tuple(cell)]]
    if kind in LOOKS:
        return len(there) >= 2 or (len(evidence) == 1 and len(there) == 1)
    if kind == "count":
        cells = list(np.ndindex(*kept.shape))
        for thing in share:
            clear = [cell for cell in cells if thing[cell] >= CLEAR]
            if clear and not any(kept[cell] for cell in clear):
                return False
        return True
    if kind in PATHS:
        frames = sorted({cell[0] for cell in evidence})
        left = sorted({cell[0] for cell in there})
        if not left or len(left) < min(3, len(frames)):
            return False
        return left[-1] - left[0] >= (frames[-1] - frames[0]) / 2
    return len(there) >= len(evidence) / 2


@settings(max_examples=400, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**32),
    cells=st.integers(0, 12),
    amount=st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 1.0]),
)
def test_a_question_is_asked_where_its_evidence_survives(kind, seed, cells, amount):
    dice = np.random.default_rng(seed)
    share, kept = painted(seed, 3, (6, 2, 3)), dice.random((6, 2, 3)) < amount
    where = np.sort(dice.choice(36, cells, replace=False))
    evidence = np.stack(np.unravel_index(where, (6, 2, 3)), axis=1).astype(np.int64)
    question = Question(kind, "?", "!", evidence)
    expected = slow_answerable(kind, evidence.tolist(), kept, share)
    assert still_answerable(question, kept, share) is expected


def test_a_part_with_everything_answers_everything_and_an_empty_one_absences_only():
    drawn = draw_step(STAGE, 3, 0, TINY)
    for scene, share in zip(drawn.scenes, drawn.share, strict=True):
        asked = ask(scene, STAGE.world.at_pace(8), drawn.times, share)
        full = np.ones(share.shape[1:], dtype=bool)
        assert all(still_answerable(q, full, share) for q in asked)
        left = [q for q in asked if still_answerable(q, ~full, share)]
        assert left == [q for q in asked if len(q.evidence) == 0]


# Batches


@pytest.fixture(scope="module")
def tokenizer():
    return build(TINY)[1].tokenizer


@pytest.mark.parametrize("stage", [STAGE, LONG])
def test_batches_of_parts_hold_what_their_seeds_say(stage, tokenizer):
    batches = list(batches_of(stage, 3, 0, TINY, tokenizer, 0))
    shown = 0
    for step, batch in enumerate(batches):
        drawn = draw_step(stage, 3, step, TINY)
        most = 1.0 if stage is STAGE else LONG_SHARE
        part = part_of(drawn.scenes[0].seed, most)
        views = part.views if part else 1
        assert len(batch["ids"]) == 2 * views and ("kept" in batch) == (part is not None)
        assert torch.equal(batch["frames"], drawn.frames)
        count = drawn.share[0, 0].size
        for row in range(2 * views):
            clip, view = divmod(row, views)
            scene, share = drawn.scenes[clip], drawn.share[clip]
            there = np.ones(share.shape[1:], dtype=bool)
            if part:
                kept = batch["kept"][row].numpy()
                assert kept.tolist() == slow_part(part, scene.seed, view, share)
                assert len(kept) <= max(LEAST_TOKENS, round(most * count))
                there[:] = False
                there.flat[kept] = True
            asked = ask(scene, stage.world.at_pace(len(drawn.times)), drawn.times, share)
            asked = [q for q in asked if slow_answerable(q.kind, q.evidence.tolist(), there, share)]
            chosen = choose(asked, stage.questions, scene.seed + view * VIEW_SEEDS)
            assert chosen and batch["turn"][row].max() == len(chosen)
            for number, question in enumerate(chosen, 1):
                told = batch["ids"][row][batch["turn"][row] == number].tolist()
                asked_as = tokenizer(f"{question.text}<|im_end|><|im_start|>assistant\n").input_ids
                assert told == asked_as + tokenizer(f"{question.answer}<|im_end|>").input_ids
        shown += part is not None
    assert shown == len(batches) if stage is LONG else 0 < shown < len(batches)


def test_batches_of_parts_are_the_same_on_every_run(tokenizer):
    once, again = (list(batches_of(STAGE, 3, 0, TINY, tokenizer, 0)) for _ in range(2))
    rest = list(batches_of(STAGE, 3, 5, TINY, tokenizer, 1))  # gone on with, in another process
    for a, b in [*zip(once, again, strict=True), *zip(once[5:], rest, strict=True)]:
        assert a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


# The loss


@pytest.fixture(scope="module")
def shown(tokenizer):
    """A batch of several parts of each clip, and one of whole clips."""
    batches = list(batches_of(STAGE, 3, 0, TINY, tokenizer, 0))
    return (
        next(b for b in batches if "kept" in b and len(b["ids"]) > 2),
        next(b for b in batches if "kept" not in b),
    )


@torch.no_grad()
def test_keeping_all_tokens_is_keeping_the_clip_whole(shown, tokenizer):
    model, _ = build(TINY, seed=2)
    model.eval()
    attend_by_turns(model)
    batch = shown[1]
    count = 8 * TINY.side**2
    everything = batch | {"kept": torch.arange(count).expand(len(batch["ids"]), -1)}
    (whole, scores), (kept, same) = (
        language_loss(model, None, b, tokenizer, middle=0) for b in (batch, everything)
    )
    assert torch.equal(whole, kept) and scores == same


@torch.no_grad()
def test_the_loss_of_a_part_is_the_stock_models_asked_one_by_one(shown, tokenizer):
    """Kept tokens at the positions they have in the whole clip, every question alone."""
    model, _ = build(TINY, seed=2)
    model.eval()
    batch = shown[0]
    attend_by_turns(model)
    loss, scores = language_loss(model, None, batch, tokenizer, middle=0)
    model.model.language_model.set_attn_implementation("sdpa")
    embed = model.get_input_embeddings()
    opening = torch.tensor(tokenizer("<|im_start|>user ").input_ids)
    first, count = len(opening), 8 * TINY.side**2
    rows, clips = len(batch["ids"]), len(batch["frames"])
    losses, tokens, right = 0.0, 0, []
    for row in range(rows):
        frames = batch["frames"][row * clips // rows]
        seen = patch_features(model.model.vision_tower, frames)
        video, kept = project(model, seen).flatten(0, 1), batch["kept"][row]
        assert len(video) == count > len(kept)
        for number in range(1, int(batch["turn"][row].max()) + 1):
            turn = batch["turn"][row] == number
            ids, labels = batch["ids"][row][turn], batch["labels"][row][turn]
            inputs = torch.cat(
                [
                    embed(opening),
                    video[kept],
                    model.model.image_newline[None],
                    embed(ids),
                ]
            )
            after = first + count
            places = torch.cat(
                [
                    torch.arange(first),
                    first + kept,
                    torch.arange(after, after + 1 + len(ids)),
                ]
            )
            hidden = model.model.language_model(
                inputs_embeds=inputs[None],
                position_ids=places[None],
                attention_mask=torch.ones(1, len(inputs), dtype=torch.long),
                use_cache=False,
            ).last_hidden_state[0, -len(ids) :]
            told = labels != IGNORED
            logits = model.lm_head(hidden)[told]
            losses += nn.functional.cross_entropy(logits, labels[told], reduction="sum").item()
            tokens += int(told.sum())
            right.append((logits.argmax(-1) == labels[told])[:-1].all().item())
    assert loss.item() == pytest.approx(losses / tokens, abs=1e-5)
    assert scores["right"] == (sum(right), len(right))


@torch.no_grad()
def test_a_frame_of_which_nothing_is_kept_changes_nothing(shown, tokenizer):
    model, _ = build(TINY, seed=2)
    model.eval()
    attend_by_turns(model)
    count, first = 8 * TINY.side**2, torch.arange(TINY.side**2 * 7)  # all but the last frame
    batch = shown[0] | {"kept": first.expand(len(shown[0]["ids"]), -1)}
    other = batch | {"frames": batch["frames"].clone()}
    other["frames"][:, -1] = 255 - other["frames"][:, -1]
    loss = [language_loss(model, None, b, tokenizer, middle=0)[0].item() for b in (batch, other)]
    assert loss[0] == loss[1]
    whole = {"kept": torch.arange(count).expand(len(batch["ids"]), -1)}
    loss = [
        language_loss(model, None, b | whole, tokenizer, middle=0)[0].item() for b in (batch, other)
    ]
    assert loss[0] != loss[1]
