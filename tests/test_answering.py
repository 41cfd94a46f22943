"""From a file and a question to an answer and its trace, on tiny and on the embedded model."""

import dataclasses
import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.masked import masked_logits, snapshot
from inputs import clip_frames, prompt
from transformers import GenerationConfig

from stc_core import METHODS, STC, InputError, Trace, answer, compress, load
from stc_core.answering import recorded_words
from stc_core.answering.conversation import Conversation
from stc_core.answering.generation import greedy
from stc_core.answering.prompt import build_prompt, encode_text
from stc_core.answering.video import Video
from stc_core.models.memory import frames_that_fit, working_bytes
from stc_core.models.vlm import VLM

ROOT = Path(__file__).resolve().parents[1]
SPECIAL = ["<video>", "<image>", "<|im_start|>", "<|im_end|>", "<pad>", "<unk>"]


@pytest.fixture
def vlm(tiny):
    model, processor = tiny
    return VLM(model, processor, "tiny", "cpu", frames=4)


def clip(frames=6, height=24, width=40, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (frames, height, width, 3)).astype(np.uint8)
    times = np.arange(frames) * 0.5
    return Video(pixels, times, "clip.mp4", frames * 0.5, frames, 2.0, (height, width))


# --- what a checkpoint's generation_config.json says ----------------------------------------------


@pytest.mark.parametrize("kept", [
    {"repetition_penalty": 1.8}, {"no_repeat_ngram_size": 1}, {"min_new_tokens": 7},
    {"suppress_tokens": list(range(3, 40))}, {"begin_suppress_tokens": list(range(3, 40))},
    {"do_sample": True, "temperature": 9.0, "top_k": 3}, {"bad_words_ids": [[7], [9], [11]]},
    {"num_beams": 3, "length_penalty": 2.0}, {"forced_eos_token_id": 5},
], ids=repr)  # fmt: skip
def test_greedy_is_greedy_whatever_the_checkpoint_was_published_with(vlm, kept, monkeypatch):
    """And the log-probability is of what was said: the likeliest token of the model's numbers."""
    question, options = "what color is the star?", {"max_new_tokens": 6, "baseline": True}
    plain = answer(vlm, clip(), question, **options)
    published = GenerationConfig(**vlm.model.generation_config.to_dict() | kept)
    monkeypatch.setattr(vlm.model, "generation_config", published)
    found = answer(vlm, clip(), question, **options)
    assert (found.text, found.logprob) == (plain.text, plain.logprob)
    assert found.trace.baseline["logprob"] == plain.trace.baseline["logprob"]
    inputs = build_prompt(vlm, clip().frames, question, 8).inputs
    output, new, sure = greedy(vlm.model, inputs, 6)
    likeliest = torch.stack(output.logits, dim=1).log_softmax(-1).max(-1)
    assert torch.equal(new, likeliest.indices)
    torch.testing.assert_close(sure, likeliest.values)


# --- the prompt ----------------------------------------------------------------------------------


def test_an_ordinary_question_gives_the_processors_own_inputs(vlm):
    frames = clip_frames()
    ours = build_prompt(vlm, frames, "what color is the star?", 8)
    stock = prompt(vlm.processor, frames, "what color is the star?")
    assert set(ours.inputs) == set(stock)
    for name in stock:
        torch.testing.assert_close(ours.inputs[name], stock[name], atol=1e-6, rtol=0)
    assert (ours.frames, ours.video_tokens) == (4, 64)
    assert ours.text_tokens == stock["input_ids"].shape[1] - 64


@pytest.mark.parametrize("word", SPECIAL)
def test_nothing_in_a_question_becomes_a_special_token(vlm, word):
    tokenizer = vlm.processor.tokenizer
    question = f"what color{word}is the {word} star?{word}"
    plain = build_prompt(vlm, clip_frames(), "what color is the star?", 8).inputs["input_ids"]
    ids = build_prompt(vlm, clip_frames(), question, 8).inputs["input_ids"]
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}

    def count(tensor):
        return sum(int((tensor == token).sum()) for token in special)

    assert count(ids) == count(plain)
    with_special = tokenizer(question)["input_ids"]
    assert count(torch.tensor(with_special)) == 3 or word == "<unk>"  # it would have, unguarded
    assert not set(encode_text(tokenizer, question)) & special


@pytest.mark.parametrize("question", ["", "   \n\t", None, 7])
def test_an_empty_question_is_refused(vlm, question):
    with pytest.raises(InputError, match="question is empty"):
        build_prompt(vlm, clip_frames(), question, 8)


def test_a_question_of_ten_thousand_words_is_refused_with_numbers(vlm):
    with pytest.raises(InputError, match=r"10\d\d\d text\) and the model reads 8184; ask a short"):
        build_prompt(vlm, clip_frames(), "star " * 10_000, 8)


def test_a_video_too_long_for_the_context_says_how_many_frames_fit(vlm):
    frames = clip_frames(600, side=8)
    with pytest.raises(InputError, match=r"use at most (\d+) frames") as error:
        build_prompt(vlm, frames, "is there a star?", 8)
    fit = int(str(error.value).split("at most ")[1].split()[0])
    assert build_prompt(vlm, frames[:fit], "is there a star?", 8).frames == fit
    with pytest.raises(InputError):
        build_prompt(vlm, frames[: fit + 1], "is there a star?", 8)


def test_a_question_of_unknown_words_is_refused_and_some_are_noted(vlm):
    with pytest.raises(InputError, match="knows no word of this question"):
        build_prompt(vlm, clip_frames(), "星星是什么颜色", 8)
    notes = build_prompt(vlm, clip_frames(), "what color is the zeppelin?", 8).notes
    assert len(notes) == 1 and "does not know 1 of the question's 6 words" in notes[0]
    assert build_prompt(vlm, clip_frames(), "what color is the star?", 8).notes == ()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 3), (3, 200), (2, 5), (64, 3), (4, 4)])
def test_frames_of_any_size_reach_the_model(vlm, size):
    video = clip(2, *size)
    result = answer(vlm, video, "is there a star?", STC(retention=0.2), max_new_tokens=2)
    assert (result.trace.grid.height, result.trace.grid.width) == size
    assert result.trace.grid.size == 32


def test_a_small_frame_is_told_from_its_transpose(vlm):
    """Three pixels a side could be read as three channels: rows must stay rows."""
    frames = np.zeros((1, 3, 3, 3), np.uint8)
    frames[:, 0] = 255
    pixels = build_prompt(vlm, frames, "is there a star?", 2).inputs["pixel_values_videos"]
    assert pixels[0, 0, :, :4].mean() > 0.5 > pixels[0, 0, :, -4:].mean()


# --- answering -----------------------------------------------------------------------------------


def test_no_stage_is_told_of_again_after_the_next_one(vlm):
    told = []
    answer(
        vlm,
        clip(),
        "what color is the star?",
        STC(retention=0.3),
        baseline=True,
        max_new_tokens=5,
        progress=lambda stage, share: told.append((stage, share)),
    )
    stages = [stage.partition(" ")[0] if "/" in stage else stage for stage, _ in told]
    groups = [stage for stage, _ in itertools.groupby(stages)]
    assert len(groups) == len(set(groups)), groups
    assert groups[-1] == "done" and groups.count("answer") == 1
    shares = [share for _, share in told]
    assert shares == sorted(shares)


@pytest.mark.parametrize(("wanted", "noted"), [(64, True), (32, False), (8, False), (None, False)])
def test_fewer_frames_than_were_asked_for_are_noted(wanted, noted):
    path = ROOT / "assets" / "clips" / "two-on-waves.mp4"  # of 32 frames
    notes = answer(load(device="cpu"), path, "what flashed?", STC(), frames=wanted).trace.notes
    words = "64 frames were asked for, and the clip has 32: each was taken once."
    assert (words in notes) == noted
    assert any("asked for" in note for note in notes) == noted


def test_an_answer_carries_its_trace_and_costs(vlm):
    told = []
    result = answer(
        vlm,
        clip(),
        "what color is the star?",
        STC(retention=0.1),
        baseline=True,
        max_new_tokens=3,
        progress=lambda stage, share: told.append((stage, share)),
    )
    trace, costs = result.trace, result.costs
    assert type(trace).__name__ == "Trace" and trace.costs == costs.to_json()
    json.dumps(trace.costs)
    assert trace.alive() == [costs.tokens_full, costs.tokens_llm, costs.tokens_end] == [96, 10, 5]
    assert costs.tokens_per_layer == (10, 10, 10, 10, 5)
    assert trace.question == "what color is the star?" and trace.model == "tiny"
    assert trace.answer == result.text and "answer" in trace.baseline
    assert trace.baseline["costs"]["tokens_llm"] == 96
    assert trace.frames.shape == (6, 24, 40, 3)
    np.testing.assert_array_equal(trace.seconds, clip().seconds)
    assert {"decode", "vision", "compression", "prefill"} <= set(costs.seconds)
    assert "compression" not in trace.baseline["costs"]["seconds"]
    assert (
        costs.real_flops["compression"] > 0 == trace.baseline["costs"]["real_flops"]["compression"]
    )
    stages = [stage for stage, _ in told]
    for stage in (
        "uncompressed: vision",
        "uncompressed: prefill",
        "vision",
        "compression",
        "prefill",
        "answer",
    ):
        assert stage in stages
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_the_baseline_is_the_stock_model(vlm):
    video = clip()
    result = answer(vlm, video, "what color is the star?", baseline=True, max_new_tokens=5)
    inputs = prompt(vlm.processor, video.frames, "what color is the star?")
    ids = vlm.model.generate(**inputs, do_sample=False, max_new_tokens=5)
    said = vlm.processor.decode(ids[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert result.trace.baseline["answer"] == said.strip()


def test_the_same_input_gives_the_same_trace_bit_for_bit(vlm):
    traces = [answer(vlm, clip(), "is there a star?", max_new_tokens=2).trace for _ in range(2)]
    for name in ("fate", "target", "weight", "contribution", "similarity", "relevance"):
        np.testing.assert_array_equal(*(getattr(trace, name) for trace in traces))


@pytest.mark.parametrize("stage", ["decode", "vision", "compression", "prefill", "answer"])
def test_an_exception_in_progress_cancels_and_leaves_the_model_clean(vlm, tmp_path, stage):
    from clips import write_clip

    path = write_clip(tmp_path / "a.mp4", range(0, 3000, 500))

    class Cancelled(Exception):
        pass

    def cancel(name, share):
        if name == stage:
            raise Cancelled

    before = [len(module._forward_pre_hooks) for module in vlm.model.modules()]
    with pytest.raises(Cancelled):
        answer(vlm, path, "is there a star?", STC(), progress=cancel, max_new_tokens=3)
    assert [len(module._forward_pre_hooks) for module in vlm.model.modules()] == before
    assert answer(vlm, path, "is there a star?", STC(), max_new_tokens=3).text is not None


def test_settings_that_do_not_fit_are_refused_before_the_video_is_read(vlm):
    with pytest.raises(InputError, match="layer 9 is outside this model"):
        answer(vlm, "missing.mp4", "is there a star?", STC(layer=9))


def test_a_video_warning_becomes_a_note(vlm):
    video = dataclasses.replace(clip(), warning="The file is cut off after 3 s.")
    assert answer(vlm, video, "is there a star?", max_new_tokens=1).trace.notes == (
        "The file is cut off after 3 s.",
    )


def test_out_of_memory_says_what_would_fit(vlm, monkeypatch):
    class Properties:
        total_memory = vlm.model.get_memory_footprint() + working_bytes(vlm, 3)

    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    monkeypatch.setattr(vlm.model.model.vision_tower, "forward", full)
    with pytest.raises(InputError, match="too little for 6 frames .* about 2 frames would fit"):
        answer(vlm, clip(), "is there a star?")
    monkeypatch.setattr(Properties, "total_memory", vlm.model.get_memory_footprint() + 10)
    assert "use a smaller model" in frames_that_fit(vlm, 6)


# --- what is recorded ----------------------------------------------------------------------------

QUESTION = "what color is the star?"
BOTH = {
    "both stages": STC(retention=0.4, layer=2, tau=0.99),
    "compact": STC(retention=0.4, layer=2, positions="compact"),
}


def continued(vlm, video, texts=()):
    """(inputs of the stock processor, ids (1, L + G) of the prompt and the texts after it)."""
    inputs = prompt(vlm.processor, video.frames, "what color is the star ?")
    more = [vlm.processor.tokenizer.convert_tokens_to_ids(text) for text in texts]
    return inputs, torch.cat([inputs["input_ids"], torch.tensor([more], dtype=torch.long)], 1)


def words_of(trace, kind):
    return [word.text.strip() for word in trace.words if word.kind == kind]


def test_nothing_is_recorded_unasked_and_recording_changes_nothing(vlm):
    plain = answer(vlm, clip(), QUESTION, BOTH["both stages"], baseline=True, max_new_tokens=4)
    before = snapshot(vlm.model)
    full = answer(
        vlm, clip(), QUESTION, BOTH["both stages"], baseline=True, record=True, max_new_tokens=4
    )
    assert snapshot(vlm.model) == before
    assert plain.trace.words == () and plain.trace.attention_layer is None
    for name in ("attention", "full_attention", "features"):
        assert getattr(plain.trace, name) is None
    assert "words" not in plain.trace.baseline
    assert (full.text, full.logprob) == (plain.text, plain.logprob)
    for name in ("fate", "target", "weight", "similarity", "nearest", "order", "relevance"):
        np.testing.assert_array_equal(getattr(full.trace, name), getattr(plain.trace, name))


def test_words_are_those_of_the_question_and_the_answer_alone(vlm):
    result = answer(vlm, clip(), QUESTION, record=True, baseline=True, max_new_tokens=4)
    trace = result.trace
    assert words_of(trace, "question") == ["what", "color", "is", "the", "star", "?"]
    assert [word.text for word in trace.words[:2]] == ["what", " color"]
    assert "".join(w.text for w in trace.words if w.kind == "answer").strip() == result.text
    assert [word.logprob for word in trace.words[:6]] == [None] * 6
    said = [word.logprob for word in trace.words[6:]]
    assert sum(said) == pytest.approx(result.logprob, abs=1e-5) and result.logprob < 0
    assert trace.logprob == result.logprob
    assert [word.text for word in trace.full_words[:6]] == [word.text for word in trace.words[:6]]


def test_of_a_very_long_question_the_end_is_recorded(vlm, monkeypatch):
    monkeypatch.setattr("stc_core.answering.generation.QUESTION_WORDS", 4)
    short = answer(vlm, clip(), QUESTION, record=True, max_new_tokens=2).trace
    monkeypatch.undo()
    full = answer(vlm, clip(), QUESTION, record=True, max_new_tokens=2).trace
    assert words_of(short, "question") == ["is", "the", "star", "?"]
    np.testing.assert_array_equal(short.attention, full.attention[2:])


def test_the_costs_do_not_count_the_recording(vlm, monkeypatch):
    def slow(tokens):
        time.sleep(3)
        return np.zeros((len(tokens), 1), np.float16)

    monkeypatch.setattr("stc_core.hooks.compression.leading_components", slow)
    costs = answer(vlm, clip(), QUESTION, record=True, max_new_tokens=2).costs
    assert costs.time_to_first_token < 3 and sum(costs.seconds.values()) < 3


@pytest.mark.parametrize("name", BOTH)
@torch.no_grad()
def test_attention_of_words_equals_the_masked_reference(vlm, name):
    trace = answer(vlm, clip(), QUESTION, BOTH[name], record=True, max_new_tokens=4).trace
    said = words_of(trace, "answer")
    inputs, ids = continued(vlm, clip(), said)
    _, (_, weights, places) = masked_logits(vlm.model, inputs, trace, ids)
    length = inputs["input_ids"].shape[1]
    asked = build_prompt(vlm, clip().frames, QUESTION, 4).asked
    rows = [*asked, *range(length - 1, length - 1 + len(said))]
    entered = places[torch.from_numpy(trace.stage("outside").survivors)]
    assert trace.attention_layer == 2
    np.testing.assert_allclose(trace.attention, weights[rows][:, entered].numpy(), atol=1e-3)


@torch.no_grad()
def test_attention_of_the_uncompressed_run_is_what_eager_attention_weighs(vlm):
    trace = answer(
        vlm,
        clip(),
        QUESTION,
        METHODS["uniform"](retention=0.3),
        record=True,
        baseline=True,
        max_new_tokens=4,
    ).trace
    said = [word.text.strip() for word in trace.full_words if word.kind == "answer"]
    inputs, ids = continued(vlm, clip(), said)
    vlm.model.set_attn_implementation("eager")
    inputs |= {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    weights = vlm.model(**inputs, output_attentions=True).attentions[3][0].mean(0)
    length = ids.shape[1] - len(said)
    asked = build_prompt(vlm, clip().frames, QUESTION, 4).asked
    rows = [*asked, *range(length - 1, length - 1 + len(said))]
    places = (ids[0] == vlm.model.config.video_token_id).nonzero().flatten()[:96]
    assert trace.attention_layer == 3  # 18/28 of five layers: no inside stage says otherwise
    np.testing.assert_allclose(trace.full_attention, weights[rows][:, places].numpy(), atol=1e-3)
    assert trace.attention.shape == (len(trace.words), trace.alive()[1])


def test_where_nothing_is_compressed_both_runs_attend_alike(vlm):
    method = STC(retention=1.0, keep_inside=1.0)
    trace = answer(
        vlm, clip(), QUESTION, method, record=True, baseline=True, max_new_tokens=4
    ).trace
    assert trace.words == trace.full_words
    np.testing.assert_array_equal(trace.attention, trace.full_attention)
    assert (trace.attention > 0).all() and (trace.attention.sum(1) < 1).all()


def test_a_recorded_trace_reads_back(vlm, tmp_path):
    trace = answer(
        vlm, clip(), QUESTION, record=True, baseline=True, score=["red"], max_new_tokens=2
    ).trace
    again = Trace.load(trace.save(tmp_path / "a.npz"))
    assert (again.words, again.full_words) == (trace.words, trace.full_words)
    assert (again.logprob, again.scores) == (trace.logprob, trace.scores)
    for name in ("attention", "full_attention", "features", "nearest", "order", "frames"):
        np.testing.assert_array_equal(getattr(again, name), getattr(trace, name))


def test_an_exception_while_recording_leaves_the_model_clean(vlm, monkeypatch):
    answer(vlm, clip(), QUESTION, max_new_tokens=2)
    before = snapshot(vlm.model)

    def fail(*args, **kwargs):
        raise ArithmeticError("on purpose")

    with monkeypatch.context() as patch:
        patch.setattr("stc_core.hooks.probes.attention_paid", fail)
        with pytest.raises(ArithmeticError):
            answer(vlm, clip(), QUESTION, record=True, max_new_tokens=2)
    assert snapshot(vlm.model) == before


# --- probabilities -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BOTH)
@torch.no_grad()
def test_scores_are_the_log_probabilities_of_a_forward_without_a_cache(vlm, name):
    texts = {"red": ["red"], "the star is red": ["the", "star", "is", "red"]}
    end = vlm.processor.tokenizer.convert_ids_to_tokens(vlm.model.generation_config.eos_token_id)
    result = answer(
        vlm, clip(), QUESTION, BOTH[name], baseline=True, score=list(texts), max_new_tokens=3
    )
    assert result.trace.scores == result.scores and set(result.scores) == set(texts)
    for text, tokens in texts.items():
        tokens = [*tokens, end]
        inputs, ids = continued(vlm, clip(), tokens)
        length = ids.shape[1] - len(tokens)
        stock = vlm.model(**inputs | {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
        sure = stock.logits[0, length - 1 : -1].log_softmax(-1)
        expected = float(sure.gather(1, ids[0, length:, None]).sum())
        assert result.trace.baseline["scores"][text] == pytest.approx(expected, abs=1e-4)
        expected = 0.0
        for place in range(length, ids.shape[1]):
            logits, _ = masked_logits(vlm.model, inputs, result.trace, ids[:, :place])
            expected += float(logits.log_softmax(-1)[ids[0, place]])
        assert result.scores[text] == pytest.approx(expected, abs=1e-4)


@torch.no_grad()
def test_the_answers_own_probability_is_that_of_a_forward_and_scoring_changes_nothing(vlm):
    plain = answer(vlm, clip(), QUESTION, baseline=True, max_new_tokens=3)
    scored = answer(vlm, clip(), QUESTION, baseline=True, max_new_tokens=3, score=["red", "blue"])
    assert (plain.text, plain.logprob) == (scored.text, scored.logprob)
    assert plain.scores == {} and plain.trace.baseline["scores"] == {}
    inputs = prompt(vlm.processor, clip().frames, "what color is the star ?")
    length = inputs["input_ids"].shape[1]
    ids = vlm.model.generate(**inputs, do_sample=False, max_new_tokens=3)
    logits = vlm.model(**inputs | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}).logits
    expected = logits[0, length - 1 : -1].log_softmax(-1).gather(1, ids[0, length:, None]).sum()
    assert plain.trace.baseline["logprob"] == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        ("red", "several answers"),
        (["red", " "], "must be a text"),
        ([7], "must be a text"),
        (["a zeppelin"], "no words for the answer 'a zeppelin'"),
    ],
)
def test_answers_that_cannot_be_scored_are_refused_before_the_video_is_read(vlm, score, message):
    with pytest.raises(InputError, match=message) as error:
        answer(vlm, "missing.mp4", QUESTION, score=score)
    assert "\n" not in str(error.value)


def test_the_embedded_model_records_and_scores_within_a_megabyte(tmp_path):
    vlm = load(device="cpu")
    texts = ["red", "blue", "green"]
    result = answer(vlm, clip(32, 112, 112), QUESTION, record=True, baseline=True, score=texts)
    trace = result.trace
    assert trace.words[-1].kind == "answer"  # it came to its end, which is no word
    scores = result.scores | answer(vlm, clip(32, 112, 112), QUESTION, score=[result.text]).scores
    assert scores[result.text] == pytest.approx(result.logprob, abs=1e-4)
    assert sum(np.exp(list(scores.values()))) <= 1 + 1e-6
    assert trace.features.shape == (trace.grid.size, 16)
    bare = dataclasses.replace(trace, frames=None).save(tmp_path / "a.npz")
    assert bare.stat().st_size < 250_000


# --- text that cannot be text --------------------------------------------------------------------


@pytest.mark.parametrize("question", ["what\ud800?", "\udcff is it", "what\0", "\x1b[2J what"])
def test_a_question_that_is_no_text_is_refused_before_the_video_is_read(vlm, question):
    for ask in (
        lambda: answer(vlm, "missing.mp4", question),
        lambda: Conversation(vlm, "missing.mp4").ask(question),
        lambda: build_prompt(vlm, clip_frames(), question, 8),
        lambda: compress(vlm.model, STC(), question=question).__enter__(),
        lambda: answer(vlm, clip(), "is there a star?", score=[question.replace("\x1b", "\0")]),
    ):
        with pytest.raises(InputError, match="^(the question|an answer to score) (is|has)") as e:
            ask()
        str(e.value).encode()


@pytest.mark.parametrize("tokens", [0, -1, 1 << 15, 1.5, "8", None, True])
def test_an_impossible_length_of_the_answer_is_refused_in_a_sentence(vlm, tokens):
    with pytest.raises(InputError, match="max_new_tokens must be a whole number from 1 to 16384"):
        answer(vlm, "missing.mp4", "is there a star?", max_new_tokens=tokens)


def test_what_a_model_writes_can_be_saved_whatever_it_is(vlm, monkeypatch, tmp_path):
    tokenizer = vlm.processor.tokenizer
    plain, odd = tokenizer.decode, "\0\x1b \ud800"
    monkeypatch.setattr(
        type(tokenizer), "decode", lambda self, ids, **options: odd + plain(ids, **options)
    )
    named = dataclasses.replace(vlm, name="folder \udcff")
    trace = answer(
        named, clip(), "is there a star?", baseline=True, record=True, max_new_tokens=2
    ).trace
    again = Trace.load(trace.save(tmp_path / "a.npz"))
    assert again.model == "folder \ufffd" and again.answer.startswith("\ufffd\ufffd \ufffd")
    assert again.words == trace.words and again.words[0].text.startswith("\ufffd\ufffd \ufffd")


def test_of_very_many_words_the_first_are_recorded(vlm, monkeypatch):
    monkeypatch.setattr(recorded_words, "MAX_WORDS", 8)
    trace = answer(vlm, clip(), QUESTION, record=True, baseline=True, max_new_tokens=6).trace
    assert len(trace.words) == len(trace.full_words) == len(trace.attention) == 8
    assert words_of(trace, "question") == ["what", "color", "is", "the", "star", "?"]
