"""Find why answers were turned, into the column "why" of a result file.

A question is turned by a method if the uncompressed model answers it right and the method does not.
``stc_core.why`` finds the cause; a later call goes on where this one stopped.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from stc_core.answering.prompt import build_prompt
from stc_core.benchmark.answers_file import NAME, Record, open_record
from stc_core.benchmark.cases import Case, Shapes, Skipped
from stc_core.benchmark.jobs import configuration_of, machine_of
from stc_core.benchmark.rows import MANY, Row, name_of, options_of, title_of
from stc_core.benchmark.tables import interval, percent
from stc_core.benchmark.video_folder import Folder
from stc_core.errors import InputError
from stc_core.hooks.run_cache import RunCache
from stc_core.methods import Method
from stc_core.models.vlm import VLM
from stc_core.rates import wilson
from stc_core.readme_sections import markdown
from stc_core.record.grid import TokenGrid
from stc_core.why.bench import Bench
from stc_core.why.explain import explained
from stc_core.why.report import CAUSES

NEEDED = ("back", "random", "inside off", "back, inside off")  # rows that tell the cause
SECONDS = 10.0  # of one search, where the evidence is not known
MOST = 200  # turned questions of one row, where no number is given

Answer = dict[str, Any]


@dataclass(frozen=True)
class RowCauses:
    """Hold the causes of one row's turned answers.

    Attributes
    ----------
    name : str
        Method, options, retention and frames.
    turned : int
        Questions that the uncompressed model answers right and the method does not.
    causes : dict
        {cause, a key of ``CAUSES``: questions}, of those that are explained.
    """

    name: str
    turned: int
    causes: dict[str, int]

    @property
    def explained(self) -> int:
        """Return how many of the turned questions have a cause."""
        return sum(self.causes.values())


def explain_turned(
    vlm: VLM,
    source: Shapes | Folder,
    rows: list[Row],
    folder: Path,
    *,
    most: int = MOST,
    seconds: float = SECONDS,
    tell: Callable[[str], None] = lambda sentence: None,
    on_answer: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[RowCauses], list[Skipped]]:
    """Add a cause to the turned answers of these rows that have none.

    Parameters
    ----------
    vlm : VLM
        The model that gave the answers.
    source : Shapes or Folder
        Its questions.
    rows : list of Row
        Methods; what of them the file does not hold is left out.
    folder : Path
        Holds ``results.jsonl``, plain or packed; its answers get "why", a dict of "cause", a name
        of ``CAUSES``, and "sentence".
    most : int
        Only the first so many turned questions of each row.
    seconds : float
        Longest search of one answer, where the evidence is not known.
    tell, on_answer : callable
        As for ``run``.

    Returns
    -------
    (list of RowCauses, list of Skipped)

    Raises
    ------
    InputError
        There is no result file, it is of another model, questions or machine, or it holds none of
        the rows or not the uncompressed answers.
    """
    if most < 1:
        raise InputError(f"at least one question is needed, not {most}")
    if not any((folder / name).is_file() for name in (NAME, f"{NAME}.gz")):
        raise InputError(
            f"{str(folder)!r} holds no results to explain; run the benchmark without --why first"
        )
    skipped: list[Skipped] = []
    with open_record(folder, configuration_of(vlm, source, machine_of(vlm))) as record:
        asked = {row.key: _turned(record, row) for row in rows if row.method is not None}
        there, stock = {key[1:] for key in record.known}, name_of(None)
        both = {key for key in there if (key[0], stock) in there}
        asked = {key: found for key, found in asked.items() if key in both}
        if not asked:
            raise InputError(
                f"{str(folder)!r} holds none of these methods, or not the uncompressed answers; "
                f"choose others with --method and --retention"
            )
        methods = {row.key: row.method for row in rows if row.method is not None}
        todo: dict[tuple[int, str], list[tuple[Method, Answer]]] = {}
        for key, found in asked.items():
            for answer in found[:most]:
                if "why" not in answer:
                    place = answer["frames"], answer["case"]
                    todo.setdefault(place, []).append((methods[key], answer))
        total = sum(map(len, todo.values()))
        known = sum("why" in answer for found in asked.values() for answer in found[:most])
        tell(
            f"{total + known} turned answers of {len(asked)} methods and settings"
            + (f", {known} of them explained already" if known else "")
        )
        done, began = 0, time.perf_counter()
        for case, left in _cases(source, todo):
            if isinstance(case, Skipped):
                skipped.append(case)
                tell(f"skipped {case.id}: {case.why}")
                continue
            cache = RunCache(sys.maxsize)  # the vision tower sees the clip once
            for method, answer in left:
                try:
                    bench = _bench(vlm, case, method, source.answer_tokens)
                    why = _why(bench, case, answer, record, cache, seconds)
                except InputError as error:
                    skipped.append(Skipped(case.id, str(error)))
                    tell(f"skipped {case.id}: {error}")
                    continue
                record.add(answer | {"why": why})
                done += 1
                on_answer(done, total)
                if done == 5:
                    minutes = (time.perf_counter() - began) / done * (total - done) / 60
                    tell(f"about {minutes:.0f} minutes for the other {total - done}")
        found_rows = [_counted(row, _turned(record, row), most) for row in rows if row.key in asked]
    return found_rows, skipped


def cause_table(rows: list[RowCauses]) -> str:
    """Return the causes of each row as a Markdown table, shares with 95 % intervals."""
    names = [cause for cause in CAUSES if any(row.causes.get(cause) for row in rows)]
    lines = []
    for row in rows:
        cells = [f"{row.explained} of {row.turned}"]
        for name in names:
            count = row.causes.get(name, 0)
            share = wilson(count, row.explained) if row.explained else (0.0, 1.0)
            of = count / row.explained if row.explained else 0.0
            cells.append(f"{count}: {percent(of)} %{interval(share)}")
        lines.append([row.name, *cells])
    return markdown(["method", "turned, explained", *(CAUSES[name] for name in names)], lines)


def _turned(record: Record, row: Row) -> list[Answer]:
    """Return the answers of a row that compression turned, in the order of the file."""
    stock = name_of(None)
    found = []
    for (case, frames, method), answer in record.known.items():
        if (frames, method) != row.key or answer["right"]:
            continue
        full = record.known.get((case, frames, stock))
        if full is not None and full["right"]:
            found.append(answer)
    return found


def _cases(
    source: Shapes | Folder,
    todo: dict[tuple[int, str], list[tuple[Method, Answer]]],
) -> Iterator[tuple[Case | Skipped, list[tuple[Method, Answer]]]]:
    """Yield each case that something is to be explained about, with what."""
    for frames in dict.fromkeys(frames for frames, _ in todo):
        ids = {case for count, case in todo if count == frames}
        for case in source.cases(source.count(MANY), frames):
            if not ids:
                break
            if case.id in ids:
                ids.discard(case.id)
                yield case, todo[frames, case.id]


def _bench(vlm: VLM, case: Case, method: Method, answer_tokens: int) -> Bench:
    prompt = build_prompt(
        vlm, case.frames, case.question, answer_tokens, seconds=case.seconds, duration=case.duration
    )
    return Bench(vlm, prompt, method, answer_tokens, {})


def _why(
    bench: Bench, case: Case, answer: Answer, record: Record, cache: RunCache, seconds: float
) -> dict[str, str]:
    full = record.known[answer["case"], answer["frames"], name_of(None)]
    cells = case.evidence
    if cells is not None and not len(cells):
        cells = None
    why = explained(
        bench,
        cache,
        full["answer"],  # the right one, in the model's own words
        None if cells is None else partial(_on_grid, cells),
        seconds,
        seed=sum(case.id.encode()),
        kinds=NEEDED,
    )
    return {"cause": CAUSES[why.cause], "sentence": why.sentence}


def _on_grid(cells: np.ndarray, grid: TokenGrid) -> list[int]:
    return grid.indices(cells).tolist()


def _counted(row: Row, turned: list[Answer], most: int) -> RowCauses:
    names = {name: cause for cause, name in CAUSES.items()}
    counted = Counter(names[answer["why"]["cause"]] for answer in turned[:most] if "why" in answer)
    assert row.method is not None  # only methods turn answers
    options = f" ({found})" if (found := options_of(row.method)) else ""
    name = f"{title_of(row.method)}{options} at {100 * row.method.retention:g} %"
    return RowCauses(f"{name}, {row.frames} frames", len(turned), dict(counted))
