"""Evaluation: intervals, baselines without looking, calibration, and what the weights reach."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from stc_core import STC, compress
from stc_core.__main__ import cli
from stc_core.models.loading import EMBEDDED
from stc_core.rates import wilson
from stc_core.shapes import DEVELOPMENT_SEEDS, HELD_OUT_SEEDS, KINDS
from stc_core.shapes.exam.asking import exam
from stc_core.shapes.exam.calibration import calibrate, plot
from stc_core.shapes.exam.evaluation import evaluate
from stc_core.shapes.exam.examined import BANDS, Answered, ExamReport, Score
from stc_core.shapes.exam.replying import ANSWER_TOKENS, replies, reply
from stc_core.shapes.model.contribution_layer import auc, layer_auc, received_per_layer
from stc_core.shapes.model.opened import weights_fingerprint
from stc_core.shapes.model.sizes import Size, build, save
from stc_core.shapes.world.outside_questions import OUTSIDE
from stc_core.shapes.world.questions import NOUNS, PHRASINGS, UNANSWERABLE, VERBS, Question, words

TINY = Size(
    frame=32, patch=4, vision_width=16, vision_layers=2, vision_heads=2, vision_ffn=16,
    width=32, layers=2, heads=2, kv_heads=1, ffn=32,
)  # fmt: skip
NOTHING = np.zeros((0, 3), int)


@pytest.fixture(scope="module")
def tiny():
    model, processor = build(TINY)
    return SimpleNamespace(model=model.eval(), processor=processor, name="tiny")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A folder that records four frames."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    save(*build(TINY), folder, {"frames": 4})
    return folder


def one(kind, answer, said="", choices=(), text="?", **more):
    return Answered(0, Question(kind, text, answer, NOTHING, choices), said, **more)


def report_of(*answers, **more):
    return ExamReport("m", "", 16, 1.0, answers, **more)


# Intervals and calibration ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("right", "asked", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)],
)
def test_wilsons_interval(right, asked, low, high):
    assert wilson(right, asked) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_ends_of_wilsons_interval_are_just_not_rejected(counts):
    right, asked = counts
    low, high = wilson(right, asked)
    assert 0 <= low <= right / asked <= high <= 1
    for end in (low, high):
        if 0 < end < 1:  # the score test of this share is exactly at its limit
            z = (right / asked - end) / math.sqrt(end * (1 - end) / asked)
            assert abs(z) == pytest.approx(1.959963984540054, rel=1e-6)


def test_calibration_without_ties_is_that_of_a_plain_loop():
    rng = np.random.default_rng(0)
    sure = rng.permutation(np.linspace(0.2, 1, 200))
    right = rng.random(200) < sure
    pairs = sorted(zip(sure.tolist(), right.tolist(), strict=True))
    error = 0.0
    for start in range(0, 200, 20):
        part = pairs[start : start + 20]
        gap = sum(c for c, _ in part) / 20 - sum(r for _, r in part) / 20
        error += abs(gap) * 20 / 200
    found = calibrate(sure, right)
    assert [b.count for b in found.bins] == [20] * 10
    assert found.error == pytest.approx(error)
    assert found.brier == pytest.approx(sum((c - r) ** 2 for c, r in pairs) / 200)
    assert found.bins[3].interval == wilson(found.bins[3].right, 20)


@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]), st.booleans()), min_size=1),
    st.integers(1, 12),
    st.randoms(use_true_random=False),
)
def test_calibration_keeps_every_answer_and_depends_on_no_order(pairs, bins, random):
    found = calibrate(*zip(*pairs, strict=True), bins)
    assert sum(b.count for b in found.bins) == len(pairs) and len(found.bins) <= bins
    assert sum(b.right for b in found.bins) == sum(right for _, right in pairs)
    assert 0 <= found.error <= 1 and 0 <= found.brier <= 1
    for lower, upper in zip(found.bins, found.bins[1:], strict=False):
        assert lower.high < upper.low  # equal confidences share a bin
    random.shuffle(pairs)
    again = calibrate(*zip(*pairs, strict=True), bins)
    assert again.bins == found.bins and again.brier == pytest.approx(found.brier)


def test_a_certain_model_that_is_always_right_is_calibrated_perfectly():
    found = calibrate([1.0] * 7, [True] * 7)
    assert len(found.bins) == 1 and found.error == 0 and found.brier == 0


@pytest.mark.parametrize(
    "arguments",
    [([], []), ([0.5], [True, False]), ([1.1], [True]), ([math.nan], [True]), ([0.5], [True], 0)],
)
def test_what_is_no_calibration_is_refused(arguments):
    with pytest.raises(ValueError):
        calibrate(*arguments)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_diagram_is_written_and_repeats(tmp_path, suffix):
    rng = np.random.default_rng(1)
    sure = rng.random(60)
    found = calibrate(sure, rng.random(60) < sure)
    files = [tmp_path / f"{name}.{suffix}" for name in "ab"]
    for file in files:
        plot(found, file, "a $ title of <b>text</b>")
    first, second = (file.read_bytes() for file in files)
    assert first == second and first[:4] in (b"\x89PNG", b"<?xm")


# The report ---------------------------------------------------------------------------------------


def test_the_baseline_without_looking_is_the_most_common_answer():
    report = report_of(
        one("count", "two", "two"),
        one("count", "two", "one"),
        one("count", "one", "one"),
        one("color", "red", "blue"),
    )
    assert report.kinds["count"] == Score(3, 2, 2, "two")
    assert report.kinds["color"] == Score(1, 0, 1, "red")
    assert report.overall == Score(4, 2, 3)
    content = json.loads(json.dumps(report.as_dict()))
    assert content["overall"]["accuracy"] == 0.5
    assert content["kinds"]["count"]["without_looking"] == pytest.approx(2 / 3)
    assert content["calibration"] is None and content["outside"] is None
    assert "overall" in str(report) and "66.7%" in str(report)


def test_offered_answers_are_guessed_by_place_or_by_word_for_each_offer_apart():
    sizes, fills = ("small", "large"), ("striped", "solid")
    size = [one("look", "small", choices=sizes)] * 4 + [one("look", "large", choices=sizes)] * 2
    fill = [one("look", "solid", choices=fills), one("look", "striped", choices=fills[::-1])] * 3
    # Small in four of six; always the second offered in six of six.
    score = report_of(*size, *fill).kinds["look"]
    assert (score.blind, score.blind_answer) == (10, "small, the second offered")
    # Every order question offers other things: they are one group, not a group each.
    pairs = [(f"a{i}", f"b{i}") for i in range(6)]
    order = [one("order", p[i % 3 > 0], choices=p) for i, p in enumerate(pairs)]
    score = report_of(*order).kinds["order"]
    assert (score.blind, score.blind_answer) == (4, "the second offered")


def test_unanswerable_questions_are_guessed_by_their_words_alone():
    texts = "what color is the driver?", "what shape is the red object?", "who is the sun?"
    score = report_of(*(one(UNANSWERABLE, UNANSWERABLE, text=t) for t in texts)).kinds
    assert score[UNANSWERABLE].blind == 2


def test_an_empty_clip_that_is_answered_better_is_the_baseline():
    asked = [one("count", number, "one") for number in ("one", "two")]
    report = report_of(*asked, blank=(one("count", "two", "two"),))
    assert report.kinds["count"].without_looking == report.without_looking == 1.0
    assert "the model, empty clip" in str(report)
    assert report.as_dict()["kinds"]["count"]["best_constant"] == 0.5


def test_refusals_are_counted_where_there_is_an_answer_and_outside():
    texts = [group[0] for group in OUTSIDE.values()]
    report = report_of(
        one("count", "two", UNANSWERABLE),
        one("color", "red", "red"),
        one("color", "red", "one"),
        one(UNANSWERABLE, UNANSWERABLE, UNANSWERABLE),
        outside=(
            one("outside", UNANSWERABLE, UNANSWERABLE, text=texts[0]),
            one("outside", UNANSWERABLE, "red", text=texts[1]),
        ),
    )
    assert report.false_refusals == (3, 1)
    content = json.loads(json.dumps(report.as_dict()))
    assert content["false_refusals"]["share"] == pytest.approx(1 / 3)
    assert content["outside"]["share"] == 0.5
    assert content["outside"]["interval95"] == list(wilson(1, 2))
    assert [group["share"] for group in content["outside"]["groups"].values()] == [1.0, 0.0]


def test_bands_of_evidence_hold_every_question_once():
    shares = (0.0, 0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 1.0)
    report = report_of(*(one("count", "two", "two", share=s) for s in shares))
    assert list(report.bands) == list(BANDS)
    assert [asked for asked, _ in report.bands.values()] == [1, 1, 1, 1, 2, 2]


def test_outside_questions_come_from_no_phrasing_and_no_list():
    texts = [text for group in OUTSIDE.values() for text in group]
    assert len(set(texts)) == 60 and len({len(group) for group in OUTSIDE.values()}) == 1
    slots = {"name": r"\w+( \w+){0,3}", "noun": r"\w+", "verb": r"\w+", "a": r"\w+( \w+)?"}
    slots["b"] = slots["a"]
    patterns = []
    for phrasing in (p for group in PHRASINGS.values() for p in group):
        pattern = re.escape(phrasing)
        for slot, words_ in slots.items():
            pattern = pattern.replace(rf"\{{{slot}\}}", words_)
        patterns.append(pattern)
    assert re.fullmatch(patterns[0], "what color is the star?")
    for text in texts:
        assert not any(re.fullmatch(pattern, text.lower()) for pattern in patterns), text
        assert not {*NOUNS, *VERBS} & set(re.findall(r"\w+", text.lower())), text
    vocabulary = set(words())
    for text in OUTSIDE["known words in another sense"]:
        parts = re.findall(r"\w+", text.lower())
        assert sum(part in vocabulary for part in parts) >= len(parts) / 2, text


# Asking -------------------------------------------------------------------------------------------


def test_the_exam_asks_the_kinds_in_turn_of_one_clip_each_from_the_held_out_seeds():
    pairs = list(exam(15, 8))
    assert [q.kind for _, q in pairs] == [KINDS[i % len(KINDS)] for i in range(15)]
    seeds = [clip.seed for clip, _ in pairs]
    assert len(set(seeds)) == 15 and all(seed in HELD_OUT_SEEDS for seed in seeds)
    for clip, question in pairs:
        assert question in clip.questions and clip.frames.shape == (8, 112, 112, 3)


def test_kinds_that_few_frames_cannot_show_are_left_out():
    kinds = Counter(question.kind for _, question in exam(16, 2, size=32))
    assert set(kinds) <= set(KINDS) - {"flash", "motion", "behind"}
    assert max(kinds.values()) - min(kinds.values()) <= 1


@pytest.mark.parametrize("limits", [(0.0007, 0.003), (0.01, 0.02), (0.1, 0.3)])
def test_questions_can_be_chosen_by_the_share_of_their_evidence(limits):
    pairs = list(exam(12, 32, evidence=limits, size=16))
    assert all(limits[0] <= clip.share(question) <= limits[1] for clip, question in pairs)
    assert len({question.kind for _, question in pairs}) > 1


def test_the_probability_of_an_answer_is_that_of_its_tokens_one_by_one(tiny):
    clip, question = next(exam(1, 3, size=32, grid=(4, 4)))
    [(said, sure)] = replies(tiny.model, tiny.processor, [(clip, question)])
    text = tiny.processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": question.text}]}],
        add_generation_prompt=True,
    )
    inputs = tiny.processor(text=text, videos=[clip.frames], return_tensors="pt")
    chance, ids, end = 1.0, [], tiny.model.generation_config.eos_token_id
    with torch.no_grad():
        while len(ids) < ANSWER_TOKENS and end not in ids:
            logits = tiny.model(**inputs).logits[0, -1].double().softmax(-1)
            ids.append(int(logits.argmax()))
            chance *= float(logits[ids[-1]])
            inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([ids[-1:]])], 1)
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    assert said == tiny.processor.decode(ids, skip_special_tokens=True).strip()
    assert sure == pytest.approx(chance, rel=1e-4)


def test_nothing_after_the_end_belongs_to_an_answer(tiny, monkeypatch):
    end, pad = (tiny.processor.tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<pad>"))
    red = tiny.processor.tokenizer.convert_tokens_to_ids("red")
    count = len(tiny.processor.tokenizer)

    def generate(input_ids, **_):
        new = torch.tensor([[red, end, pad], [red, red, red]])
        chances = torch.full((3, 2, count), 0.5 / (count - 1))
        for row, tokens in enumerate(new):
            chances[torch.arange(3), row, tokens] = 0.5
        sequences = torch.cat([input_ids, new], dim=1)
        return SimpleNamespace(sequences=sequences, logits=tuple(chances.log()))

    monkeypatch.setattr(tiny.model, "generate", generate)
    pairs = list(exam(2, 2, size=32, grid=(4, 4)))
    answers = replies(tiny.model, tiny.processor, pairs)
    assert [said for said, _ in answers] == ["red", "red red red"]
    assert [sure for _, sure in answers] == pytest.approx([0.25, 0.125])
    assert reply(tiny.model, tiny.processor, pairs) == ["red", "red red red"]


def test_batching_changes_no_answer(tiny):
    one, many = (evaluate(tiny, 12, 4, batch=size) for size in (1, 5))
    for part in ("answers", "blank", "outside"):
        few, more = getattr(one, part), getattr(many, part)
        assert [a.said for a in few] == [a.said for a in more]
        np.testing.assert_allclose(
            [a.confidence for a in few], [a.confidence for a in more], rtol=1e-3
        )
    assert len(one.answers) == len(one.outside) == 12 and one.model == "tiny"
    assert [a.question for a in one.blank] == [one.answers[0].question, one.answers[7].question]


def test_an_empty_clip_is_empty(tiny, monkeypatch):
    shown = []

    def seen(model, processor, pairs):
        shown.extend(clip.frames for clip, _ in pairs)
        return [("red", 1.0)] * len(pairs)

    monkeypatch.setattr("stc_core.shapes.exam.evaluation.replies", seen)
    evaluate(tiny, 1, 3)
    real, empty, outside = shown
    assert real.shape == empty.shape == (3, 32, 32, 3)  # the processor's own size
    assert np.ptp(empty) == 0 and np.ptp(real) > 0
    np.testing.assert_array_equal(real, outside)


def test_around_is_entered_for_every_clip(tiny):
    entered = []

    @contextmanager
    def around(model):
        entered.append(model)
        yield

    report = evaluate(tiny, 3, 2, around=around, label="nothing", blank=0)
    assert entered == [tiny.model] * 6 and report.around == "nothing"


def test_a_compressed_model_answers_as_it_does_alone(tiny):
    report = evaluate(
        tiny, 2, 4, around=lambda model: compress(model, STC(retention=1.0, keep_inside=1.0))
    )
    plain = evaluate(tiny, 2, 4)
    assert [a.said for a in report.answers] == [a.said for a in plain.answers]


def test_progress_is_told(tiny):
    told = []
    evaluate(tiny, 3, 2, batch=3, blank=2, on_progress=lambda done, of: told.append((done, of)))
    assert told == [(3, 8), (6, 8), (8, 8)]


def test_a_checkpoint_is_asked_at_the_frames_it_records(checkpoint):
    assert evaluate(checkpoint, 1).frames == 4


def test_a_run_goes_on_where_an_earlier_one_was_killed(tiny, tmp_path, monkeypatch):
    file, shown = tmp_path / "answers.jsonl", []
    whole = evaluate(tiny, 8, 4, partial=file)
    content = file.read_text()
    lines = content.splitlines(keepends=True)
    assert len(lines) == 1 + 8 + 8 + 2
    file.write_text("".join(lines[:7]) + lines[7][:11])  # killed while it wrote

    def counted(model, processor, pairs):
        shown.extend(pairs)
        return replies(model, processor, pairs)

    monkeypatch.setattr("stc_core.shapes.exam.evaluation.replies", counted)
    again = evaluate(tiny, 8, 4, partial=file)
    assert file.read_text() == content and len(shown) == 18 - 6
    assert replace(again, seconds=whole.seconds) == whole
    # More questions go on, too.
    assert len(evaluate(tiny, 10, 4, partial=file).answers) == 10
    assert file.read_text().startswith(content)


def test_answers_of_another_run_are_refused(tiny, tmp_path):
    file = tmp_path / "answers.jsonl"
    evaluate(tiny, 2, 4, partial=file)
    content = file.read_text()
    for arguments, named in (
        ({"frames": 5}, "frames"),
        ({"seeds": DEVELOPMENT_SEEDS}, "seeds"),
        ({"evidence": (0.0, 0.5)}, "evidence"),
        ({"blank": 3}, "blank"),
        (
            {"source": SimpleNamespace(model=build(TINY, seed=1)[0], processor=tiny.processor)},
            "checkpoint",
        ),
    ):
        arguments = {"source": tiny, "questions": 2, "frames": 4, **arguments}
        with pytest.raises(ValueError, match=rf"another configuration \({named}\)"):
            evaluate(**arguments, partial=file)
        assert file.read_text() == content
    other = content.splitlines(keepends=True)
    file.write_text("".join([other[0], other[2], *other[2:]]))
    with pytest.raises(ValueError, match="other questions"):
        evaluate(tiny, 2, 4, partial=file)


@pytest.mark.parametrize("content", ["hello", "hello\n", "[1]\n", '{"frames": 4}\n', "\x80"])
def test_a_file_that_holds_no_answers_is_refused_and_left_alone(tiny, tmp_path, content):
    file = tmp_path / "notes.txt"
    file.write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match="not a file of answers|another configuration"):
        evaluate(tiny, 2, 4, partial=file)
    assert file.read_text(encoding="latin-1") == content


def test_the_fingerprint_is_that_of_the_weights(tiny):
    same, other = build(TINY)[0], build(TINY, seed=1)[0]
    assert (
        weights_fingerprint(same) == weights_fingerprint(tiny.model) != weights_fingerprint(other)
    )


@pytest.mark.parametrize(
    "arguments",
    [
        {"questions": 0},
        {"frames": 0},
        {"frames": 65},
        {"batch": 0},
        {"batch": -1},
        {"blank": -1},
        {"evidence": (0.3, 0.1)},
        {"evidence": (-1, 0.1)},
        {"evidence": (0.1, math.nan)},
        {"evidence": (0.97, 1.0)},
    ],
)
def test_bad_arguments_are_refused(tiny, arguments):
    with pytest.raises(ValueError):
        evaluate(tiny, **{"questions": 2, "frames": 2, **arguments})


def test_more_frames_than_the_model_reads_are_refused():
    model, processor = build(replace(TINY, positions=200))
    with pytest.raises(ValueError, match="at most 8 frames"):
        evaluate(SimpleNamespace(model=model, processor=processor), 1, 9)


def test_a_directory_without_a_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match="config.json is missing"):
        evaluate(tmp_path)


def test_too_few_seeds_are_refused(tiny):
    with pytest.raises(ValueError, match="too few"):
        evaluate(tiny, 5, 2, seeds=HELD_OUT_SEEDS[:3])


# The command line ---------------------------------------------------------------------------------


def call(checkpoint, *arguments):
    arguments = ["evaluate", "--model", checkpoint, *arguments]
    return CliRunner().invoke(cli, [str(part) for part in arguments])


def test_the_command_prints_one_object_with_everything(checkpoint, tmp_path):
    picture, partial = tmp_path / "sure.svg", tmp_path / "answers.jsonl"
    options = ["--questions", 14, "--json", "--reliability", picture, "--partial", partial]
    done = call(checkpoint, *options)
    assert done.exit_code == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["frames"] == 4 and content["overall"]["questions"] == 14
    assert content["overall"]["blank_questions"] == 2
    assert content["outside"]["questions"] == 14
    assert sum(band["questions"] for band in content["evidence_share"].values()) == 14
    bins = content["calibration"]["bins"]
    error = sum(b["count"] * abs(b["confidence"] - b["accuracy"]) for b in bins) / 14
    assert content["calibration"]["expected_calibration_error"] == pytest.approx(error)
    assert picture.read_text().count("<svg") == 1
    again = json.loads(call(checkpoint, *options).stdout)
    assert again | {"seconds": 0} == content | {"seconds": 0}


def test_the_command_prints_a_table(checkpoint):
    done = call(checkpoint, "--questions", 3, "--no-blank", "--evidence-share", 0.001, 0.3)
    assert done.exit_code == 0, done.stderr
    assert "without looking" in done.stdout and "evidence in 0.10% to 30.00%" in done.stdout
    assert "answering" in done.stderr


BAD = {
    "no questions": (["--questions", 0], "at least one question"),
    "no frames": (["--frames", 0], "1 to 64 frames"),
    "many frames": (["--frames", 65], "1 to 64 frames"),
    "evidence turned": (["--evidence-share", 0.3, 0.1], "the lower first"),
    "evidence nan": (["--evidence-share", "nan", 0.1], "from 0 to 1"),
    "evidence nowhere": (["--evidence-share", 0.97, 1], "choose a wider range"),
    "picture kind": (["--reliability", "x.gif"], ".png or .svg"),
    "picture folder": (["--reliability", "no/such/x.png"], "does not exist; create it"),
    "partial folder": (["--partial", "no/such/x"], "does not exist; create it"),
    "partial is a folder": (["--partial", "."], "not a file of answers"),
    "model": (["--model", "no/such/model"], "no checkpoint folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(case, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[case]
    done = call(checkpoint, *arguments)
    assert done.exit_code == 2 and done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if "error: " in line]
    assert len(errors) == 1 and message in errors[0]
    assert not list(Path(tmp_path).iterdir())


# Which layer sees things --------------------------------------------------------------------------


def test_received_attention_is_the_eager_attention(tiny):
    pixels = torch.randn(2, 3, 32, 32)
    received = received_per_layer(tiny.model, pixels)
    eager, _ = build(TINY)
    eager.set_attn_implementation("eager")
    tower = eager.eval().model.vision_tower
    weights = tower(pixels, output_attentions=True).attentions
    for layer, expected in zip(received, weights, strict=True):
        np.testing.assert_allclose(layer, expected.mean((1, 2)).detach(), atol=1e-6)
    np.testing.assert_allclose(received.sum(-1), 1.0, atol=1e-5)
    for layer in tiny.model.model.vision_tower.encoder.layers:
        assert not layer.self_attn.q_proj._forward_hooks
        assert not layer.self_attn.k_proj._forward_hooks


def test_auc_counts_pairs():
    rng = np.random.default_rng(0)
    above, below = rng.integers(0, 6, 30), rng.integers(0, 5, 40)
    pairs = [(a > b) + 0.5 * (a == b) for a in above for b in below]
    assert auc(above, below) == pytest.approx(np.mean(pairs))


def test_an_untrained_tower_does_not_know_things(tiny):
    scores = layer_auc(tiny, clips=6, frames=4)
    assert len(scores) == 2 and all(0.1 < score < 0.9 for score in scores)


# The shipped weights ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped_report():
    return evaluate(questions=130, frames=32, blank=0)


def test_the_shipped_weights_answer_held_out_questions(shipped_report):
    # About 0.8 of 2,000 questions, says the card; 130 of them may fall short by chance.
    assert shipped_report.accuracy > 0.7
    assert shipped_report.accuracy > shipped_report.without_looking + 0.3


def test_kinds_are_answered_better_than_without_looking(shipped_report):
    better = [s.accuracy > s.without_looking for s in shipped_report.kinds.values()]
    assert sum(better) >= len(better) - 2  # ten questions of a kind: chance is large


def test_the_shipped_weights_refuse_seldom_and_where_they_should(shipped_report):
    asked, refused = shipped_report.false_refusals
    assert refused < 0.1 * asked
    asked, refused = map(sum, zip(*shipped_report.refusals_outside.values(), strict=True))
    assert refused > 0.5 * asked


def test_the_shipped_weights_know_how_sure_they_are(shipped_report):
    assert shipped_report.calibration.error < 0.1


def test_the_shipped_contribution_layer_sees_things():
    config = json.loads((EMBEDDED / "config.json").read_text())
    scores = layer_auc(clips=12, seeds=DEVELOPMENT_SEEDS)
    assert scores[config["stc"]["contribution_layer"]] > 0.7
