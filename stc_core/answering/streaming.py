"""Give an answer away while it is written: its text in pieces, token by token."""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stc_core.errors import InputError
from stc_core.record.trace_header import LONGEST_ANSWER
from stc_core.text import readable

if TYPE_CHECKING:
    from stc_core.answering.answer import Answer

__all__ = ["AnswerStream", "OnPiece", "Piece", "Writing"]

RUNS = "uncompressed", "compressed"
_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")  # SentencePiece: one byte of a character


class Piece(str):
    """Hold a piece of an answer's text, a ``str`` that knows its run.

    Attributes
    ----------
    run : str
        "uncompressed" or "compressed".
    """

    run: str

    def __new__(cls, text: str, run: str) -> Piece:
        piece = super().__new__(cls, text)
        piece.run = run
        return piece

    def __reduce__(self) -> tuple[type[Piece], tuple[str, str]]:
        return Piece, (str(self), self.run)


OnPiece = Callable[[Piece], None]


class Writing:
    """Turn the tokens of one run into pieces of its text, which joined are the answer.

    A piece holds whole characters and nothing that a later token could change: the rest waits.

    Parameters
    ----------
    processor
        Of the model: what decodes the answer.
    run : str
        "uncompressed" or "compressed".
    tell : callable
        Called with each ``Piece``.
    """

    def __init__(self, processor: Any, run: str, tell: OnPiece) -> None:
        self._processor, self._run, self._tell = processor, run, tell
        # such a tokenizer takes spaces away again, before "n't" and "."
        self._skipped = set(processor.tokenizer.all_special_ids)
        self._tidies = bool(getattr(processor.tokenizer, "clean_up_tokenization_spaces", False))
        self.text = ""  # told so far

    def look(self, ids: Sequence[int]) -> None:
        """Tell what is new, given all tokens so far."""
        if ids[-1] in self._skipped:
            return
        last = self._processor.tokenizer.convert_ids_to_tokens(ids[-1])
        if isinstance(last, str) and _BYTE.fullmatch(last):
            return  # one bad byte later would change the characters before it
        text = answer_text(self._processor, ids).rstrip("\ufffd").rstrip()
        if self._tidies:
            text = text[: max(text.rfind(" "), 0)]
        if text.startswith(self.text):
            self._add(text)

    def end(self, text: str) -> None:
        """Tell the rest of the answer; all of it, where no token was seen."""
        if text.startswith(self.text):
            self._add(text)

    def _add(self, text: str) -> None:
        new, self.text = text[len(self.text) :], text
        if new:
            self._tell(Piece(new, self._run))


def answer_text(processor: Any, ids: Sequence[int]) -> str:
    """Return the text of an answer's tokens, as it is said everywhere."""
    return readable(processor.decode(ids, skip_special_tokens=True).strip())[:LONGEST_ANSWER]


class AnswerStream(Iterator[Piece]):
    """Give the pieces of an answer as they are written, and in the end the answer.

    ::

        with answer(vlm, "clip.mp4", "what happens?", stream=True) as stream:
            for piece in stream:
                print(piece, end="", flush=True)
        stream.answer.trace.counts()

    The model begins with the first piece that is asked for, in a thread of its own, and does not
    wait for whoever reads. Closing the stream early, with ``close``, ``with`` or by forgetting it,
    ends the run and leaves the model clean.
    """

    def __init__(self, ask: Callable[..., Answer], options: Mapping[str, Any]) -> None:
        self._pieces = _written(ask, options)
        self._answer: Answer | None = None

    def __iter__(self) -> AnswerStream:
        return self

    def __next__(self) -> Piece:
        try:
            return next(self._pieces)
        except StopIteration as end:
            if end.value is not None:
                self._answer = end.value
            raise StopIteration from None

    @property
    def answer(self) -> Answer:
        """Return what ``answer`` returns without ``stream``, once the model has written it.

        Raises
        ------
        InputError
            As ``answer``; or the stream was closed before its end.
        """
        for _ in self:
            pass
        if self._answer is None:
            raise InputError("this stream was closed before the answer was complete; ask again")
        return self._answer

    def close(self) -> None:
        """End the run, where it has not ended; return once the model is clean."""
        self._pieces.close()

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Closed(Exception):
    """Ends a run whose stream was closed."""


def _written(
    ask: Callable[..., Answer], options: Mapping[str, Any]
) -> Generator[Piece, None, Answer]:
    """Yield the pieces of a run in another thread and return its answer.

    A function, not a method: the thread and its stream must not keep each other alive.
    """
    news: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    closed = threading.Event()

    def progress(stage: str, share: float) -> None:
        if closed.is_set():
            raise _Closed
        if options.get("progress") is not None:
            options["progress"](stage, share)

    def on_piece(piece: Piece) -> None:
        news.put(("piece", piece))
        if options.get("on_piece") is not None:
            options["on_piece"](piece)

    def work() -> None:
        try:
            found = ask(**{**options, "progress": progress, "on_piece": on_piece})
            news.put(("answer", found))
        except _Closed:
            pass
        except BaseException as error:
            news.put(("error", error))

    thread = threading.Thread(target=work, name="answer", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = news.get()
            if kind == "error":
                raise value
            if kind == "answer":
                return value
            yield value
    finally:
        closed.set()
        thread.join()
