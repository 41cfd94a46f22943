"""An answer in pieces: the same text and trace, whole characters, and a clean model at any end."""

import gc
import threading

import numpy as np
import pytest
from helpers.masked import snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from inputs import clip_frames, prompt
from tiny import BUILDERS
from tiny.tokens import byte_level
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast, TextIteratorStreamer

from stc_core import STC, InputError, answer, compress, load
from stc_core.answering.conversation import Conversation
from stc_core.answering.streaming import Writing, answer_text
from stc_core.answering.video import Video
from stc_core.hooks.run_cache import RunCache
from stc_core.models.vlm import VLM

METHOD = STC(retention=0.4, layer=2, tau=0.99)
QUESTION = "what color is the star ?"
LONG = 24  # tokens of an answer


def clip(size=(32, 48)):
    frames = np.random.default_rng(0).integers(0, 256, (3, *size, 3)).astype(np.uint8)
    return Video(frames, np.arange(3) / 2, "clip.mp4", 1.5, 3, 2.0, size)


@pytest.fixture(params=BUILDERS)
def family(request, tmp_path):
    for part in BUILDERS[request.param](seed=1):
        part.save_pretrained(tmp_path)
    return load(tmp_path)


@pytest.fixture
def vlm(tiny):
    return VLM(*tiny, "tiny", "cpu", frames=3)


@pytest.fixture
def endless(vlm, monkeypatch):
    """The model, which says as many tokens as it may."""
    monkeypatch.setattr(vlm.model.generation_config, "eos_token_id", None)
    return vlm


def same_trace(one, other):
    for name in ("fate", "target", "weight", "relevance"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.answer, one.logprob) == (other.answer, other.logprob)
    assert one.baseline["answer"] == other.baseline["answer"]


def test_the_pieces_are_the_answer_in_every_family(family):
    options = {"baseline": True, "max_new_tokens": LONG}
    family.model.generation_config.eos_token_id = None  # it says as much as it may
    plain = answer(family, clip(), QUESTION, METHOD, **options)
    with answer(family, clip(), QUESTION, METHOD, stream=True, **options) as stream:
        pieces = list(stream)
    said = {"uncompressed": "", "compressed": ""}
    for piece in pieces:
        said[piece.run] += piece
    assert said == {"uncompressed": plain.trace.baseline["answer"], "compressed": plain.text}
    assert [piece.run for piece in pieces] == sorted((p.run for p in pieces), reverse=True)
    same_trace(stream.answer.trace, plain.trace)


def test_pieces_come_token_by_token_and_while_the_model_writes(endless):
    stages = []

    def heard(piece):
        stages.append((len(seen), str(piece)))

    seen = []
    options = {"max_new_tokens": LONG, "progress": lambda stage, share: seen.append(stage)}
    plain = answer(endless, clip(), QUESTION, METHOD, on_piece=heard, **options)
    assert len(stages) > LONG // 2  # of words, one a token
    assert all(later[0] > sooner[0] for sooner, later in zip(stages, stages[1:-1], strict=False))
    assert "".join(text for _, text in stages) == plain.text


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_stream_that_is_closed_leaves_the_model_clean(endless, after):
    vlm = endless
    before, threads = snapshot(vlm.model), threading.active_count()
    stream = answer(vlm, clip(), QUESTION, METHOD, baseline=True, stream=True, max_new_tokens=999)
    for _ in range(after):
        next(stream)
    stream.close()
    stream.close()
    assert snapshot(vlm.model) == before
    assert threading.active_count() == threads
    assert list(stream) == []
    with pytest.raises(InputError, match="closed before the answer was complete"):
        _ = stream.answer
    assert answer(vlm, clip(), QUESTION, METHOD, max_new_tokens=2).text  # it is free again


def test_a_forgotten_stream_ends_its_run(endless):
    vlm = endless
    before, threads = snapshot(vlm.model), threading.active_count()
    stream = answer(vlm, clip(), QUESTION, METHOD, stream=True, max_new_tokens=999)
    next(stream)
    del stream
    gc.collect()
    assert snapshot(vlm.model) == before
    assert threading.active_count() == threads


def test_errors_are_those_without_a_stream(vlm):
    with pytest.raises(InputError, match="max_new_tokens"):
        answer(vlm, clip(), QUESTION, METHOD, stream=True, max_new_tokens=0)  # at once
    stream = answer(vlm, "no-such.mp4", QUESTION, METHOD, stream=True)
    with pytest.raises(InputError, match="no-such.mp4"):
        next(stream)
    with pytest.raises(ZeroDivisionError):
        list(answer(vlm, clip(), QUESTION, stream=True, progress=lambda *_: 1 / 0))


def test_a_kept_uncompressed_answer_is_told_as_well(endless):
    options = {"baseline": True, "cache": RunCache(), "max_new_tokens": 4}
    talk = Conversation(endless, clip(), METHOD, cache=options.pop("cache"))
    first = talk.ask(QUESTION, **options)
    stream = talk.ask(QUESTION, stream=True, **options)
    assert talk.history == [(QUESTION, first.text)]
    again = [str(p) for p in stream if p.run == "uncompressed"]
    assert "".join(again) == first.trace.baseline["answer"]
    assert stream.answer.text == first.text
    assert talk.history == 2 * [(QUESTION, first.text)]


def test_stock_streamers_work_inside_compress(tiny):
    model, processor = tiny
    inputs = prompt(processor, clip_frames(4))
    options = {"do_sample": False, "max_new_tokens": 8}
    with compress(model, METHOD):
        output = model.generate(**inputs, **options)
    streamer = TextIteratorStreamer(processor.tokenizer, skip_prompt=True, timeout=60)
    with compress(model, METHOD) as trace:
        run = threading.Thread(
            target=model.generate, kwargs=inputs | options | {"streamer": streamer}
        )
        run.start()
        text = "".join(streamer)
        run.join()
    new = output[0, inputs["input_ids"].shape[1] :]
    assert text == processor.tokenizer.decode(new)
    assert len(trace.outside.survivors) < trace.grid.size


# --- characters ----------------------------------------------------------------------------------


class Decoder:
    """As much of a processor as an answer is decoded with."""

    def __init__(self, tokenizer):
        self.tokenizer, self.decode = tokenizer, tokenizer.decode


def sentencepiece():
    """A tokenizer with a token for every byte, as Llama's."""
    vocabulary = ["<unk>", "▁", "a", "▁b", ".", *(f"<0x{byte:02X}>" for byte in range(256))]
    ids = {token: place for place, token in enumerate(vocabulary)}
    made = Tokenizer(models.BPE(ids, [], unk_token="<unk>", byte_fallback=True))
    made.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0),
    ])  # fmt: skip
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>")


TOKENIZERS = {
    "bytes": byte_level([]), "tidy": byte_level([], clean_up_tokenization_spaces=True),
    "sentencepiece": sentencepiece(),
}  # fmt: skip


@pytest.mark.parametrize("name", TOKENIZERS)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_any_tokens_come_as_whole_characters_and_add_up(name, data):
    processor = Decoder(TOKENIZERS[name])
    ids = data.draw(st.lists(st.integers(0, len(processor.tokenizer) - 1), max_size=30))
    pieces = []
    writing = Writing(processor, "compressed", pieces.append)
    for count in range(1, len(ids) + 1):
        writing.look(ids[:count])
    writing.end(answer_text(processor, ids))
    assert "".join(pieces) == answer_text(processor, ids)
    assert all(pieces)


@settings(deadline=None)
@given(
    text=st.text(
        st.characters(min_codepoint=32, max_codepoint=0x1FAFF, exclude_categories=["Cs", "Cc"])
    ).filter(str.strip)
)
def test_no_piece_has_half_a_character(text):
    tokenizer = TOKENIZERS["bytes"]
    ids = tokenizer.encode(text, add_special_tokens=False)
    said = answer_text(Decoder(tokenizer), ids)
    pieces = []
    writing = Writing(Decoder(tokenizer), "compressed", pieces.append)
    for count in range(1, len(ids) + 1):
        writing.look(ids[:count])
    writing.end(said)
    assert "".join(pieces) == said
    assert sum(piece.count("\ufffd") for piece in pieces) == text.strip().count("\ufffd")
