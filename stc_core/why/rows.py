"""Choose the runs that are compared: what is added, taken away, swapped or switched off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np

from stc_core.errors import InputError
from stc_core.methods import METHODS, Decision, Edited, Method
from stc_core.record.stages import Fate
from stc_core.record.trace import Trace
from stc_core.why.bench import Bench, Run
from stc_core.why.report import Lost

DRAWS = 5  # of random tokens
BASELINES = ("uniform", "random", "frames")  # which know neither clip nor question
Plan = tuple[str, str, Callable[[], Run], dict[str, Any]]  # kind, label, run, more


def plans(bench: Bench, needed: np.ndarray, seed: int) -> list[Plan]:
    """Return the runs beside "full" and "compressed", in the order of the report.

    Parameters
    ----------
    bench : Bench
        After ``first``.
    needed : (e,) int64
        Tokens that the answer needs; may be empty.
    seed : int
        Of the random draws.
    """
    missing = np.setdiff1d(needed, bench.trace.outside.survivors)
    parts = [_returned(bench, needed, missing), _random(bench, needed, missing, seed)]
    return [plan for part in (*parts, _off(bench, missing), _baselines(bench)) for plan in part]


def _returned(bench: Bench, needed: np.ndarray, missing: np.ndarray) -> Iterator[Plan]:
    """The needed tokens added, swapped in, and taken away from the full run."""
    if len(missing):
        edit = _edit(add=missing)
        yield "back", f"{_many(missing)} given back", _edited(bench, edit), _added(edit)
        last = chosen_first(bench.trace, needed)[::-1][: len(missing)]
        if len(last) == len(missing):
            edit = _edit(add=missing, remove=last)
            label = f"the same in place of the last {len(last)}"
            yield "swap", label, _edited(bench, edit), {"edit": edit, "budget": _budget(0)}
    n = bench.trace.grid.size
    if 0 < len(needed) < n:
        whole = METHODS["uniform"](retention=1.0)
        edit = _edit(remove=needed)
        all_but = Edited(whole, remove=tuple(edit["remove"]))

        def away() -> Run:
            return bench.edited(edit, whole, Decision.keep_all(n, bench.vlm.device))

        more = {"method": repr(all_but), "budget": f"all but {len(needed)}"}
        yield (
            "away",
            f"all tokens but {'this one' if len(needed) == 1 else f'these {len(needed)}'}",
            away,
            more,
        )


def _random(bench: Bench, needed: np.ndarray, missing: np.ndarray, seed: int) -> Iterator[Plan]:
    """As many random tokens that were lost, in five draws."""
    survivors = bench.trace.outside.survivors
    every = np.arange(bench.trace.grid.size)
    others = np.setdiff1d(every, np.union1d(survivors, needed))
    dice = np.random.default_rng([seed, 5])
    for draw in range(DRAWS if len(missing) and len(others) >= len(missing) else 0):
        edit = _edit(add=dice.choice(others, len(missing), replace=False))
        label = f"{_many(missing, 'random')} given back, draw {draw + 1}"
        yield "random", label, _edited(bench, edit), _added(edit)


def _off(bench: Bench, missing: np.ndarray) -> Iterator[Plan]:
    """The parts of the method off."""
    method = _inner(bench.method)
    names = {field.name for field in fields(method)}
    same = {"budget": _budget(0)}
    depth = len(bench.vlm.model.get_decoder().layers)
    if "keep_inside" in names and method.inside_layer(depth) is not None:
        off = replace(method, keep_inside=1.0)
        more = same | {"method": repr(_like(bench.method, off))}

        def whole() -> Run:
            return bench.asked(off, bench.decision())

        yield "inside off", "the inside stage off", whole, more
        if len(missing):
            edit = _edit(add=missing)

            def both() -> Run:
                return bench.edited(edit, off)

            label = f"{_many(missing)} given back, the inside stage off"
            more = {"budget": _budget(len(missing))}
            if method is bench.method:  # of an edited one no text names both
                more["method"] = repr(Edited(off, add=tuple(edit["add"])))
            yield "back, inside off", label, both, more
    if getattr(method, "similarity", False):
        try:
            off_tau = replace(method, similarity=False)
        except InputError:  # nothing of the outside stage would be left
            return
        more = same | {"method": repr(off_tau)}
        yield "tau off", "tau off: the pool refuses nothing", _other(bench, off_tau), more


def _baselines(bench: Bench) -> Iterator[Plan]:
    """Honest baselines at the same retention."""
    mine = _inner(bench.method)
    for name in BASELINES:
        if isinstance(mine, METHODS[name]):
            continue
        other = METHODS[name](retention=mine.retention)
        budget = other.budget(bench.trace.grid) - len(bench.trace.outside.survivors)
        more = {"budget": _budget(budget), "method": repr(other)}
        label = f"{type(other).__name__} at the same retention"
        yield "baseline", label, _other(bench, other), more


def lost(trace: Trace, needed: np.ndarray, method: Method) -> Lost:
    """Count where the needed tokens went, from the record of the compressed run."""
    outside, inside = trace.outside, trace.stage("inside")
    entered = np.isin(needed, outside.survivors)
    gone = needed[~entered]
    refused = gone[(trace.order[gone] >= 0) & ~np.isnan(trace.similarity[gone])]
    cosines = trace.similarity[refused]
    tau = getattr(_inner(method), "tau", None)
    if tau is None or not getattr(_inner(method), "similarity", True):
        refused, cosines, tau = gone[:0], cosines[:0], None
    ended = 0 if inside is None else int((~np.isin(needed[entered], inside.survivors)).sum())
    return Lost(
        kept=int(entered.sum()),
        tau=len(refused),
        capacity=len(gone) - len(refused),
        merged=int((outside.fate[gone] == Fate.MERGED).sum()),
        inside=ended,
        cosine=float(np.median(cosines)) if len(cosines) else None,
        tau_at=None if tau is None else float(tau),
        layer=None if inside is None else inside.layer,
    )


def chosen_first(trace: Trace, needed: np.ndarray) -> list[int]:
    """Return survivors that are not needed: pool tokens in the order chosen, then the others."""
    left = np.setdiff1d(trace.outside.survivors, needed)
    pool = trace.fate[left] == Fate.KEPT
    turn = np.where(trace.order[left] >= 0, trace.order[left], trace.grid.size)
    return left[np.lexsort((left, turn, ~pool))].tolist()


def _edited(bench: Bench, edit: dict[str, Any]) -> Callable[[], Run]:
    return lambda: bench.edited(edit)


def _other(bench: Bench, method: Method) -> Callable[[], Run]:
    return lambda: bench.asked(method, bench.decision(method))


def _edit(add: Any = (), remove: Any = ()) -> dict[str, Any]:
    def plain(tokens: Any) -> list[int]:
        return sorted(int(token) for token in tokens)

    return {"remove": plain(remove), "add": plain(add), "only": None}


def _added(edit: dict[str, Any]) -> dict[str, Any]:
    return {"edit": edit, "budget": _budget(len(edit["add"]))}


def _budget(more: int) -> str:
    if not more:
        return "within the budget"
    return f"{abs(more)} {'over' if more > 0 else 'under'} the budget"


def _many(tokens: np.ndarray, kind: str = "") -> str:
    words = f"{len(tokens)} {kind}".strip()
    return f"{words} token{'' if len(tokens) == 1 else 's'}"


def _inner(method: Method) -> Any:
    """Return the method whose settings count, of whichever class."""
    return method.method if isinstance(method, Edited) else method


def _like(edited: Method, inner: Method) -> Method:
    """Return ``inner`` with the edits of ``edited``, where there are any."""
    return replace(edited, method=inner) if isinstance(edited, Edited) else inner
