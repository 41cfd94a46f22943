"""Long video: a stream is the video as a whole, in bounded memory; an hour fits into a prompt."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from clips import write_clip
from helpers.masked import snapshot
from inputs import clip_frames
from tiny import BUILDERS

from stc_core import METHODS, STC, InputError, Stream, Trace, answer, load
from stc_core.answering import video_stream
from stc_core.answering.pooled_prompt import frames_that_fit
from stc_core.answering.video import Video
from stc_core.hooks.pooled import encode
from stc_core.hooks.run_cache import RunCache
from stc_core.methods import DyToK
from stc_core.methods.parts.windows import frames_at_once
from stc_core.models.vlm import VLM
from stc_core.record.grid import TokenGrid

QUESTION = "what color is the star?"
BOTH = STC(retention=0.4, layer=2, tau=0.99)
OUTSIDE = STC(retention=0.4, tau=0.99, keep_inside=1.0)


@pytest.fixture
def vlm(tiny):
    return VLM(*tiny, "tiny", "cpu", frames=6)


@pytest.fixture
def short_context(vlm, monkeypatch):
    """A model that reads 256 tokens: nine frames and a question."""
    monkeypatch.setattr(vlm.model.config.get_text_config(), "max_position_embeddings", 256)
    return vlm


def clip(frames=6, seed=0):
    return Video.from_frames(clip_frames(frames, seed=seed), np.arange(frames) / 2)


def assert_same(one, other):
    assert one.text == other.text
    assert one.logprob == pytest.approx(other.logprob, rel=1e-5)
    for name in ("fate", "target", "weight", "relevance", "seconds"):
        np.testing.assert_allclose(
            getattr(one.trace, name), getattr(other.trace, name), rtol=1e-5, err_msg=name
        )
    assert one.trace.alive() == other.trace.alive()


# --- a stream that was never full is the video ----------------------------------------------------


@pytest.mark.parametrize("positions", ["original", "compact"])
@pytest.mark.parametrize(
    "method",
    [BOTH, OUTSIDE, STC(retention=0.4, layer=2, text="embeddings"), STC(retention=1.0)],
    ids=["both", "outside", "embeddings", "everything"],
)
def test_a_stream_with_room_is_the_video_at_once(vlm, method, positions):
    method = replace(method, positions=positions)
    video = clip()
    expected = answer(vlm, video, QUESTION, method, score=["red"], max_new_tokens=6)
    with Stream(vlm, method, pool=192) as stream:
        for part in (slice(0, 1), slice(1, 4), slice(4, 6)):
            stream.feed(video.frames[part], video.seconds[part])
        found = stream.ask(QUESTION, score=["red"], max_new_tokens=6)
    assert_same(found, expected)
    assert found.scores == pytest.approx(expected.scores)
    assert found.costs.tokens_per_layer == expected.costs.tokens_per_layer
    assert found.costs.text_tokens == expected.costs.text_tokens
    assert found.costs.real_flops == expected.costs.real_flops


@pytest.mark.parametrize("name", ["visionzip", "stdpp", "vidcom2", "frames"])
def test_any_method_that_chooses_before_the_llm_works_without_a_bound(vlm, name):
    method = METHODS[name](retention=0.5)
    video = clip()
    with Stream(vlm, method, pool=None) as stream:
        stream.feed(video.frames, video.seconds)
        assert_same(stream.ask(QUESTION), answer(vlm, video, QUESTION, method))


def test_history_and_a_recorded_trace_are_those_of_the_video(vlm):
    video, before = clip(), [("is there a red circle?", "no")]
    options = {"history": before, "record": True, "max_new_tokens": 4}
    expected = answer(vlm, video, QUESTION, BOTH, **options)
    with Stream(vlm, BOTH) as stream:
        stream.feed(video.frames, video.seconds)
        found = stream.ask(QUESTION, **options)
    assert_same(found, expected)
    assert [w.text for w in found.trace.words] == [w.text for w in expected.trace.words]
    np.testing.assert_allclose(found.trace.attention, expected.trace.attention, atol=2e-3)
    assert found.trace.features is None


@pytest.mark.parametrize("kind", BUILDERS)
def test_families_in_parts_are_those_that_say_so(kind):
    vlm = VLM(*BUILDERS[kind](seed=1), kind, "cpu", frames=6)
    method, video = STC(retention=0.4, layer=2), clip(4)
    if kind not in ("llava_onevision", "llava_next_video"):
        with pytest.raises(InputError, match="cannot read a video in parts"):
            Stream(vlm, method)
        return
    with Stream(vlm, method, pool=None) as stream:
        stream.feed(video.frames[:3], video.seconds[:3])
        stream.feed(video.frames[3:], video.seconds[3:])
        found = stream.ask(QUESTION, max_new_tokens=4)
    assert_same(found, answer(vlm, video, QUESTION, method, max_new_tokens=4))


# --- a full one -----------------------------------------------------------------------------------


def full(vlm, sizes=(6,), method=BOTH, pool=48):
    video = clip(6)
    stream, first = Stream(vlm, method, pool=pool), 0
    for size in sizes:
        stream.feed(video.frames[first : first + size], video.seconds[first : first + size])
        first += size
    return stream


def test_a_full_stream_stays_within_its_pool_and_answers_any_time(vlm):
    video = clip(12)
    with Stream(vlm, BOTH, pool=48) as stream:
        for t in range(12):
            stream.feed(video.frames[t : t + 1], video.seconds[t : t + 1])
            assert stream.held <= 48 and stream.frames == t + 1
            found = stream.ask(QUESTION, max_new_tokens=2)
            assert found.trace.grid == TokenGrid(t + 1, 4, 4, 40, 40)
            assert len(found.trace.outside.survivors) == min(round(0.4 * 16 * (t + 1)), 24)
    assert any("at most 48 of its 192 tokens were held" in note for note in found.trace.notes)


def test_chunks_and_questions_between_them_change_nothing(vlm):
    whole = full(vlm).ask(QUESTION)
    for sizes in ((1,) * 6, (2, 4), (5, 1)):
        assert_same(full(vlm, sizes).ask(QUESTION), whole)
    stream = full(vlm)
    assert_same(stream.ask(QUESTION), whole)
    stream.ask("is there a red circle?")
    assert_same(stream.ask(QUESTION), whole)


def test_its_trace_is_saved_and_read(vlm, tmp_path):
    trace = full(vlm).ask(QUESTION).trace
    loaded = Trace.load(trace.save(tmp_path / "stream.npz"))
    np.testing.assert_array_equal(loaded.fate, trace.fate)
    merged = np.bincount(trace.outside.target[trace.outside.target >= 0], minlength=96)
    assert merged.max() > 1 and trace.costs["seconds"]["vision"] > 0


def test_a_long_chunk_is_encoded_in_parts(vlm, monkeypatch):
    expected = full(vlm).ask(QUESTION)
    monkeypatch.setattr(video_stream, "PART", 2)
    told = []
    stream = Stream(vlm, BOTH, pool=48)
    video = clip(6)
    stream.feed(video.frames, video.seconds, progress=lambda stage, share: told.append(stage))
    assert_same(stream.ask(QUESTION), expected)
    assert [s for s in told if "/" in s] == [f"vision {n}/6 frames" for n in (2, 4, 6)]


def test_the_tower_runs_once_with_a_cache(vlm):
    cache = RunCache()
    found = []
    for _ in range(2):
        stream = Stream(vlm, BOTH, cache=cache)
        stream.feed(clip().frames)
        found.append(stream.ask(QUESTION))
    assert cache.hits == 1
    assert_same(*found)


def test_a_stream_leaves_the_model_as_it_was(vlm):
    full(vlm).ask(QUESTION)  # transformers hooks a model that runs for the first time itself
    before = snapshot(vlm.model)
    stream = full(vlm)
    stream.ask(QUESTION)

    def stop(stage, share):
        raise KeyboardInterrupt

    for go in (
        lambda: stream.feed(clip().frames, np.arange(6) + 100, progress=stop),
        lambda: stream.ask(QUESTION, progress=stop),
    ):
        with pytest.raises(KeyboardInterrupt):
            go()
    projector = vlm.model.base_model.multi_modal_projector
    hook = projector.register_forward_hook(lambda *_: stop("vision", 0.0))
    with pytest.raises(KeyboardInterrupt):
        stream.feed(clip().frames, np.arange(6) + 100)
    hook.remove()
    assert snapshot(vlm.model) == before


def test_progress_is_the_share_of_the_chunk_that_is_done(vlm, monkeypatch):
    monkeypatch.setattr(video_stream, "PART", 2)
    told = []
    with Stream(vlm, BOTH) as stream:
        stream.feed(clip(8).frames, progress=lambda *stage: told.append(stage))
    parts = [(f"vision {n}/8 frames", n / 8) for n in (2, 4, 6, 8)]
    assert told == [("vision", 0.0), *parts]


def test_a_chunk_that_is_stopped_leaves_its_parts_and_their_time(vlm, monkeypatch):
    monkeypatch.setattr(video_stream, "PART", 2)

    def stop(stage, share):
        if share:
            raise KeyboardInterrupt

    with Stream(vlm, BOTH) as stream:
        with pytest.raises(KeyboardInterrupt):
            stream.feed(clip().frames, progress=stop)
        found = stream.ask(QUESTION, max_new_tokens=1)
    assert found.trace.grid.frames == 2 and found.costs.seconds["vision"] > 0


def test_a_stream_holds_no_more_of_the_tower_than_its_looks(monkeypatch):
    monkeypatch.setattr(video_stream, "LOOKS", 2)
    with Stream(load(device="cpu")) as stream:
        for seed in range(3):
            stream.feed(clip_frames(2, seed=seed))
        looks = stream._looks
        assert len(looks) == 2  # of three, every second
        assert all(look.untyped_storage().nbytes() == look.nbytes for look in looks)


def test_inputs_without_a_video_are_one_sentence(vlm):
    before = snapshot(vlm.model)
    ids = torch.tensor([[vlm.processor.tokenizer.convert_tokens_to_ids("star")]])
    with pytest.raises(InputError, match="^these inputs hold no video$"):
        encode(vlm.model, BOTH, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    assert snapshot(vlm.model) == before


# --- videos longer than the model reads -----------------------------------------------------------


def positions_by_loops(trace, frames, first, length):
    """Where each token of the LLM's prompt stands, one by one."""
    grid = trace.grid
    found = list(range(first))
    for token in trace.outside.survivors.tolist():
        frame, cell = divmod(token, grid.per_frame)
        found.append(first + int(frame * frames / grid.frames) * grid.per_frame + cell)
    end = first + frames * grid.per_frame
    found += range(end, end + length - len(found))
    return torch.tensor(found)[None]


@torch.no_grad()
def test_the_llm_reads_the_survivors_at_positions_of_a_shorter_video(short_context):
    """Against the stock model on embeddings and positions made here, without a hook."""
    vlm, video = short_context, clip(20)
    found = answer(vlm, video, QUESTION, OUTSIDE.at(0.1), max_new_tokens=1)
    body, trace = vlm.model.base_model, found.trace
    inputs = [
        vlm.processor(
            text=vlm.processor.apply_chat_template(
                [
                    {
                        "role": "user",
                        "content": [{"type": "video"}, {"type": "text", "text": QUESTION}],
                    }
                ],
                add_generation_prompt=True,
            ),
            videos=[list(video.frames[few])],
            return_tensors="pt",
        )
        for few in (slice(0, 10), slice(10, 20))
    ]
    parts = [body.get_video_features(one["pixel_values_videos"]).pooler_output[0] for one in inputs]
    tokens = torch.cat([part[:-1] for part in parts])
    target = trace.outside.target
    rows = [tokens[torch.from_numpy(target == s)].mean(dim=0) for s in trace.outside.survivors]
    ids = inputs[0]["input_ids"][0]
    video_token = vlm.model.config.video_token_id
    first = int((ids == video_token).nonzero()[0])
    after = ids[int((ids == video_token).nonzero()[-1]) + 1 :]
    embed = vlm.model.get_input_embeddings()
    embeds = torch.cat([embed(ids[:first]), torch.stack(rows), parts[0][-1:], embed(after)])[None]
    frames = (256 - (len(ids) - 160) - 1) // 16
    assert frames == 15 and any(f"a video of {frames} frames" in note for note in trace.notes)
    where = positions_by_loops(trace, frames, first, embeds.shape[1])
    out = vlm.model(
        inputs_embeds=embeds, position_ids=where, attention_mask=torch.ones_like(where)
    ).logits[0, -1]
    sure = out.float().log_softmax(-1)
    assert found.logprob == pytest.approx(float(sure.max()), abs=1e-5)


@pytest.mark.parametrize(
    ("recorded", "frames", "expected"),
    [(None, 15, 15), (None, 16, 15), (4, 8, 8), (4, 9, 4), (4, 300, 4), (40, 16, 15)],
)
def test_positions_are_those_that_the_model_knows(short_context, recorded, frames, expected):
    short_context.model.config.stc = {"frames": recorded} if recorded else {}
    try:
        assert frames_that_fit(short_context, frames, 16, 10) == expected  # 246 of 256 tokens
    finally:
        del short_context.model.config.stc


@pytest.mark.parametrize("method", [BOTH.at(0.1), METHODS["stdpp"](retention=0.1)], ids=repr)
def test_a_video_longer_than_the_context_is_answered_as_a_stream(short_context, method):
    video = clip(20)
    told = []
    found = answer(
        short_context, video, QUESTION, method, progress=lambda stage, share: told.append(share)
    )
    with Stream(short_context, method, pool=None) as stream:
        stream.feed(video.frames, video.seconds)
        assert_same(found, stream.ask(QUESTION))
    assert found.trace.frames.shape[0] == 20 and found.trace.alive()[0] == 320
    assert told == sorted(told) and told[-1] == 1.0
    assert found.trace.costs["seconds"]["vision"] > 0


def test_what_a_cache_holds_of_a_long_video_stays_as_it_is(short_context, monkeypatch, tmp_path):
    monkeypatch.setattr("stc_core.answering.asked.MAX_SIDE", 32)  # pixels; the file has 64
    path, cache = write_clip(tmp_path / "long.mp4", range(0, 800, 40)), RunCache()
    options = {"frames": 20, "max_new_tokens": 2, "cache": cache}
    first, again = (answer(short_context, path, QUESTION, BOTH.at(0.1), **options) for _ in "ab")
    assert cache.hits and first.trace.grid == again.trace.grid
    assert (again.trace.grid.height, again.trace.grid.width) == (32, 64)


def test_chosen_frames_of_a_long_video_keep_the_tokens_of_the_usual_ones(short_context):
    short_context.frames = 30
    frames = clip_frames(12).repeat(3, axis=0)
    found = answer(
        short_context, Video.from_frames(frames), QUESTION, OUTSIDE.at(0.1), frames="auto"
    )
    assert found.trace.grid.frames == 12
    assert len(found.trace.outside.survivors) == 48  # 0.1 of 30 x 16, and not of 12 x 16
    assert any("where 30 uniform frames keep 48 of 480" in note for note in found.trace.notes)


def test_what_needs_the_whole_prompt_is_refused(short_context):
    video = clip(20)
    for option in ("baseline", "keep_cache"):
        with pytest.raises(
            InputError, match=f"^20 frames are more than 'tiny' reads at once, as {option}"
        ):
            answer(short_context, video, QUESTION, BOTH, **{option: True})
    with pytest.raises(InputError, match="reads 252; .* or a method that chooses before the LLM$"):
        answer(short_context, video, QUESTION, METHODS["fastv"](), max_new_tokens=4)
    with pytest.raises(InputError, match="^DyToK asks the LLM about all tokens first"):
        answer(short_context, video, QUESTION, DyToK(METHODS["visionzip"]()))


# --- bad input ------------------------------------------------------------------------------------


def test_a_stream_that_ends_at_once_is_one_sentence(vlm):
    with Stream(vlm) as stream, pytest.raises(InputError, match="^nothing was fed to this stream"):
        stream.ask(QUESTION)
    for go in (lambda: stream.ask(QUESTION), lambda: stream.feed(clip().frames)):
        with pytest.raises(InputError, match="^this stream is closed"):
            go()


@pytest.mark.parametrize(
    ("frames", "seconds", "says"),
    [
        (np.zeros((0, 40, 40, 3), np.uint8), None, "^this chunk holds no frame"),
        (np.zeros((2, 40, 40, 3), np.float32), None, "^frames must be an array .* of float32"),
        (np.zeros((40, 40, 3), np.uint8), None, "^frames must be an array"),
        ([np.zeros((40, w, 3), np.uint8) for w in (40, 44)], None, "other sizes must be resized$"),
        (np.zeros((2, 40, 44, 3), np.uint8), None, "here 40 x 40 pixels, not 44 x 40; resize"),
        (np.zeros((2, 40, 40, 3), np.uint8), [9.0, 8.0], "^seconds must be 2 rising numbers"),
        (np.zeros((2, 40, 40, 3), np.uint8), [5.0, 9.0], "later than those of the frames before"),
        (np.zeros((2, 40, 40, 3), np.uint8), [9.0], "^seconds must be 2 rising numbers"),
        (np.zeros((2, 40, 40, 3), np.uint8), ["a", "b"], "^seconds must be 2 rising numbers"),
    ],
)
def test_a_bad_chunk_is_one_sentence_and_the_stream_goes_on(vlm, frames, seconds, says):
    with Stream(vlm, BOTH) as stream:
        stream.feed(clip().frames)  # at 0 to 5 seconds
        with pytest.raises(InputError, match=says):
            stream.feed(frames, seconds)
        stream.feed(clip().frames)
        assert stream.ask(QUESTION).trace.seconds.tolist() == list(range(12))


def test_an_interrupt_while_tokens_merge_closes_the_stream(vlm, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    stream = full(vlm)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(STC, "outside", interrupted)
        stream.feed(clip().frames)
    with pytest.raises(InputError, match="^this stream is closed"):
        stream.ask(QUESTION)


def test_bad_pools_and_methods_are_one_sentence(vlm):
    for pool, says in ((0, "whole number from 2"), (31, "two frames' tokens, here 32, not 31")):
        with pytest.raises(InputError, match=says):
            Stream(vlm, BOTH, pool=pool)
    with pytest.raises(InputError, match="^a bounded pool is merged by STC's outside stage"):
        Stream(vlm, METHODS["visionzip"]())
    with pytest.raises(InputError, match="^a compression method is needed"):
        Stream(vlm, "stc")
    with pytest.raises(InputError, match="^layer 9 is outside this model"):
        Stream(vlm, STC(layer=9))


def test_black_frames_and_tokens_of_zero_are_answered(vlm):
    black = np.zeros((8, 40, 40, 3), np.uint8)
    with Stream(vlm, BOTH, pool=48) as stream, torch.no_grad():
        stream.feed(black)
        assert isinstance(stream.ask(QUESTION).text, str)


# --- windows by themselves ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grid", "frames"),
    [
        (TokenGrid(510, 7, 7), 510),
        (TokenGrid(511, 7, 7), 83),
        (TokenGrid(3600, 7, 7), 83),
        (TokenGrid(128, 14, 14), 20),
        (TokenGrid(2, 150, 100), 1),
    ],
)
def test_windows_are_chosen_from_25_000_tokens_on(grid, frames):
    assert frames_at_once(None, grid) == frames
    assert frames_at_once(0, grid) == frames_at_once(5000, grid) == grid.frames
    assert frames_at_once(2, grid) == 2
