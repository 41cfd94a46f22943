"""Answer questions about a video that comes in chunk by chunk, within bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stc_core.answering.accounting import costs_of
from stc_core.answering.answer import Answer, checked_limit
from stc_core.answering.chunks import checked_chunk, checked_times
from stc_core.answering.generation import endings_of, generate, scores_of
from stc_core.answering.pooled_prompt import (
    TEXT_TOKENS,
    one_frame_prompt,
    pooled_prompt,
    with_positions,
)
from stc_core.answering.prompt import build_prompt
from stc_core.answering.recorded_words import words_of
from stc_core.answering.reporting import Progress, Reporter
from stc_core.answering.streaming import OnPiece, Writing
from stc_core.answering.teaching import outside_its_world
from stc_core.answering.video import Video
from stc_core.errors import InputError
from stc_core.hooks.pooled import Encoded, Whole, encode, entering, foreign_to_parts
from stc_core.hooks.run_cache import RunCache
from stc_core.hooks.tower import tower_output, vision
from stc_core.methods import STC, Method
from stc_core.methods.base import check_method
from stc_core.methods.parts.progress import listening_to_progress
from stc_core.methods.pool import Pool, check_limit
from stc_core.methods.stc import paper_layer
from stc_core.models.memory import context_of
from stc_core.models.vlm import VLM
from stc_core.record.grid import TokenGrid
from stc_core.record.stopwatch import Stopwatch
from stc_core.text import readable

__all__ = ["POOL", "Stream"]

POOL = 8192  # tokens held: twice those that enter the LLM at 2 % of an hour at 1 frame a second
PART = 64  # frames encoded at a time, whatever comes in at once
DECIDED = 0.5  # share of a question's time that the decision about many tokens takes
LOOKS = 16  # frames of which the tower's output is held, to tell a foreign clip


def answer_in_parts(
    vlm: VLM,
    shown: Video,
    method: Method,
    report: Progress,
    decode: Stopwatch,
    *,
    about: dict[str, Any],
    notes: Sequence[str | None],
    cache: RunCache | None = None,
    **asked: Any,
) -> Answer:
    """Answer a question about a video of which all tokens are more than the model reads.

    Parameters
    ----------
    vlm, method, cache
        As for ``answer``.
    shown
        The video.
    report
        Told of the stages from 0.1 on.
    decode
        Holds the seconds of reading the video.
    about
        From ``about_video``.
    notes
        Sentences for the trace, None for none.
    asked
        "question", "system", "history", "record", "score", "max_new_tokens" and "on_piece".
    """
    with Stream(vlm, method, pool=None, cache=cache) as stream:

        def fed(stage: str, share: float) -> None:
            report(stage, 0.1 + 0.3 * share)

        stream.feed(shown.frames, about["seconds"], progress=fed)
        watch = Reporter(vlm.device, report, 0.4, 1.0)
        found = stream._asked(watch=watch, about=about, **asked)
    costs = replace(found.costs, seconds=decode.seconds | found.costs.seconds | decode.seconds)
    told = tuple(note for note in notes if note)
    trace = replace(found.trace, costs=costs.to_json(), notes=(*found.trace.notes, *told))
    return replace(found, trace=trace, costs=costs)


class Stream:
    """Take in a video chunk by chunk; answer questions about what came so far, at any time.

    ::

        with Stream(load(), STC(retention=0.1), pool=4096) as stream:
            for frames in camera:
                stream.feed(frames)
            print(stream.ask("what flashed?").text)

    Each chunk goes through the vision tower once. Its tokens join a pool of at most ``pool``
    tokens; whenever a frame would not fit, the outside stage of STC makes half as many of them,
    and what is merged again keeps its weight (``methods.pool.Pool``). A question lets ``retention``
    of all tokens so far into the LLM, at most half of the pool; no question changes the stream. As
    long as the pool was never full these are the tokens of ``answer`` on the frames so far.

    What grows with the video is the record of each token's fate, 13 bytes a token.

    Parameters
    ----------
    vlm
        What ``load`` gives, of a family whose video tokens stand in one row: LLaVA-OneVision,
        LLaVA-NeXT-Video.
    method
        The compressor; default ``STC()``. With a bounded pool an ``STC``.
    pool
        Tokens held at most; None: all, and any method of ``METHODS`` that chooses before the LLM.
    cache
        Where the vision tower's features are kept, as for ``answer``.

    Raises
    ------
    InputError
        On construction: another method, a pool that is too small.
    """

    def __init__(
        self,
        vlm: VLM,
        method: Method | None = None,
        *,
        pool: int | None = POOL,
        cache: RunCache | None = None,
    ) -> None:
        self.vlm, self.method, self.cache = vlm, STC() if method is None else method, cache
        check_method(self.method)
        check_limit(self.method, pool)
        depth = len(vlm.model.get_decoder().layers)
        self._inside = self.method.inside_layer(depth)  # refuses what the model has no layer for
        if self.method.first_pass(depth) is not None:
            raise InputError(
                f"{type(self.method).__name__} asks the LLM about all tokens first, and a video in "
                f"parts is never there as a whole; choose another method"
            )
        if not vlm.family.parts or vlm.family.cell_shape is None:
            raise InputError(foreign_to_parts(vlm.family))
        rows, cols = vlm.family.cell_shape(vlm.model.config)
        self._pool: Pool | None = Pool(self.method, rows * cols, pool)
        room = context_of(vlm.model.config) - TEXT_TOKENS
        self._part = min(PART, max(1, room // (rows * cols)))
        self._grid: TokenGrid | None = None  # of the last part
        self._newline: Tensor | None = None
        self._size: tuple[int, int] | None = None
        self._seconds: list[float] = []
        self._looks: list[Tensor] = []
        self._spent: dict[str, float] = {}  # seconds by stage

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget the video; a closed stream takes and answers nothing more."""
        self._pool = None
        self._looks.clear()

    @property
    def frames(self) -> int:
        """Return T, the frames so far."""
        return len(self._seconds)

    @property
    def held(self) -> int:
        """Return how many tokens are held."""
        return 0 if self._pool is None else self._pool.held

    def feed(
        self,
        frames: np.ndarray,
        seconds: np.ndarray | Sequence[float] | None = None,
        *,
        progress: Progress | None = None,
    ) -> None:
        """Take in the next frames.

        Parameters
        ----------
        frames : (T, H, W, 3) uint8, RGB, T of at least 1, of the size of the first chunk's.
        seconds : (T,) rising times, later than those before; default: one frame a second.
        progress : called with a stage and the share of the chunk that is done, 0 to 1. What it
            raises ends the work between two parts of the chunk; the parts before are in the stream.

        Raises
        ------
        InputError
            Frames or times of another shape or kind, frames of another size, a closed stream, a
            family whose videos cannot be read in parts. The stream can go on.
        """
        pool, frames = self._open(), checked_chunk(frames, self._size)
        times = checked_times(len(frames), seconds, self._seconds[-1] if self._seconds else None)
        report = progress or (lambda stage, share: None)
        report("vision", 0.0)
        for first in range(0, len(frames), self._part):
            few, watch = slice(first, first + self._part), Stopwatch(self.vlm.device)
            part = self._encoded(frames[few], watch)
            with watch("compression"), self._whole_or_closed():
                pool.add(part.tokens, part.contribution)
            self._grid, self._newline, self._size = part.grid, part.newline, frames.shape[1:3]
            self._seconds += times[few].tolist()
            self._spent = _together(self._spent, watch.seconds)
            done = min(first + self._part, len(frames))
            report(f"vision {done}/{len(frames)} frames", done / len(frames))

    def ask(
        self,
        question: str,
        *,
        system: str = "",
        history: Sequence[tuple[str, str]] = (),
        record: bool = False,
        score: Sequence[str] = (),
        max_new_tokens: int = 64,
        progress: Progress | None = None,
        on_piece: OnPiece | None = None,
    ) -> Answer:
        """Answer a question about the frames so far.

        Parameters
        ----------
        question, system, history, record, score, max_new_tokens, progress, on_piece
            As for ``answer``. A recorded trace has no ``features``: their tokens are gone.

        Returns
        -------
        Answer
            Its trace holds the fate of every token since the stream began. The times of the costs
            are those of all chunks and of this question.

        Raises
        ------
        InputError
            Nothing was fed yet, the stream is closed, or as ``answer``.
        """
        watch = Reporter(self.vlm.device, progress)
        return self._asked(
            question, system, history, record, score, max_new_tokens, watch, on_piece, {}
        )

    def _asked(
        self,
        question: str,
        system: str,
        history: Sequence[tuple[str, str]],
        record: bool,
        score: Sequence[str],
        max_new_tokens: int,
        watch: Reporter,
        on_piece: OnPiece | None,
        about: dict[str, Any],
    ) -> Answer:
        """Answer; ``about``: "size" and "seen" of the grid, "frames" of the trace."""
        vlm, pool, limit = self.vlm, self._open(), checked_limit(max_new_tokens)
        if self._grid is None or self._size is None or self._newline is None:
            raise InputError("nothing was fed to this stream yet; feed it frames, then ask")
        forced = endings_of(vlm, score)
        room = max(limit, *map(len, forced.values()), 0)
        short = one_frame_prompt(vlm, question, room, self._size, system=system, history=history)
        about = dict(about)  # a cache may hold what was given
        height, width = about.pop("size", self._size)
        seen = about.pop("seen", vlm.family.seen(vlm.processor, height, width))
        grid = TokenGrid(self.frames, self._grid.rows, self._grid.cols, height, width, seen)
        clock = Stopwatch(vlm.device)
        with (
            clock("compression"),
            torch.no_grad(),
            listening_to_progress(lambda share: watch.tell("compression", DECIDED * share)),
        ):
            decision, tokens = pool.decide(grid)
        whole = Whole(grid, decision, tokens, pool.contribution, self._newline, grid.frames)
        whole, moved = with_positions(vlm, whole, grid.per_frame, short.text_tokens + room)
        prompt = pooled_prompt(vlm, short, whole, room)
        layer = None
        if record:
            depth = len(vlm.model.get_decoder().layers)
            layer = paper_layer(depth) if self._inside is None else self._inside
        writing = on_piece and Writing(vlm.processor, "compressed", on_piece)
        about |= {"question": question, "seconds": np.array(self._seconds)}
        with entering(vlm.model, self.method, whole, watch=watch, **about) as live:
            said = generate(vlm, prompt, watch, limit, layer=layer, writing=writing or None)
            scores = scores_of(vlm, said, forced)
        costs = costs_of(vlm, live, prompt, len(said.ids), watch, Stopwatch())
        costs = replace(costs, seconds=_together(self._spent, clock.seconds, costs.seconds))
        words, attention = words_of(vlm, prompt, said, live) if record else ((), None)
        looks = [torch.stack(self._looks)] if self._looks else []
        notes = (*self._remarks(pool), moved, *outside_its_world(vlm, question, looks))
        trace = replace(
            live.freeze(),
            model=readable(vlm.name),
            answer=said.text,
            costs=costs.to_json(),
            notes=(*live.notes, *filter(None, notes), *prompt.notes),
            logprob=said.logprob,
            scores=scores,
            words=words,
            attention=attention,
            attention_layer=layer,
        )
        watch.tell("done", 1.0)
        return Answer(said.text, trace, costs, said.logprob, scores)

    @contextmanager
    def _whole_or_closed(self) -> Iterator[None]:
        """Close the stream where an interrupt leaves its pool half changed."""
        try:
            yield
        except InputError:  # of features that are no numbers: nothing was added
            raise
        except BaseException:
            self.close()
            raise

    def _open(self) -> Pool:
        if self._pool is None:
            raise InputError("this stream is closed; begin another one")
        return self._pool

    def _encoded(self, frames: np.ndarray, watch: Stopwatch) -> Encoded:
        """Run some frames through the vision tower; remember how some of them look."""
        vlm = self.vlm
        inputs = build_prompt(vlm, frames, "what is this", 1, strict=False).inputs
        with (
            watch("vision"),
            vision(vlm.model, cache=self.cache, methods=[self.method], batch=vlm.vision_batch),
            tower_output(vlm.model) as seen,
        ):
            part = encode(vlm.model, self.method, inputs)
        if vlm.familiarity is not None and seen:
            self._looks.append(seen[0][0].clone())  # a view would hold all frames of the part
            if len(self._looks) > LOOKS:
                self._looks = self._looks[::2]
        return part

    def _remarks(self, pool: Pool) -> tuple[str, ...]:
        if not pool.merged:
            return ()
        return (
            f"The video came in as a stream; at most {pool.limit:,} of its {pool.seen:,} tokens "
            f"were held, and {pool.held:,} when the question came.",
        )


def _together(*spent: Mapping[str, float]) -> dict[str, float]:
    """Add up seconds by stage."""
    stages = dict.fromkeys(stage for each in spent for stage in each)
    return {stage: sum(each.get(stage, 0.0) for each in spent) for stage in stages}
