"""Ask the question of a shown trace again: with another method, an edited one, or why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stc_core.errors import InputError
from stc_core.method_text import read_method
from viz.server.origin import Origin
from viz.server.stand_ins import video_of

if TYPE_CHECKING:
    from stc_core import Answer
    from viz.server.runner import Runner, Step


def rerun(
    runner: Runner,
    owner: str,
    origin: Origin,
    method: str,
    *,
    baseline: bool = False,
    score: Sequence[str] = (),
) -> Iterator[Step | Answer]:
    """Ask the question of ``origin`` with another method; yield what ``Runner.run`` does.

    Parameters
    ----------
    owner : str
        Who may stop the run.
    method : str
        As text (``stc_core.method_text``).
    baseline : bool
        Also run uncompressed.
    score : sequence of str
        Answers whose probability is wanted; empty ones, which no model can be asked for, are left
        out.

    Raises
    ------
    InputError
        Before the run: the video is gone, or ``method`` is no method.
    """
    method = str(read_method(method))
    video = video_of(origin)
    wanted = tuple(dict.fromkeys(text for text in score if text.strip()))
    chosen: dict[str, Any] = {"model": origin.model} if origin.model else {}
    return runner.run(
        owner,
        video=video,
        question=origin.question,
        method=method,
        frames=origin.frames,
        baseline=baseline,
        score=wanted,
        record=True,
        **origin.before,
        **chosen,
    )


def explain_again(
    runner: Runner, owner: str, origin: Origin, asked: Mapping[str, Any]
) -> Iterator[Step | tuple[Any, Any]]:
    """Ask why of ``origin``; yield what ``Runner.run`` does, last (``Why``, ``Search``).

    Parameters
    ----------
    owner : str
        Who may stop the run.
    asked : mapping
        ``right``, ``evidence``, ``seconds`` and ``search`` as ``stc_core.why.explain`` takes them.

    Raises
    ------
    InputError
        Before the run: the video is gone, or the model has read earlier turns.
    """
    video = video_of(origin)
    if origin.before:
        raise InputError(
            "the model read earlier turns or a system prompt before this question, and Why? "
            "compares runs without them; ask the question in a new conversation"
        )
    chosen = {"model": origin.model} if origin.model else {}
    return runner.run(
        owner,
        video=video,
        question=origin.question,
        method=str(read_method(origin.method)),
        frames=origin.frames,
        why=dict(asked),
        **chosen,
    )


def answered(vlm: Any, video: Any, question: str, method: Any, **options: Any) -> Any:
    """Do a job of the page with a loaded model: answer or, with ``why``, explain.

    Parameters
    ----------
    vlm
        What ``load`` gives.
    method : Method
    options
        Of ``answer``. ``why``: those of ``stc_core.why.explain`` beside them.

    Returns
    -------
    Answer, or (Why, Search)
    """
    why = options.pop("why", None)
    if options.get("history") and vlm.embedded:
        raise InputError(
            "the built-in model has not learnt to read earlier turns; leave them out: on the page "
            "switch “Let the model read earlier turns” off"
        )
    if why is None:
        from stc_core import answer

        return answer(vlm, video, question, method, **options)
    from stc_core.why.explain import explain
    from stc_core.why.search import Search

    search = why.get("search") or Search(())
    return explain(vlm, video, question, method, **{**options, **why, "search": search}), search
