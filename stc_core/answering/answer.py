"""Answer one question about one video, compressed and not."""

from __future__ import annotations

import operator
import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypedDict, overload

import numpy as np

from stc_core.answering.accounting import costs_of
from stc_core.answering.asked import WHOLE, chosen_of, prompt_about, recalled, shown_of
from stc_core.answering.download import downloaded, is_url
from stc_core.answering.equal_tokens import with_usual_budget
from stc_core.answering.frame_selection import checked_candidates
from stc_core.answering.generation import (
    Said,
    endings_of,
    generate,
    said_before,
    scores_of,
    warm_up,
)
from stc_core.answering.pooled_prompt import is_longer_than_read
from stc_core.answering.prompt import Prompt, checked_turns
from stc_core.answering.recorded_words import words_of
from stc_core.answering.reporting import Progress, Reporter
from stc_core.answering.streaming import RUNS, AnswerStream, OnPiece, Writing
from stc_core.answering.teaching import longer_than_taught, outside_its_world
from stc_core.answering.video import Video
from stc_core.errors import InputError
from stc_core.hooks.compression import compress
from stc_core.hooks.run_cache import RunCache
from stc_core.hooks.tower import tower_output, vision
from stc_core.methods import STC, Method
from stc_core.methods.stc import paper_layer
from stc_core.models.vlm import VLM
from stc_core.record.costs import Costs
from stc_core.record.stopwatch import Stopwatch
from stc_core.record.trace import Trace
from stc_core.record.trace_header import MAX_TOKENS_SAID
from stc_core.text import readable

if TYPE_CHECKING:
    from typing import Unpack  # not before Python 3.11

    from stc_core.answering.cached import CachedConversation


@dataclass(frozen=True)
class Answer:
    """Hold what the model said, and what became of the video on the way.

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
    conversation : CachedConversation or None
        With ``keep_cache``: what goes on from the compressed KV cache of this answer.
    """

    text: str
    trace: Trace
    costs: Costs
    logprob: float
    scores: dict[str, float] = field(default_factory=dict)
    conversation: CachedConversation | None = field(default=None, repr=False)

    def _repr_html_(self) -> str | None:
        return self.trace._repr_html_()


class Options(TypedDict, total=False):
    """List the options of ``answer``, which describes them."""

    frames: int | Literal["auto"] | None
    candidates: int | None
    start: float
    end: float | None
    track: int | None
    allow_url: bool
    system: str
    history: Sequence[tuple[str, str]]
    baseline: bool
    record: bool
    score: Sequence[str]
    keep_cache: bool
    max_new_tokens: int
    cache: RunCache | None
    progress: Progress | None
    on_piece: OnPiece | None


@overload
def answer(
    vlm: VLM,
    video: str | os.PathLike | Video,
    question: str,
    method: Method | None = None,
    *,
    stream: Literal[False] = False,
    **options: Unpack[Options],
) -> Answer: ...
@overload
def answer(
    vlm: VLM,
    video: str | os.PathLike | Video,
    question: str,
    method: Method | None = None,
    *,
    stream: Literal[True],
    **options: Unpack[Options],
) -> AnswerStream: ...
def answer(
    vlm: VLM,
    video: str | os.PathLike | Video,
    question: str,
    method: Method | None = None,
    *,
    frames: int | Literal["auto"] | None = None,
    candidates: int | None = None,
    start: float = 0.0,
    end: float | None = None,
    track: int | None = None,
    allow_url: bool = False,
    system: str = "",
    history: Sequence[tuple[str, str]] = (),
    baseline: bool = False,
    record: bool = False,
    score: Sequence[str] = (),
    keep_cache: bool = False,
    max_new_tokens: int = 64,
    cache: RunCache | None = None,
    progress: Progress | None = None,
    on_piece: OnPiece | None = None,
    stream: bool = False,
) -> Answer | AnswerStream:
    """Ask one question about one video, greedily decoded.

    Parameters
    ----------
    vlm
        What ``load`` gives.
    video
        A file, or a ``Video`` that was read before; with ``allow_url`` also an address.
    question
        Plain text. Whatever it contains stays text: no part of it becomes a special token.
    method
        The compressor; default ``STC()`` with the paper's settings.
    frames
        T, frames of a file to sample; default: what the checkpoint records, else 32. "auto": of
        a file or ``Video``, those among ``candidates`` that differ, at most the default number.
        Then ``retention`` is that of the default frames: with fewer of them the method keeps as
        many tokens, and the trace says of how many. See ``frame_selection``.
    candidates
        With ``frames="auto"``: frames to look at, uniform in time, from the default number to 4096;
        default: 128.
    start, end, track
        Of a file: the stretch in seconds to sample, and the video track, as for ``read_video``.
    allow_url
        Take an http or https address for ``video``: it is downloaded as by ``downloaded``, at most
        2 GiB in 10 minutes and from public hosts only, and removed again.
    system
        A system prompt, where the model's chat template has a place for one.
    history
        Earlier (question, answer) pairs about the same video, which the model reads before this
        question.
    baseline
        Also run the model without compression, before, and keep that answer, its probability and
        its costs in the trace.
    record
        Also keep in the trace the words, what they attend to, and the tokens' principal components.
        The time that this takes is in none of the costs.
    score
        Answers whose probability is wanted, in this run and in the uncompressed one: how likely the
        model was to say just that.
    keep_cache
        Also keep the compressed KV cache: ``conversation`` of the answer asks on from it, saves it
        and reads no video again.
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
    on_piece
        Called with each piece of text as it is written, a ``str`` that names its ``run``:
        "uncompressed" with ``baseline``, then "compressed". What it raises ends the run, too.
    stream
        Return at once an ``AnswerStream``: an iterator over the same pieces, whose ``answer`` is in
        the end what is returned without it.

    Raises
    ------
    InputError
        A video, question, setting or answer to score that cannot be used, or too little GPU memory;
        one sentence.

    Notes
    -----
    A video whose tokens are more than the model reads goes through the vision tower in parts, and
    the LLM gets those that the method chose from all of them, at positions that it reads
    (docs/long-video.md). There is no uncompressed run of it, no kept cache, and no ``features``.
    """
    checked_turns(question, system, history)
    max_new_tokens = checked_limit(max_new_tokens)
    method = STC() if method is None else method
    report = progress or (lambda stage, share: None)
    depth = len(vlm.model.get_decoder().layers)
    inside = method.inside_layer(depth)  # refuses before the work, not after
    layer = None if not record else paper_layer(depth) if inside is None else inside
    forced = endings_of(vlm, score)
    looks = checked_candidates(frames, candidates, vlm.frames)
    if stream:
        options = Options(
            frames=frames, candidates=candidates, start=start, end=end, track=track,
            allow_url=allow_url, system=system, history=history, baseline=baseline, record=record,
            score=score, keep_cache=keep_cache, max_new_tokens=max_new_tokens, cache=cache,
            progress=progress, on_piece=on_piece,
        )  # fmt: skip
        return AnswerStream(partial(answer, vlm, video, question, method), options)
    decode = Reporter(vlm.device, report, 0.0, 0.1)
    part = {"start": start, "end": end, "track": track}
    room = max(max_new_tokens, *map(len, forced.values()), 0)
    fetch: AbstractContextManager[Any] = nullcontext(video)
    if allow_url and is_url(video):
        fetch = downloaded(str(video), on_progress=lambda share: decode.tell("download", share))
    chosen = None
    with fetch as file:
        if looks is not None:
            chosen = chosen_of(vlm, file, looks, cache, decode, part)
            file, part = chosen.video, dict(WHOLE)
        count = None if isinstance(frames, str) else frames
        shown, about, clip = shown_of(vlm, file, count, cache, decode, part)
    sampled = "clip" if (start, end) == (0.0, None) else "stretch"
    fewer = None if isinstance(video, Video) else _fewer(len(shown.frames), count, sampled)
    before, budget = _before(system, len(history)), None
    if chosen is not None:
        method, budget = with_usual_budget(vlm, method, chosen)
    if is_longer_than_read(vlm, len(shown.frames), room):
        from stc_core.answering.video_stream import answer_in_parts  # which gives answers itself

        if baseline or keep_cache:
            option = "baseline" if baseline else "keep_cache"
            raise InputError(
                f"{len(shown.frames)} frames are more than {vlm.name!r} reads at once, as "
                f"{option} needs them; leave it out, or use fewer frames"
            )
        return answer_in_parts(
            vlm, shown, method, report, decode, about=about, question=question, system=system,
            history=history, record=record, score=score, max_new_tokens=max_new_tokens,
            on_piece=on_piece, notes=(shown.warning, fewer, budget, before), cache=cache,
        )  # fmt: skip
    prompt = prompt_about(vlm, shown, question, room, cache, clip, system=system, history=history)
    see = partial(vision, vlm.model, cache=cache, methods=[method], batch=vlm.vision_batch)
    reference: dict = {}
    full_attention, done = None, 0.1
    full, small = (on_piece and Writing(vlm.processor, run, on_piece) for run in RUNS)
    if baseline:
        done = 0.55

        def whole() -> tuple[dict[str, Any], np.ndarray | None]:
            warm_up(vlm)  # or the first of the two runs would pay for what both need
            watch = Reporter(vlm.device, report, 0.1, done, "uncompressed: ")
            said = generate(vlm, prompt, watch, max_new_tokens, see=see, layer=layer, writing=full)
            return _baseline(vlm, prompt, said, watch, decode, forced, record)

        what = "uncompressed", prompt.inputs, max_new_tokens, layer, forced
        reference, full_attention = recalled(vlm, cache, what, whole)
        if full is not None:
            full.end(reference["answer"])  # all of it, where the run was kept from before
    watch = Reporter(vlm.device, report, done, 1.0)
    about = about | {"question": question}
    listened: AbstractContextManager[list] = nullcontext([])
    if vlm.embedded:
        listened = tower_output(vlm.model)
    with (
        listened as seen,
        compress(vlm.model, method, watch=watch, record=record, **about) as live,
    ):
        said = generate(vlm, prompt, watch, max_new_tokens, see=see, layer=layer, writing=small)
        scores = scores_of(vlm, said, forced)
        held = live.keep(said.cache) if keep_cache else None
    costs = costs_of(vlm, live, prompt, len(said.ids), watch, decode)
    words, attention = words_of(vlm, prompt, said, live) if record else ((), None)
    foreign = outside_its_world(vlm, question, seen)
    foreign += longer_than_taught(vlm, len(shown.frames))
    told = (shown.warning, fewer, budget, before, *foreign, *prompt.notes)
    notes = [note for note in told if note]
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
    talk = None
    if held is not None:
        from stc_core.answering.cached import CachedConversation  # which gives answers itself

        turns = (*((asked, told) for asked, told in history), (question, said.text))
        kept_with = replace(held, trace=trace)
        talk = CachedConversation(vlm, kept_with, system, turns, said_before(vlm, said))
    return Answer(said.text, trace, costs, said.logprob, scores, talk)


def _before(system: str, turns: int) -> str | None:
    """Say what stood before the question in the prompt; None where nothing did."""
    parts = ["a system prompt"] if system.strip() else []
    if turns:
        parts.append("1 earlier turn" if turns == 1 else f"{turns} earlier turns")
    return f"The prompt held {' and '.join(parts)} before the question." if parts else None


def _fewer(found: int, wanted: int | None, what: str) -> str | None:
    """Say that the file has fewer frames than were asked for; None where it has enough."""
    if wanted is None or found >= wanted:
        return None
    each = "it was taken" if found == 1 else "each was taken once"
    return f"{wanted} frames were asked for, and the {what} has {found}: {each}."


def _baseline(
    vlm: VLM,
    prompt: Prompt,
    said: Said,
    watch: Stopwatch,
    decode: Stopwatch,
    forced: dict[str, list[int]],
    record: bool,
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Return ``baseline`` and ``full_attention`` of a trace, from the uncompressed run."""
    found = {
        "answer": said.text,
        "costs": costs_of(vlm, None, prompt, len(said.ids), watch, decode).to_json(),
        "logprob": said.logprob,
        "scores": scores_of(vlm, said, forced),
    }
    if not record:
        return found, None
    words, attention = words_of(vlm, prompt, said, None)
    return found | {"words": [asdict(word) for word in words]}, attention


def checked_limit(tokens: Any) -> int:
    """Return ``max_new_tokens`` as a number; ``InputError`` where it is none."""
    try:
        number = operator.index(tokens)
    except TypeError:
        number = 0
    if isinstance(tokens, bool) or not 1 <= number <= MAX_TOKENS_SAID:
        raise InputError(
            f"max_new_tokens must be a whole number from 1 to {MAX_TOKENS_SAID}, not {tokens!r}"
        )
    return number
