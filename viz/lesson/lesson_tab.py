"""Build the lesson: six steps on saved traces, each a few sentences and a state of the workspace.

It opens on a failure, tells what the method does, and ends with the failure: there the tokens that
show the answer can be given back.

Every number and every token in it follows from the traces by a rule, so that it stays true when
they are made again. ``lesson.js`` shows the steps, moves the workspace and holds the quiz.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import gradio as gr
import numpy as np

from stc_core.record.stages import Fate
from stc_core.record.trace import Trace
from stc_core.text import said_the_same
from viz.examples import Known
from viz.lesson.glossary import spoken
from viz.page.guard import QUIET, guarded
from viz.pictures.words import percent, printable
from viz.server.runner import failure
from viz.server.shelf import Shelf
from viz.workspace.component import HERE, style
from viz.workspace.modules import joined

# The value is {"steps": [...], "traces": {name: addresses}, "note": why there are no steps}. The
# event "appear" says that the tab is seen for the first time: no trace is read before.
OURS = Path(__file__).parent
EMPTY = "No saved trace shows the whole method; make them with python -m stc_core clips --traces."
START = """
const lesson = new Lesson(element.querySelector('.lesson'), trigger);
const update = () => lesson.take(props.value);
watch('value', update);
update();
new IntersectionObserver((seen) => {
  const visible = seen.some((one) => one.isIntersecting);
  if (visible && !lesson.asked) trigger('appear');
  lesson.appear(visible);
}).observe(element);
"""


@dataclass(frozen=True)
class LessonStep:
    """Describe one step of the lesson.

    Attributes
    ----------
    title : str
    text : tuple of str
        Sentences. They may quote a question or an answer: untrusted.
    attempt : str
        What to try, one sentence.
    trace : str
        "main" or "failure".
    state : dict
        Of the workspace, as in an address: f, tok, stage, overlay, step, panel.
    views : tuple of str
        Those of the workspace that matter here; the others are put away.
    quiz : bool
        Whether the quiz follows.
    back : int
        How many lost tokens that show the answer can be given back here.
    """

    title: str
    text: tuple[str, ...]
    attempt: str
    trace: str = "main"
    state: dict[str, str] = field(default_factory=dict)
    views: tuple[str, ...] = ("controls", "player", "card", "strip")
    quiz: bool = False
    back: int = 0


@dataclass(frozen=True)
class LessonCase:
    """Hold a saved trace, what is known of its question, and its file."""

    path: Path
    trace: Trace
    known: Known | None = None


Give = Callable[[gr.HTML, Callable[[], LessonCase | None]], None]


def lesson_tab(
    shelf: Shelf,
    saved: Sequence[Path],
    about: Callable[[Path, Trace], Known | None],
    clips: Mapping[str, Path] | None = None,
    give: Give | None = None,
) -> gr.HTML:
    """Lay out and wire the tab, inside the ``with gr.Tab`` of the caller.

    Parameters
    ----------
    saved
        The saved traces.
    about
        What is known of the question of such a trace.
    clips
        {name of a saved trace: the clip it was made of}; those in Gradio's static folders play.
    give
        Connects the button that gives the evidence back; see ``give_back.connector``.
    """
    page = gr.HTML(
        value={},
        html_template='<div class="workspace lesson"></div>',
        css_template=style() + (OURS / "lesson.css").read_text("utf-8"),
        js_on_load=joined(HERE / "js" / "lesson.js", ["Lesson"]) + START,
        apply_default_css=False,
        elem_id="lesson",
    )

    def open_lesson() -> dict:
        try:
            cases = choose([read(path, about) for path in saved])
        except Exception as error:
            return {"steps": [], "note": str(failure(error))}
        if "main" not in cases:
            return {"steps": [], "note": EMPTY}
        traces = {}
        for name, case in cases.items():
            home = shelf.put(case.trace, case.path)
            clip = (clips or {}).get(case.path.name)
            traces[name] = shelf.addresses(case.trace, home, case.known, clip)
        return {
            "steps": [asdict(step) for step in steps(cases, give is not None)],
            "traces": traces,
            "terms": spoken(),
        }

    page.appear(
        guarded(open_lesson),
        None,
        page,
        **QUIET,
        concurrency_id="pictures",
    )
    if give is not None:
        give(page, lambda: choose([read(path, about) for path in saved]).get("failure"))
    return page


def read(path: Path, about: Callable[[Path, Trace], Known | None]) -> LessonCase:
    trace = Trace.load(path)
    return LessonCase(path, trace, about(path, trace))


def choose(cases: Sequence[LessonCase]) -> dict[str, LessonCase]:
    """Return {"main": case, "failure": case}, as far as there are such cases.

    The main one shows every part of the method: a pool, clusters and merging inside the LLM, best
    with the order of its choices on record. The failure is right without compression and wrong with
    it, best where all of the evidence is lost.
    """
    found = {}
    whole = [case for case in cases if _shows_all(case.trace)]
    if whole:
        found["main"] = max(whole, key=lambda case: (case.trace.order.max() >= 0, _right(case)))
    failed = [case for case in cases if _failed(case)]
    if failed:
        found["failure"] = max(failed, key=lambda case: (_shows_all(case.trace), -_left(case)))
    return found


def steps(cases: Mapping[str, LessonCase], again: bool = False) -> list[LessonStep]:
    """Return the steps that these cases can show.

    They are six, four without a failure, none without a main case. ``again`` says that the failure
    can be asked again.
    """
    if "main" not in cases:
        return []
    main, failure = cases["main"], cases.get("failure")
    made = [_redundancy(main), _pool(main), _recycling(main), _inside(main)]
    if failure is None:
        return made
    return [_opening(failure), *made, _failure(failure, again)]


# --- the steps -----------------------------------------------------------------------------------


def _opening(case: LessonCase) -> LessonStep:
    trace, grid, evidence = case.trace, case.trace.grid, _evidence(case)
    frames = evidence // grid.per_frame
    there = evidence[frames == int(np.bincount(frames).argmax())]
    said, full = printable(trace.answer, 60), printable(trace.baseline["answer"], 60)
    text = (
        f"“{printable(trace.question, 120)}” The model is asked twice. With all {grid.size:,} "
        f"tokens of the clip it says “{full}”, which is right; with {trace.alive()[1]} it says "
        f"“{said}”, which is wrong.",
        f"A token is what the language model gets of one cell of one frame. This clip has "
        f"{grid.frames} frames of {grid.rows} by {grid.cols} cells.",
        "The cells with colored corners show the answer: they are the evidence.",
        "Why keep so few tokens? Because the model's work grows with each of them. What became of "
        "the others, and what the answer needed, is what these six steps show.",
    )
    return LessonStep(
        "Right with all tokens, wrong with a few",
        text,
        "Play the clip, and look for the cells with corners in the frames beside it.",
        trace="failure",
        state=_state(trace, there[:1].tolist(), stage="raw"),
        views=("player", "card", "strip", "words"),
    )


def _redundancy(case: LessonCase) -> LessonStep:
    trace = case.trace
    text = [
        "This is another clip. What one cell of it shows is often what another one shows, a moment "
        "before or beside it.",
    ]
    twin = _twin(trace)
    tokens: list[int] = []
    if twin is not None:
        token, near = twin
        tokens = [near, token] if near >= 0 else [token]
        both = "The two outlined cells have" if near >= 0 else "The outlined cell has, to another,"
        text.append(
            f"How alike two tokens are is their cosine: 1 for the same, 0 for nothing in common. "
            f"{both} {trace.similarity[token]:.2f}."
        )
    looked, taken = _turns(trace), _count(trace, Fate.KEPT)
    if looked:
        text.append(
            f"Of the {looked} tokens that the method looked at, {looked - taken} were too alike to "
            f"one that it had taken before."
        )
    else:
        text.append("So most tokens can go without much being lost; the question is which.")
    return LessonStep(
        "Most tokens repeat others",
        tuple(text),
        "Point at bright cells: the card says which token each one repeats.",
        state=_state(trace, tokens, stage="raw", overlay="similarity"),
    )


def _ranked(case: LessonCase) -> str:
    """Say how the evidence ranks by contribution; "" where it is not known."""
    evidence, trace = _evidence(case), case.trace
    if evidence is None:
        return ""
    rank = int((trace.contribution > np.nanmax(trace.contribution[evidence])).sum()) + 1
    return (
        f" Of the {len(evidence)} cells that show the answer here, the best one ranks {rank} of "
        f"{trace.grid.size}."
    )


def _pool(case: LessonCase) -> LessonStep:
    trace = case.trace
    taken, looked = _count(trace, Fate.KEPT), _turns(trace)
    text = [
        f"Which tokens stay? The vision tower gives each its contribution: how much attention it "
        f"gets within its frame, before anybody reads the question.{_ranked(case)}",
        f"The method walks from the highest contribution down and takes {taken} tokens into a "
        f"pool: a token is taken if its cosine to each one there is below tau, else set aside.",
    ]
    state = _state(trace, [], stage="pool" if looked else "refilled")
    if looked:
        never = trace.grid.size - looked
        text.append(
            f"After {looked} turns the pool was full; the other {never} tokens were never looked "
            f"at."
            if never
            else "It looked at every token of the clip."
        )
        walk = np.argsort(np.where(trace.order < 0, looked, trace.order))[:looked]
        aside = np.flatnonzero(trace.stages[0].fate[walk] != Fate.KEPT)
        turn = int(aside[0]) + 1 if len(aside) else looked
        token = walk[turn - 1]
        frame = token // trace.grid.per_frame
        state = _state(trace, [], step=turn, panel="replay", f=frame)
        if len(aside):
            text.append(
                f"The picture stands at turn {turn}, the first token that was set aside: its "
                f"cosine to the pool is {trace.similarity[token]:.2f}."
            )
    return LessonStep(
        "The pool: take what stands out and is new",
        tuple(text),
        "Step on with the buttons of the replay, or let it play; then take the quiz."
        if looked
        else "Point at the yellow cells, the tokens of the pool; then take the quiz.",
        state=state,
        views=("replay", "strip"),
        quiz=True,
    )


def _recycling(case: LessonCase) -> LessonStep:
    trace = case.trace
    outside = trace.stages[0]
    taken, centers = _count(trace, Fate.KEPT), _count(trace, Fate.CENTER)
    dropped = _count(trace, Fate.DROPPED)
    sizes = np.bincount(outside.target[outside.target >= 0], minlength=trace.grid.size)
    center = int(np.where(outside.fate == Fate.CENTER, sizes, 0).argmax())
    members = np.flatnonzero(outside.target == center)
    frames = len(np.unique(members // trace.grid.per_frame))
    lost = f", and {dropped} are dropped" if dropped else ""
    text = (
        f"The {trace.grid.size - taken} tokens outside the pool are recycled: they are gathered "
        f"into {_many(centers, 'cluster')} of tokens that are alike{lost}.",
        "Of each cluster one token enters the language model: the mean of all its members, at the "
        "place of one of them, the center.",
        f"The outlined center stands for {_many(len(members), 'token')} of "
        f"{_many(frames, 'frame')}.",
        f"Pool and clusters make {taken + centers} tokens, "
        f"{percent(taken + centers, trace.grid.size)} of the clip: the budget. A mean says that "
        f"something was there, no longer what exactly.",
    )
    return LessonStep(
        "Recycling: the rest as means",
        text,
        "Follow the lines from the center to its members, then see below what the LLM got.",
        state=_state(trace, [center], stage="refilled", panel="sheet"),
        views=("controls", "player", "card", "strip", "sheet"),
    )


def _inside(case: LessonCase) -> LessonStep:
    trace = case.trace
    outside, inside = trace.stages
    entered, left = len(outside.survivors), len(inside.survivors)
    ended = outside.survivors[inside.fate[outside.survivors] == Fate.MERGED_INSIDE]
    close = int(ended[np.nanargmax(np.nan_to_num(trace.relevance[ended], nan=-np.inf))])
    goal = int(inside.target[close])
    rank = int((trace.relevance > trace.relevance[close]).sum()) + 1
    text = (
        "So far nobody has read the question. In the language model its words look at the video "
        f"tokens; after layer {inside.layer}, the layer K of the method, this is used.",
        "How much they attend to a token, and how much they resemble it, is its relevance to "
        f"“{printable(trace.question, 120)}”; lambda weighs the two.",
        f"Of the {entered} tokens the {left} most relevant go on; each other one is merged into "
        f"the most similar of these.",
        f"The first one that missed ranked {rank} of {entered}: it went into frame "
        f"{trace.grid.locate(goal)[0]}, the other outlined cell.",
    )
    return LessonStep(
        "Merging by the text, inside the LLM",
        text,
        "Choose the stage before this one and the one after: vermillion is what ended inside.",
        state=_state(trace, [close, goal], stage="layer", overlay="relevance"),
        views=("controls", "player", "card", "strip", "budget"),
    )


def _failure(case: LessonCase, again: bool = False) -> LessonStep:
    trace, evidence = case.trace, _evidence(case)
    before, *after = trace.alive(evidence)
    frames = evidence // trace.grid.per_frame
    most = int(np.bincount(frames).argmax())
    said, full = printable(trace.answer, 60), printable(trace.baseline["answer"], 60)
    text = [
        f"“{printable(trace.question, 120)}” With all {trace.grid.size} tokens the model says "
        f"“{full}”, which is right; with {trace.alive()[1]} of them it says “{said}”.",
        f"The answer shows in {_many(before, 'token')} of {_many(len(set(frames)), 'frame')}; "
        f"{after[0]} of them entered the language model as a token.",
    ]
    if not after[0]:
        text.append("All of it was merged or dropped before the LLM, so no later stage could help.")
    elif not after[-1]:
        text.append(
            f"What entered was merged or dropped after layer {trace.stages[-1].layer}: the words "
            f"of the question did not hold on to it."
        )
    else:
        text.append(f"{after[-1]} were there until the end: to be kept is not yet to be read.")
    lost = before - after[0]
    text.append(
        "That they are gone makes it likely that this is the reason, no more; to know, give them "
        "back and ask again" + (": the button does it." if again and lost else ".")
    )
    stage = "refilled" if not after[0] else "end"
    there = evidence[frames == most][:4].tolist()
    return LessonStep(
        "The failure again, and where it happened",
        tuple(text),
        "Click a cell with colored corners, and read what became of it."
        + (" Then give the tokens back." if again and lost else ""),
        trace="failure",
        state=_state(trace, there, stage=stage),
        views=("controls", "player", "card", "strip", "words", "budget"),
        back=lost if again else 0,
    )


# --- rules ---------------------------------------------------------------------------------------


def _state(trace: Trace, tokens: Sequence[int], **parts: object) -> dict[str, str]:
    """Parts of an address; the frame is that of the last token."""
    state = {name: str(value) for name, value in parts.items()}
    if len(tokens):
        state["tok"] = ".".join(map(str, tokens))
        state["f"] = str(tokens[-1] // trace.grid.per_frame)
    return state


def _twin(trace: Trace) -> tuple[int, int] | None:
    """(token, its nearest of the pool) of the highest cosine, in two frames where possible."""
    aside = (trace.stages[0].fate != Fate.KEPT) & np.isfinite(trace.similarity)
    frame = np.arange(trace.grid.size) // trace.grid.per_frame
    apart = aside & (trace.nearest >= 0) & (frame != frame[trace.nearest])
    among = np.flatnonzero(apart if apart.any() else aside)
    if not len(among):
        return None
    token = int(among[trace.similarity[among].argmax()])
    return token, int(trace.nearest[token])


def _turns(trace: Trace) -> int:
    return int(trace.order.max()) + 1


def _count(trace: Trace, fate: Fate) -> int:
    return int((trace.stages[0].fate == fate).sum())


def _shows_all(trace: Trace) -> bool:
    names = [stage.name for stage in trace.stages]
    measured = np.isfinite(trace.contribution).any() and np.isfinite(trace.relevance).any()
    return (
        names == ["outside", "inside"]
        and bool(measured and np.isfinite(trace.similarity).any())
        and min(_count(trace, Fate.KEPT), _count(trace, Fate.CENTER)) > 0
        and bool((trace.fate == Fate.MERGED_INSIDE).any())
    )


def _evidence(case: LessonCase) -> np.ndarray | None:
    return case.known.tokens(case.trace.grid) if case.known else None


def _right(case: LessonCase) -> bool:
    return case.known is not None and said_the_same(case.trace.answer, case.known.answer)


def _failed(case: LessonCase) -> bool:
    full = case.trace.baseline.get("answer")
    if case.known is None or _evidence(case) is None or not isinstance(full, str):
        return False
    return said_the_same(full, case.known.answer) and not _right(case)


def _left(case: LessonCase) -> int:
    """Tokens of the evidence that enter the LLM, then those that reach its end."""
    return sum(case.trace.alive(_evidence(case))[1:])


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"
