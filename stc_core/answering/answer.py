"""``load`` a Video-LLM and let it ``answer`` a question about a video, compressed and not."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stc_core.answering.generation import warm_up
from stc_core.answering.prompt import Prompt, build_prompt, checked_question, encode_text
from stc_core.answering.teaching import outside_its_world
from stc_core.answering.video import MAX_SIDE, Video, read_video, thumbnails
from stc_core.errors import InputError
from stc_core.hooks.compression import compress
from stc_core.hooks.kv_cache import cache_of
from stc_core.hooks.recording import QUESTION_WORDS, pieces
from stc_core.hooks.seams import first_position, listening, log_probability, rewind, timed
from stc_core.hooks.vision_cache import VisionCache, fingerprint, vision
from stc_core.methods import STC, Method
from stc_core.methods.stc import paper_layer
from stc_core.models.families import vision_shape
from stc_core.models.loading import VLM, load
from stc_core.models.memory import frames_that_fit
from stc_core.record.costs import Costs, kv_cache_bytes, layers_after, paper_flops
from stc_core.record.flops import LLMShape, inside_flops, outside_flops, real_flops
from stc_core.record.stopwatch import Stopwatch
from stc_core.record.trace import MAX_ATTENTION, Fate, Trace, Word
from stc_core.record.trace_header import LONGEST_ANSWER, MAX_SCORES, MAX_TOKENS_SAID, MAX_WORDS
from stc_core.text import checked_text, readable

__all__ = ["VLM", "Answer", "answer", "load"]

Progress = Callable[[str, float], None]
See = Callable[..., AbstractContextManager[None]]
GREEDY = {
    "do_sample": False, "num_beams": 1, "temperature": None, "top_p": None, "top_k": None,
}  # fmt: skip
DECODED = 256 << 20  # bytes that decoded frames may take, where the model needs no more
PICTURE_SIDE = 256  # pixels, longer side of the frames that a trace carries
# how far each stage is through one run of the model, for a progress bar
SHARES = {"vision": 0.05, "compression": 0.5, "prefill": 0.55, "answer": 0.8}


@dataclass(frozen=True)
class Answer:
    """What the model said, and what became of the video on the way.

    Attributes
    ----------
    text : str
    trace : Trace
        The fate of every video token; its ``baseline`` holds the uncompressed run.
    costs : Costs
        Of the compressed run.
    logprob : float
        Natural logarithm of the probability of this answer: the sum over its tokens, the end of
        the answer among them where it came to its end.
    scores : dict of str to float
        The same of each text in ``score``, its end included.
    """

    text: str
    trace: Trace
    costs: Costs
    logprob: float
    scores: dict[str, float] = field(default_factory=dict)


def answer(
    vlm: VLM,
    video: str | os.PathLike | Video,
    question: str,
    method: Method | None = None,
    *,
    frames: int | None = None,
    baseline: bool = False,
    record: bool = False,
    score: Sequence[str] = (),
    max_new_tokens: int = 64,
    cache: VisionCache | None = None,
    progress: Progress | None = None,
) -> Answer:
    """Ask one question about one video, greedily decoded.

    Parameters
    ----------
    vlm
        What ``load`` gives.
    video
        A file, or a ``Video`` that was read before.
    question
        Plain text. Whatever it contains stays text: no part of it becomes a special token.
    method
        The compressor; default ``STC()`` with the paper's settings.
    frames
        T, frames to sample; default: what the checkpoint records, else 32.
    baseline
        Also run the model without compression, before, and keep that answer, its probability and
        its costs in the trace.
    record
        Also keep in the trace the words, what they attend to, and the tokens' principal components.
        The time that this takes is in none of the costs.
    score
        Answers whose probability is wanted, in this run and in the uncompressed one: how likely the
        model was to say just that.
    max_new_tokens
        Longest answer, 1 to 16,384.
    cache
        Where the frames of a file, the vision tower's features and the uncompressed run are kept
        from call to call, so that another method, setting or question runs again only what depends
        on it. Answers and traces are the same bit for bit; ``Costs`` count the time that was saved
        as if it had been spent.
    progress
        Called with a stage and the share of all work done, 0 to 1. What it raises ends the run and
        leaves the model clean: the way to cancel.

    Raises
    ------
    InputError
        A video, question, setting or answer to score that cannot be used, or too little GPU memory;
        one sentence.
    """
    checked_question(question)
    max_new_tokens = _limit(max_new_tokens)
    method = STC() if method is None else method
    report = progress or (lambda stage, share: None)
    depth = len(vlm.model.get_decoder().layers)
    inside = method.inside_layer(depth)  # refuses before the work, not after
    layer = None if not record else paper_layer(depth) if inside is None else inside
    forced = _endings(vlm, score)
    decode = _Reporter(vlm.device, report, 0.0, 0.1)
    if isinstance(video, Video):
        clip, about = None, about_video(vlm, video)
    else:
        count = vlm.frames if frames is None else frames
        clip = _identity(video, count)
        read = partial(_read, vlm, video, count, decode)
        video, about, seconds = _kept(vlm, cache, clip and ("clip", clip), read)
        decode.seconds["decode"] = seconds
    room = max(max_new_tokens, *map(len, forced.values()), 0)
    ask = partial(
        build_prompt, vlm, video.frames, question, room,
        seconds=video.seconds, duration=video.duration,
    )  # fmt: skip
    asked = "prompt", clip, question, room, vlm.times, id(vlm.processor)
    prompt = _kept(vlm, cache, clip and asked, ask)
    see = partial(vision, vlm.model, cache=cache, methods=[method], batch=vlm.vision_batch)
    reference: dict = {}
    full_attention, start = None, 0.1
    if baseline:
        start = 0.55

        def whole() -> tuple[dict[str, Any], np.ndarray | None]:
            warm_up(vlm)  # or the first of the two runs would pay for what both need
            watch = _Reporter(vlm.device, report, 0.1, start, "uncompressed: ")
            said = _generate(vlm, prompt, see, watch, max_new_tokens, layer)
            return _baseline(vlm, prompt, said, watch, decode, forced, record)

        what = "uncompressed", prompt.inputs, max_new_tokens, layer, forced
        reference, full_attention = _kept(vlm, cache, what, whole)
    watch = _Reporter(vlm.device, report, start, 1.0)
    about = about | {"question": question}
    with compress(vlm.model, method, watch=watch, record=record, **about) as live:
        said = _generate(vlm, prompt, see, watch, max_new_tokens, layer)
        scores = _scores(vlm, said, forced)
    costs = _costs(vlm, live, prompt, len(said.ids), watch, decode)
    words, attention = _words(vlm, prompt, said, live) if record else ((), None)
    foreign = outside_its_world(video.rate) if vlm.embedded else None
    notes = [note for note in (video.warning, foreign, *prompt.notes) if note]
    trace = replace(
        live.freeze(),
        model=readable(vlm.name),
        answer=said.text,
        costs=costs.to_json(),
        baseline=reference,
        notes=(*live.notes, *notes),
        logprob=said.logprob,
        scores=scores,
        words=words,
        attention=attention,
        full_attention=full_attention,
        attention_layer=layer,
    )
    report("done", 1.0)
    return Answer(said.text, trace, costs, said.logprob, scores)


def _kept(vlm: VLM, cache: VisionCache | None, what: tuple | None, make: Callable[[], Any]) -> Any:
    """What ``make`` gave before for the same model and ``what``; None of either: what it gives."""
    if cache is None or what is None:
        return make()
    return cache.kept(fingerprint(vlm.model, what), make)


def _identity(path: str | os.PathLike, frames: int) -> tuple | None:
    """What says that a file is still the same; None for what is no file."""
    try:
        file = os.stat(path)
    except (OSError, TypeError, ValueError):  # reading it says better what is wrong
        return None
    return os.fspath(path), file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns, frames


def _read(
    vlm: VLM, path: str | os.PathLike, frames: int, decode: _Reporter
) -> tuple[Video, dict[str, Any], float]:
    """A file's frames, what ``about_video`` says of them, and the seconds that decoding took."""
    with decode("decode"):
        video = read_video(
            path,
            frames,
            max_side=_side(vlm, frames),
            on_progress=lambda share: decode.tell("decode", share),
        )
    return video, about_video(vlm, video), decode.seconds["decode"]


def _side(vlm: VLM, frames: int) -> int:
    """Pixels of the longer side of decoded frames: less where there are very many.

    But twice what the model makes of a frame, so that nothing it could see is lost; the sides of
    models that choose their own are left alone.
    """
    size = getattr(getattr(vlm.processor, "video_processor", None), "size", None) or {}
    side = max(size.get("height") or 0, size.get("width") or 0)
    if not side or not isinstance(frames, int) or frames < 1:
        return MAX_SIDE
    return min(MAX_SIDE, max(math.isqrt(DECODED // (3 * frames)), 2 * side))


def about_video(vlm: VLM, video: Video) -> dict[str, Any]:
    """What ``compress`` wants to know of a clip, by the time steps of the model's grid.

    Where a step holds several frames it is shown by its first and stands at their mean time; the
    last one is repeated where one is missing, as the processors do it.
    """
    step = vlm.family.step(vlm.model.config)
    seconds = np.pad(video.seconds, (0, -len(video.seconds) % step), mode="edge")
    return {
        "seconds": seconds.reshape(-1, step).mean(axis=1),
        "size": video.source_size,
        "seen": vlm.family.seen(vlm.processor, *video.source_size),
        "frames": thumbnails(video.frames[::step], PICTURE_SIDE),
    }


class _Reporter(Stopwatch):
    """A stopwatch that tells of each stage as it starts, as a share of all work."""

    def __init__(
        self, device: str, report: Progress, start: float, end: float, prefix: str = ""
    ) -> None:
        super().__init__(device)
        self._report, self._start, self._end, self._prefix = report, start, end, prefix
        self._share = start

    def start(self, stage: str) -> None:
        if stage in SHARES:
            self.tell(stage, SHARES[stage])
        super().start(stage)

    def seen(self, frames: int, total: int) -> None:
        """So many of all frames have passed the vision tower."""
        share = SHARES["vision"] + (SHARES["compression"] - SHARES["vision"]) * frames / total
        self.tell(f"vision {frames}/{total} frames", share)

    def tell(self, stage: str, share: float) -> None:
        self._share = max(self._share, self._start + share * (self._end - self._start))
        self._report(self._prefix + stage, self._share)


@dataclass
class _Said:
    """One run of the model.

    ids are the new tokens, the end among them where it came, logprobs theirs; first (V,) are the
    logits of the first one and ``position`` its position ids (..., 1, 1), cache holds the prompt,
    heard is what ``listening`` yields.
    """

    text: str
    ids: list[int]
    logprobs: list[float]
    first: Tensor
    position: Tensor
    cache: object
    heard: list[Tensor]

    @property
    def logprob(self) -> float:
        return sum(self.logprobs)


def _baseline(
    vlm: VLM,
    prompt: Prompt,
    said: _Said,
    watch: Stopwatch,
    decode: Stopwatch,
    forced: dict[str, list[int]],
    record: bool,
) -> tuple[dict[str, Any], np.ndarray | None]:
    """``baseline`` and ``full_attention`` of a trace, from the uncompressed run."""
    found = {
        "answer": said.text,
        "costs": _costs(vlm, None, prompt, len(said.ids), watch, decode).to_json(),
        "logprob": said.logprob,
        "scores": _scores(vlm, said, forced),
    }
    if not record:
        return found, None
    words, attention = _words(vlm, prompt, said, None)
    return found | {"words": [asdict(word) for word in words]}, attention


def _generate(
    vlm: VLM, prompt: Prompt, see: See, watch: _Reporter, limit: int, layer: int | None
) -> _Said:
    """Answer; the watch learns of every token. ``layer``: where to listen, None: nowhere.

    see: ``vision`` for this model, without its watch.
    """
    count = 0

    def step(ids: Tensor, scores: Tensor, **_) -> Tensor:
        nonlocal count
        count += 1
        watch.token()
        watch.tell("answer", SHARES["answer"] + (1 - SHARES["answer"]) * count / limit)
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    length = prompt.inputs["input_ids"].shape[1]
    last = length - _asked(prompt).start  # the question and what the template puts after it
    ear = nullcontext([]) if layer is None else listening(vlm.model, layer, last, watch)
    try:
        tower = vlm.family.tower(vlm.model)
        place = first_position(vlm.model)
        sight = see(watch=watch, report=watch.seen)
        times = timed(vlm.model, tower, watch)
        with torch.no_grad(), sight, times, place as position, ear as heard:
            output = vlm.model.generate(
                **prompt.inputs,
                **GREEDY,
                max_new_tokens=limit,
                stopping_criteria=[step],
                output_logits=True,  # as the model gave them, before any processor
                return_dict_in_generate=True,
            )
    except torch.OutOfMemoryError as error:
        raise InputError(frames_that_fit(vlm, prompt.frames)) from error
    new = output.sequences[0, length:]
    sure = torch.cat(output.logits).float().log_softmax(-1).gather(1, new[:, None])[:, 0]
    cache = cache_of(output)
    rewind(cache, count - 1)  # the last token was never fed
    return _Said(
        readable(vlm.processor.decode(new, skip_special_tokens=True).strip())[:LONGEST_ANSWER],
        new.tolist(),
        sure.tolist(),
        output.logits[0][0],
        position[0],
        cache,
        heard,
    )


def _endings(vlm: VLM, score: Sequence[str]) -> dict[str, list[int]]:
    """The tokens of each answer to score, with the end. ``InputError`` for what cannot be said."""
    if isinstance(score, str):
        raise InputError("score takes several answers; write score=[answer] for one")
    if len(score) > MAX_SCORES:
        raise InputError(f"at most {MAX_SCORES} answers can be scored, not {len(score)}")
    tokenizer, endings = vlm.processor.tokenizer, {}
    for text in score:
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"an answer to score must be a text, not {text!r}")
        checked_text(text, "an answer to score", LONGEST_ANSWER, controls=True)
        ids = encode_text(tokenizer, text.strip())
        if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids:
            raise InputError(
                f"the model {vlm.name!r} has no words for the answer {text!r}; score one that it "
                f"can give"
            )
        endings[text] = [*ids, *_ends(vlm)[:1]]
    return endings


def _limit(tokens: object) -> int:
    """``max_new_tokens`` as a number; ``InputError`` where it is none."""
    try:
        number = operator.index(tokens)
    except TypeError:
        number = 0
    if isinstance(tokens, bool) or not 1 <= number <= MAX_TOKENS_SAID:
        raise InputError(
            f"max_new_tokens must be a whole number from 1 to {MAX_TOKENS_SAID}, not {tokens!r}"
        )
    return number


def _ends(vlm: VLM) -> list[int]:
    """The tokens that end an answer, the usual one first."""
    ends = vlm.model.generation_config.eos_token_id
    if ends is None:
        return []
    return list(ends) if isinstance(ends, (list, tuple)) else [ends]


def _scores(vlm: VLM, said: _Said, forced: dict[str, list[int]]) -> dict[str, float]:
    """Logarithms of the probability of other answers after the prompt that the cache holds."""
    return {
        text: log_probability(vlm.model, said.cache, said.first, ids, said.position)
        for text, ids in forced.items()
    }


def _asked(prompt: Prompt) -> range:
    """Places of the question's tokens that are recorded."""
    return prompt.asked[-QUESTION_WORDS:]


def _words(
    vlm: VLM, prompt: Prompt, said: _Said, trace: Trace | None
) -> tuple[tuple[Word, ...], np.ndarray]:
    """The words of question and answer, and (W, n) float16: what each pays to the video.

    trace: of the compressed run; None where all N tokens entered the LLM.
    """
    tokenizer, ids = vlm.processor.tokenizer, prompt.inputs["input_ids"][0]
    asked = ids[list(_asked(prompt))].tolist()
    answered = said.ids[:-1] if said.ids[-1] in _ends(vlm) else said.ids
    words = (
        *(Word(readable(text), "question") for text in pieces(tokenizer, asked)),
        *(
            Word(readable(text), "answer", logprob)
            for text, logprob in zip(pieces(tokenizer, answered), said.logprobs, strict=False)
        ),
    )
    layout = prompt.layout
    if trace is not None:
        entered = torch.from_numpy(trace.stage("outside").survivors).to(ids.device)
        layout = layout.after(layout.going(len(ids), entered).nonzero().flatten(), entered)
    places = layout.tokens.cpu()
    read, *fed = said.heard
    # a word of the answer was predicted where the token before it stood
    rows = [*read[: len(asked)], read[-1], *(row[0] for row in fed)]
    words = words[: min(MAX_WORDS, MAX_ATTENTION // len(prompt.layout.tokens))]
    paid = torch.stack([row[places] for row in rows[: len(words)]])
    return words, paid.half().numpy()


def _costs(
    vlm: VLM, trace: Trace | None, prompt, generated: int, watch: Stopwatch, decode: Stopwatch
) -> Costs:
    """The costs of a finished run; trace None: nothing was compressed."""
    config = vlm.model.config
    llm, vision = LLMShape.from_config(config), vision_shape(config)
    full = prompt.video_tokens
    steps = [full] if trace is None else trace.alive()
    inside = None if trace is None else trace.stage("inside")
    layer = llm.layers - 1 if inside is None else inside.layer
    llm_tokens, end = steps[min(1, len(steps) - 1)], steps[-1]
    per_layer = layers_after(layer, llm.layers, llm_tokens, end)
    compression, text_tokens = 0, prompt.text_tokens
    if trace is not None:
        entered = torch.from_numpy(trace.stage("outside").survivors).to(vlm.device)
        length = prompt.inputs["input_ids"].shape[1]
        text_tokens = int(prompt.layout.going(length, entered).sum()) - len(entered)
        fates = np.bincount(trace.stage("outside").fate, minlength=len(Fate))
        compression = sum(
            outside_flops(
                full,
                llm.hidden,
                int(fates[Fate.KEPT]),
                int(fates[Fate.CENTER]),
                vision=vision,
                frames=prompt.layout.frames,
                patches=prompt.patches,
            ).values()
        ) + inside_flops(llm, llm_tokens, end, prompt.text_after)
    parameter = next(vlm.model.parameters())
    seconds = {"decode": 0.0} | decode.seconds | watch.seconds
    return Costs(
        tokens_full=full,
        tokens_llm=llm_tokens,
        tokens_end=end,
        tokens_per_layer=tuple(per_layer),
        text_tokens=text_tokens,
        generated_tokens=generated,
        paper_flops=paper_flops(per_layer, llm.hidden, llm.ffn),
        real_flops=real_flops(
            llm,
            per_layer,
            text_tokens,
            generated,
            vision=vision,
            frames=prompt.layout.frames,
            patches=prompt.patches,
            compression=compression,
        ),
        kv_bytes=kv_cache_bytes(
            [count + text_tokens for count in per_layer],
            llm.kv_heads,
            llm.head_dim,
            parameter.element_size(),
        ),
        seconds=seconds,
        seconds_per_token=tuple(watch.per_token),
        time_to_first_token=watch.first_token,
        peak_memory_bytes=watch.peak_memory_bytes(),
    )
