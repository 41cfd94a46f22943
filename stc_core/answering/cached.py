"""Ask on from a compressed KV cache: in another process, without the video."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, overload

import torch

from stc_core.answering.accounting import costs_of_following
from stc_core.answering.answer import Answer, checked_limit
from stc_core.answering.generation import endings_of, generate, said_before, scores_of
from stc_core.answering.prompt import checked_turns, following_turn
from stc_core.answering.reporting import Progress, Reporter
from stc_core.answering.streaming import AnswerStream, OnPiece, Writing
from stc_core.errors import InputError
from stc_core.hooks.kept_cache import KeptCache, load_cache, resume
from stc_core.models.memory import context_of
from stc_core.models.vlm import VLM

__all__ = ["CachedConversation", "load_conversation"]


@dataclass(frozen=True)
class _Following:
    """Hold what is fed to go on; see ``generation.Fed``."""

    inputs: Mapping[str, Any]
    frames: int
    asked: range


@dataclass(frozen=True, eq=False)
class CachedConversation:
    """Ask on from the compressed KV cache of an answer; the video is not read again.

    ::

        found = answer(load(), "film.mp4", "what happens?", keep_cache=True)
        found.conversation.save("film.safetensors")
        ...
        talk = load_conversation("film.safetensors", load())
        found = talk.ask("who is it?")
        found.conversation.ask("where?")

    The model reads the earlier questions and answers, as with ``history``. What was dropped inside
    the LLM was decided by the first question; ``Conversation``, which needs the video, decides anew
    for each. It never changes: each question may be asked of it any number of times, and the answer
    has a conversation of its own that goes on.

    Attributes
    ----------
    vlm : VLM
    kept : KeptCache
        Keys and values of everything before the last answer, and the trace.
    system : str
        The system prompt.
    history : tuple of (str, str)
        Questions and answers so far.
    said : tuple of int
        Tokens of the last answer, which is not in the cache yet.
    """

    vlm: VLM
    kept: KeptCache
    system: str
    history: tuple[tuple[str, str], ...]
    said: tuple[int, ...]

    @overload
    def ask(
        self,
        question: str,
        *,
        score: Sequence[str] = (),
        max_new_tokens: int = 64,
        progress: Progress | None = None,
        on_piece: OnPiece | None = None,
        stream: Literal[False] = False,
    ) -> Answer: ...
    @overload
    def ask(
        self,
        question: str,
        *,
        score: Sequence[str] = (),
        max_new_tokens: int = 64,
        progress: Progress | None = None,
        on_piece: OnPiece | None = None,
        stream: Literal[True],
    ) -> AnswerStream: ...
    def ask(
        self,
        question: str,
        *,
        score: Sequence[str] = (),
        max_new_tokens: int = 64,
        progress: Progress | None = None,
        on_piece: OnPiece | None = None,
        stream: bool = False,
    ) -> Answer | AnswerStream:
        """Answer one more question.

        Parameters
        ----------
        question
            Plain text.
        score, max_new_tokens, progress, on_piece, stream
            As for ``answer``.

        Returns
        -------
        Answer
            Its trace is that of the video, with this question and answer; its costs are those of
            going on.

        Raises
        ------
        InputError
            A question or setting that cannot be used, or a conversation longer than the model
            reads.
        """
        vlm, limit = self.vlm, checked_limit(max_new_tokens)
        checked_turns(question, self.system, self.history)
        forced = endings_of(vlm, score)
        if stream:
            options = {"score": score, "max_new_tokens": limit}
            given: dict[str, Any] = {**options, "progress": progress, "on_piece": on_piece}
            return AnswerStream(partial(self.ask, question), given)
        ids, asked = following_turn(vlm, self.system, self.history, question)
        before = len(self.said)
        new = torch.tensor([[*self.said, *ids]], device=vlm.device)
        self._check_length(new.shape[1], max(limit, *map(len, forced.values()), 0))
        watch = Reporter(vlm.device, progress)
        writing = on_piece and Writing(vlm.processor, "compressed", on_piece)
        with resume(vlm.model, self.kept) as after:
            fed = _Following(
                after(new),
                self.kept.trace.grid.frames,
                range(before + asked.start, before + asked.stop),
            )
            said = generate(vlm, fed, watch, limit, writing=writing or None)
            scores = scores_of(vlm, said, forced)
        first = self.kept.trace
        costs = costs_of_following(vlm, first, self.kept.tokens, new.shape[1], len(said.ids), watch)
        turns = (*self.history, (question, said.text))
        count = len(self.history)
        trace = replace(
            first,
            question=question,
            answer=said.text,
            costs=costs.to_json(),
            baseline={},
            logprob=said.logprob,
            scores=scores,
            words=(),
            attention=None,
            full_attention=None,
            notes=(
                *first.notes,
                f"This question goes on from a kept cache, after {count} earlier "
                f"{'turn' if count == 1 else 'turns'}; the first one decided what was dropped.",
            ),
        )
        whole = replace(self.kept, cache=said.cache)
        if progress is not None:
            progress("done", 1.0)
        talk = CachedConversation(vlm, whole, self.system, turns, said_before(vlm, said))
        return Answer(said.text, trace, costs, said.logprob, scores, talk)

    def save(self, path: str | os.PathLike) -> Path:
        """Write cache, trace and texts to one safetensors file, whole or not at all.

        Raises
        ------
        InputError
            The folder does not exist or the file cannot be written.
        """
        about = {
            "system": self.system,
            "history": [list(turn) for turn in self.history],
            "said": list(self.said),
        }
        return replace(self.kept, about=about).save(path)

    def _check_length(self, new: int, room: int) -> None:
        """Refuse what would leave the model's context."""
        most = context_of(self.vlm.model.config)
        used = int(self.kept.position.max()) + new
        if used + room > most:
            raise InputError(
                f"with this question the conversation has {used} tokens and the model reads "
                f"{most - room}; begin another one"
            )


def load_conversation(path: str | os.PathLike, vlm: VLM) -> CachedConversation:
    """Read a file that ``CachedConversation.save`` wrote; everything in it is checked.

    Parameters
    ----------
    path
        The file.
    vlm
        The model that the conversation was held with, loaded again.

    Raises
    ------
    InputError
        No such file, a damaged one, one of another model or of a newer version: one sentence.
    """
    kept = load_cache(path, vlm.model)
    system, history, said = (kept.about.get(name, ()) for name in ("system", "history", "said"))
    words = vlm.model.get_input_embeddings().num_embeddings
    try:
        turns = tuple((question, text) for question, text in history)
        checked_turns("why?", system, turns)
        if not turns or not all(type(token) is int and 0 <= token < words for token in said):
            raise InputError("it holds no answer")
    except (InputError, TypeError, ValueError) as error:
        raise InputError(
            f"{os.path.basename(os.fspath(path))!r} holds a cache and no conversation that can go "
            f"on; save one with `answer(..., keep_cache=True).conversation.save(path)`"
        ) from error
    return CachedConversation(vlm, kept, system, turns, tuple(said))
