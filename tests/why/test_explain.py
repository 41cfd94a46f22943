"""Why, on the embedded model: its rows are independent runs, its search finds what is needed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from stc_core import STC, Edited, InputError, RunCache, Video, answer, compress, load
from stc_core.answering.generation import endings_of
from stc_core.answering.prompt import build_prompt
from stc_core.methods import Frames, Random, Uniform
from stc_core.methods.decided import Decided
from stc_core.shapes import make_clip
from stc_core.text import said_the_same
from stc_core.why.bench import Bench
from stc_core.why.explain import explain
from stc_core.why.influence import influence
from stc_core.why.report import Why
from stc_core.why.rows import chosen_first
from stc_core.why.search import Search

FRAMES = 8
METHOD = STC(retention=0.02)
NAMES = ["full", "compressed", "back", "swap", "away", *["random"] * 5, "inside off",
         "back, inside off", "tau off", *["baseline"] * 3]  # fmt: skip


@pytest.fixture(scope="module")
def vlm():
    return load(device="cpu")


def shown(seed: int) -> Video:
    clip = make_clip(seed, FRAMES)
    return Video(clip.frames, clip.seconds, "clip", 8.0, FRAMES, 1.0, clip.frames.shape[1:3], None)


@pytest.fixture(scope="module")
def turned(vlm):
    """(video, question, its evidence): STC at 2 % turns the answer, the evidence brings it back."""
    for seed in range(1_000_000, 1_000_200):
        video = shown(seed)
        for question in make_clip(seed, FRAMES).questions:
            if not 0 < len(question.evidence) <= 4:
                continue
            cache = RunCache()
            said = answer(vlm, video, question.text, METHOD, baseline=True, cache=cache)
            first = said.trace.baseline["answer"]
            if not said_the_same(first, question.answer) or said_the_same(said.text, first):
                continue
            evidence = said.trace.grid.indices(question.evidence)
            more = Edited(METHOD, add=tuple(evidence))
            if said_the_same(answer(vlm, video, question.text, more, cache=cache).text, first):
                return video, question, evidence
    raise AssertionError("no clip of these seeds is turned and brought back")


@pytest.fixture(scope="module")
def known(vlm, turned) -> Why:
    video, question, evidence = turned
    return explain(vlm, video, question.text, METHOD, right=question.answer, evidence=evidence)


def alone(vlm, turned, method, candidates):
    video, question, _ = turned
    return answer(vlm, video, question.text, method, score=candidates)


def test_every_row_is_what_an_independent_run_gives(vlm, turned, known):
    _, _, evidence = turned
    assert [row.kind for row in known.rows] == NAMES
    candidates = list(known.rows[0].probabilities)
    first = alone(vlm, turned, METHOD, candidates)
    last = chosen_first(first.trace, evidence)[::-1]
    missing = np.setdiff1d(evidence, first.trace.outside.survivors)
    off = replace(METHOD, keep_inside=1.0)
    expected = {
        "full": Uniform(retention=1.0),
        "compressed": METHOD,
        "back": Edited(METHOD, add=missing),
        "swap": Edited(METHOD, add=missing, remove=last[: len(missing)]),
        "away": Edited(Uniform(retention=1.0), remove=evidence),
        "inside off": off,
        "back, inside off": Edited(off, add=missing),
        "tau off": replace(METHOD, similarity=False),
    }
    baselines = iter((Uniform(retention=0.02), Random(retention=0.02), Frames(retention=0.02)))
    for row in known.rows:
        method = next(baselines) if row.kind == "baseline" else expected.get(row.kind)
        if row.kind == "random":
            method = Edited(METHOD, **row.edit)
            assert len(row.edit["add"]) == len(missing)
            assert not {*row.edit["add"]} & {*evidence, *first.trace.outside.survivors}
        elif row.edit is not None:
            assert Edited(METHOD, **row.edit) == method
        said = alone(vlm, turned, method, candidates)
        assert row.answer == said.text
        assert row.tokens == len(said.trace.outside.survivors)
        for text in candidates:
            assert row.probabilities[text] == pytest.approx(np.exp(said.scores[text]), abs=1e-6)
        if row.method:
            assert row.method == repr(method)


def test_what_was_lost_is_what_the_trace_says(vlm, turned, known):
    _, _, evidence = turned
    trace = alone(vlm, turned, METHOD, []).trace
    gone = np.setdiff1d(evidence, trace.outside.survivors)
    refused = gone[trace.order[gone] >= 0]
    assert (known.lost.tau, known.lost.capacity) == (len(refused), len(gone) - len(refused))
    assert known.lost.kept == len(evidence) - len(gone) and known.tokens == tuple(evidence)
    if len(refused):
        assert known.lost.cosine == pytest.approx(np.median(trace.similarity[refused]))
        assert known.lost.cosine >= known.lost.tau_at - 1e-6
    assert known.times == tuple(trace.seconds[np.unique(gone // trace.grid.per_frame)].round(3))
    assert known.cause in ("tau", "capacity", "number")
    assert Why.from_json(json.loads(json.dumps(known.to_json()))) == known


def test_the_search_brings_the_answer_back_and_every_token_is_needed(vlm, turned):
    video, question, _ = turned
    search = Search(())
    why = explain(vlm, video, question.text, METHOD, seconds=600, search=search)
    assert why.right is None and said_the_same(why.wanted, question.answer)
    assert why.found.how == "search" and why.found.done and search.restored
    assert why.tokens == search.best and why.row("back").turned(why.wanted)
    assert why.found.tested == len(search.tried)

    def back(tokens) -> bool:
        said = alone(vlm, turned, Edited(METHOD, add=tokens), [])
        return said_the_same(said.text, question.answer)

    assert back(why.tokens)
    if len(why.tokens) > 1:
        assert not any(back([t for t in why.tokens if t != left]) for left in why.tokens)
    again = explain(vlm, video, question.text, METHOD, seconds=600)
    assert (again.tokens, again.sentence) == (why.tokens, why.sentence)


def test_a_search_without_time_says_so_and_goes_on(vlm, turned):
    video, question, _ = turned
    search, cache = Search(()), RunCache()
    ask = {"search": search, "cache": cache}
    why = explain(vlm, video, question.text, METHOD, seconds=0, **ask)
    assert (why.cause, why.found.done, why.tokens) == ("unknown", False, ())
    assert "Not found yet" in why.sentence
    why = explain(vlm, video, question.text, METHOD, seconds=600, **ask)
    assert why.found.done and why.found.how == "search"


def test_cancelling_leaves_the_model_as_it_was(vlm, turned):
    video, question, evidence = turned
    before = alone(vlm, turned, METHOD, [question.answer])

    class Enough(Exception):
        pass

    stages: list[str] = []

    def progress(stage: str, share: float) -> None:
        stages.append(stage)
        if stage.startswith("run 4 of"):
            raise Enough

    with pytest.raises(Enough):
        explain(vlm, video, question.text, METHOD, evidence=evidence, progress=progress)
    assert "the compressed run" in stages
    after = alone(vlm, turned, METHOD, [question.answer])
    assert (after.text, after.logprob, after.scores) == (before.text, before.logprob, before.scores)


def test_the_vision_tower_runs_once(vlm, turned):
    video, question, _ = turned
    layers = [m for m in vlm.model.modules() if type(m).__name__ == "SiglipEncoderLayer"]
    count = []
    hook = layers[0].register_forward_hook(lambda *_: count.append(1))
    try:
        explain(vlm, video, question.text, METHOD, seconds=2)
    finally:
        hook.remove()
    assert len(count) == 1


def test_the_influence_is_the_gradient_of_the_answers_probability(vlm, turned):
    """A step along the gradient of one token changes the log-probability by its norm."""
    video, question, _ = turned
    prompt = build_prompt(vlm, video.frames, question.text, 8, seconds=video.seconds)
    ids = endings_of(vlm, [question.answer])[question.answer]
    strength = influence(vlm, prompt, ids)
    assert strength.shape == (prompt.video_tokens,) and (strength >= 0).all()
    token = int(strength.argmax())
    place, step = int(prompt.layout.tokens[token]), 1e-2

    def scored(move: torch.Tensor | None) -> float:
        def shift(module, args, named):
            if named["inputs_embeds"].shape[1] > 1 and move is not None:
                named["inputs_embeds"] = named["inputs_embeds"].clone()
                named["inputs_embeds"][0, place] += move
            return args, named

        hook = vlm.model.get_decoder().register_forward_pre_hook(shift, with_kwargs=True)
        try:
            return alone_full(vlm, video, question)
        finally:
            hook.remove()

    width = vlm.model.config.text_config.hidden_size
    slopes = [
        (scored(step * move) - scored(-step * move)) / (2 * step)
        for move in torch.eye(width)[torch.randperm(width, generator=torch.manual_seed(1))[:24]]
    ]
    norm = float(torch.tensor(slopes).square().sum() * width / 24) ** 0.5
    assert norm == pytest.approx(float(strength[token]), rel=0.6)  # of 24 directions of all


def alone_full(vlm, video, question) -> float:
    said = answer(vlm, video, question.text, Uniform(retention=1.0), score=[question.answer])
    return said.scores[question.answer]


def test_a_known_decision_needs_no_signal_of_the_tower(vlm, turned):
    video, question, _ = turned
    prompt = build_prompt(vlm, video.frames, question.text, 8, seconds=video.seconds)
    with compress(vlm.model, METHOD) as live, torch.no_grad():
        stock = vlm.model(**prompt.inputs).logits
    bench = Bench(vlm, prompt, METHOD, 8, {})
    with bench.opened(RunCache()):
        bench.first(lambda full, compressed: [question.answer])
        known = Decided(METHOD, bench.decision(), torch.from_numpy(live.contribution))
        with compress(vlm.model, known) as again, torch.no_grad():
            assert torch.equal(vlm.model(**prompt.inputs).logits, stock)
    assert np.array_equal(again.fate, live.fate) and np.array_equal(again.target, live.target)


@pytest.mark.parametrize(("given", "words"), [
    ({"evidence": [8 * 49]}, "names token 392, but this clip has 0 to 391"),
    ({"evidence": [-1]}, "names token -1"),
    ({"evidence": ["a"]}, "must be indices of tokens"),
    ({"evidence": []}, "names no token"),
    ({"seconds": -1}, "from 0"),
    ({"seconds": float("nan")}, "from 0"),
    ({"right": "qqqq"}, "no words for the answer"),
])  # fmt: skip
def test_bad_input_is_one_sentence(vlm, turned, given, words):
    video, question, _ = turned
    with pytest.raises(InputError, match=words):
        explain(vlm, video, question.text, METHOD, **given)


def test_a_run_that_lost_nothing(vlm, turned):
    video, question, evidence = turned
    whole = STC(retention=1.0, keep_inside=1.0, cluster_ratio=0.0, tau=1.0)
    why = explain(vlm, video, question.text, whole, evidence=evidence, right=question.answer)
    assert why.cause == "same" and why.row("back") is None and why.row("random") is None
    assert why.lost.outside == 0
