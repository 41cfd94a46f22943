"""Later questions about the same video: nothing is done twice, nothing comes out otherwise."""

import numpy as np
import pytest
import torch
from inputs import clip_frames

from stc_core import METHODS, STC, InputError, answer
from stc_core.answering.conversation import Conversation
from stc_core.answering.video import Video
from stc_core.hooks.run_cache import VisionCache
from stc_core.models.vlm import VLM

METHOD = STC(retention=0.4, layer=2, tau=0.99)
QUESTIONS = ["what color is the star?", "is there a red circle?", "where is the square at the end?"]
ARRAYS = (
    "fate", "target", "weight", "contribution", "relevance", "similarity", "order", "nearest",
    "features", "attention", "full_attention",
)  # fmt: skip


@pytest.fixture
def vlm(tiny):
    return VLM(*tiny, "tiny", "cpu", frames=6)


def clip(seed=0):
    frames = clip_frames(6, seed=seed)
    return Video(frames, np.arange(6) / 2, "clip.mp4", 3.0, 6, 2.0, (40, 40))


class Counter:
    """How often the tower's layers ran as a whole, and the stages of the method."""

    def __init__(self, vlm, monkeypatch):
        self.counts = {"tower": 0, "outside": 0, "inside": 0}
        self.handle = vlm.model.get_encoder(modality="image").encoder.register_forward_hook(
            lambda *_: self.count("tower")
        )
        for stage in ("outside", "inside"):
            stock = getattr(STC, stage)

            def counted(method, *inputs, stage=stage, stock=stock):
                self.count(stage)
                return stock(method, *inputs)

            monkeypatch.setattr(STC, stage, counted)

    def count(self, name):
        self.counts[name] += 1


@pytest.fixture
def counter(vlm, monkeypatch):
    counter = Counter(vlm, monkeypatch)
    yield counter
    counter.handle.remove()


def assert_same(one, other):
    assert (one.text, one.logprob, one.scores) == (other.text, other.logprob, other.scores)
    assert one.trace.words == other.trace.words
    for name in ("grid", "question", "method", "model", "positions", "notes", "answer"):
        assert getattr(one.trace, name) == getattr(other.trace, name), name
    for name in ARRAYS:
        found, expected = getattr(one.trace, name), getattr(other.trace, name)
        assert (found is None) == (expected is None), name
        if found is not None:
            np.testing.assert_array_equal(found, expected, err_msg=name)


def test_later_questions_run_neither_the_tower_nor_the_outside_stage(vlm, counter):
    talk = Conversation(vlm, clip(), METHOD)
    for number, question in enumerate(QUESTIONS, 1):
        talk.ask(question, max_new_tokens=3)
        assert counter.counts == {"tower": 1, "outside": 1, "inside": number}


@pytest.mark.parametrize(
    "method",
    [
        METHOD,
        STC(retention=0.4, layer=2, positions="compact"),
        METHODS["fastv"](retention=0.3),
        METHODS["vidcom2"](retention=0.3),
        METHODS["random"](retention=0.3),
    ],
    ids=repr,
)
def test_every_question_is_answered_as_if_it_were_the_first(vlm, method):
    talk = Conversation(vlm, clip(), method)
    options = {"record": True, "max_new_tokens": 4}
    for question in [*QUESTIONS, QUESTIONS[0]]:
        assert_same(talk.ask(question, **options), answer(vlm, clip(), question, method, **options))


def test_with_the_uncompressed_run_and_scores_beside_it(vlm):
    talk = Conversation(vlm, clip(), METHOD)
    options = {"baseline": True, "score": ["red", "blue"], "max_new_tokens": 3}
    for question in QUESTIONS[:2]:
        one, other = talk.ask(question, **options), answer(vlm, clip(), question, METHOD, **options)
        assert_same(one, other)
        for name in ("answer", "logprob", "scores"):
            assert one.trace.baseline[name] == other.trace.baseline[name]


def test_a_question_that_cannot_be_used_ends_nothing(vlm, counter):
    talk = Conversation(vlm, clip(), METHOD)
    talk.ask(QUESTIONS[0], max_new_tokens=1)
    with pytest.raises(InputError, match="question is empty"):
        talk.ask(" ")
    with pytest.raises(InputError, match="method belongs to the whole conversation"):
        talk.ask(QUESTIONS[1], method=STC())
    talk.ask(QUESTIONS[1], max_new_tokens=1)
    assert counter.counts["tower"] == counter.counts["outside"] == 1
    with pytest.raises(InputError, match="a compression method is needed"):
        Conversation(vlm, clip(), "stc")


def test_two_conversations_share_a_cache_and_nothing_else(vlm, counter):
    cache = VisionCache()
    one = Conversation(vlm, clip(), METHOD, cache=cache)
    other = Conversation(vlm, clip(seed=1), METHOD, cache=cache)
    again = Conversation(vlm, clip(), STC(retention=0.2, layer=2), cache=cache)
    found = [talk.ask(QUESTIONS[0], max_new_tokens=2).trace for talk in (one, other, again, one)]
    assert counter.counts == {"tower": 2, "outside": 3, "inside": 4}
    assert not np.array_equal(found[0].target, found[1].target)
    np.testing.assert_array_equal(found[0].target, found[3].target)


def test_another_clip_under_the_same_name_is_decided_anew(vlm, counter):
    talk = Conversation(vlm, clip(), METHOD)
    talk.ask(QUESTIONS[0], max_new_tokens=1)
    talk.video = clip(seed=1)
    found = talk.ask(QUESTIONS[0], record=True, max_new_tokens=2)
    assert counter.counts["outside"] == 2
    expected = answer(vlm, clip(seed=1), QUESTIONS[0], METHOD, record=True, max_new_tokens=2)
    assert_same(found, expected)


def test_a_changed_model_is_noticed(vlm, counter):
    talk = Conversation(vlm, clip(), METHOD)
    talk.ask(QUESTIONS[0], max_new_tokens=1)
    weight = vlm.model.get_encoder(modality="image").encoder.layers[-1].self_attn.q_proj.weight
    stock = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.mul_(-1)
        talk.ask(QUESTIONS[0], max_new_tokens=1)
        assert counter.counts["tower"] == counter.counts["outside"] == 2
    finally:
        with torch.no_grad():
            weight.copy_(stock)


def test_a_talk_that_is_remembered_reads_what_was_said_before(vlm, counter):
    talk = Conversation(vlm, clip(), METHOD, remember=True)
    first, second = (talk.ask(question) for question in QUESTIONS[:2])
    assert talk.history == [(QUESTIONS[0], first.text), (QUESTIONS[1], second.text)]
    assert counter.counts["tower"] == counter.counts["outside"] == 1
    expected = answer(vlm, clip(), QUESTIONS[1], METHOD, history=talk.history[:1])
    assert_same(second, expected)
    assert "The prompt held 1 earlier turn before the question." in second.trace.notes
    alone = answer(vlm, clip(), QUESTIONS[1], METHOD)
    assert alone.logprob != second.logprob
    with pytest.raises(InputError, match="history belongs to the whole conversation"):
        talk.ask(QUESTIONS[0], history=[])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"system": None}, "system is a text and history a list"),
        ({"history": "abc"}, "system is a text and history a list"),
        ({"history": [("a",)]}, "a list of .question, answer. pairs, not of"),
        ({"history": [("", "b")]}, "the question is empty"),
        ({"history": [("a", 1)]}, "an earlier answer must be a text"),
        ({"system": "\ud800"}, "the system prompt"),
    ],
)
def test_a_history_that_is_none_is_refused_before_the_video_is_read(vlm, given, words):
    with pytest.raises(InputError, match=words):
        answer(vlm, "nowhere.mp4", "why?", **given)
