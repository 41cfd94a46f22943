"""Find the cause of an answer in the rows of its runs, and say it in one sentence with its proof.

Pure functions: no model, no tensor.
"""

from __future__ import annotations

from collections.abc import Sequence

from stc_core.why.report import Found, Lost, Row

SIGN = "\u00a0%"  # no line ends before it
MANY_DRAWS = 0.5  # from this share of the random draws on, it is the number of tokens that matters


def cause_of(rows: Sequence[Row], wanted: str, lost: Lost, found: Found, known: bool) -> str:
    """Return the cause, a key of ``CAUSES``.

    Parameters
    ----------
    rows : sequence of Row
    wanted : str
    lost : Lost
        Where the needed tokens went.
    found : Found
    known : bool
        Whether ``wanted`` is known to be right.
    """
    full, compressed = _first(rows, "full"), _first(rows, "compressed")
    if known and not full.turned(wanted):
        return "helped" if compressed.turned(wanted) else "model"
    if compressed.turned(wanted):
        return "same"
    if found.how == "none":
        return "inside" if _turned(rows, "inside off", wanted) else "unknown"
    if not lost.outside:
        return "inside" if _turned(rows, "inside off", wanted) else "reading"
    if _turned(rows, "back", wanted):
        draws = [row for row in rows if row.kind == "random"]
        if draws and sum(row.turned(wanted) for row in draws) >= MANY_DRAWS * len(draws):
            return "number"
        return "tau" if lost.tau > lost.capacity else "capacity"
    if _turned(rows, "inside off", wanted) or _turned(rows, "back, inside off", wanted):
        return "inside"
    return "reading"


def sentence_of(
    cause: str,
    rows: Sequence[Row],
    wanted: str,
    right: str | None,
    lost: Lost,
    found: Found,
    times: Sequence[float],
    count: int,
) -> str:
    """Return the cause in words, with the probabilities that prove it.

    Parameters
    ----------
    cause : str
    rows, wanted, right, lost, found
        As for ``cause_of`` and in ``Why``.
    times : sequence of float
        Seconds at which the needed tokens are seen.
    count : int
        How many tokens are needed.
    """
    full, compressed = _first(rows, "full"), _first(rows, "compressed")
    whose = "The right answer" if right is not None else "The uncompressed answer"
    if cause == "same":
        return (
            f"Compression did not turn the answer: both runs say “{compressed.answer}”, "
            f"{_p(wanted)} is {_chance(full, wanted)} with all tokens and "
            f"{_chance(compressed, wanted)} compressed."
        )
    if cause == "model":
        return (
            f"It is not the compression: with all tokens the model is wrong too and says "
            f"“{full.answer}” ({_p(wanted)} is {_chance(full, wanted)})."
        )
    if cause == "helped":
        return (
            f"Compression made the answer right: with all tokens the model says “{full.answer}”; "
            f"{_p(wanted)} rises from {_chance(full, wanted)} to {_chance(compressed, wanted)}."
        )
    if cause == "unknown":
        return _not_found(rows, wanted, found)
    if cause == "reading":
        return _misread(rows, wanted, lost, compressed)
    if cause == "inside":
        return _inside(rows, wanted, lost, compressed, whose, found)
    back = _first(rows, "back")
    rise = f"{_p(wanted)} rises from {_chance(compressed, wanted)} to {_chance(back, wanted)}"
    draws = [row for row in rows if row.kind == "random"]
    if cause == "number":
        good = sum(row.turned(wanted) for row in draws)
        return (
            f"It is the number of tokens, not which: {_tokens(lost.outside)} given back make "
            f"{rise}, but as many random ones do as well ({good} of {len(draws)} draws, "
            f"{_percent(_mean(draws, wanted))} on average)."
        )
    chance = f"; random ones give {_percent(_mean(draws, wanted))}" if draws else ""
    proof = f"given back, {rise}{chance}. {_where(lost)}{_swapped(rows, wanted)}"
    many = (lost.outside or count) > 1
    if found.how != "search":
        return f"{whose} needs the {'tokens' if many else 'token'}{_when(times)}: {proof}"
    # what a search finds is enough, and others may be, too
    these = f"{lost.outside or count} tokens" if many else "One token"
    return (
        f"{these}{_when(times)}, found by search, {'suffice' if many else 'suffices'} for "
        f"{whose[0].lower()}{whose[1:]}: {proof}"
    )


def _where(lost: Lost) -> str:
    """Say in which step the needed tokens were lost."""
    parts = []
    if lost.tau:
        cosine = ""
        if lost.cosine is not None and lost.tau_at is not None:
            cosine = f": cosine {lost.cosine:.2f} ≥ tau {lost.tau_at:g}"
        parts.append((lost.tau, f"refused by the pool{cosine}"))
    if lost.capacity:
        walked = lost.tau_at is not None
        how = "never reached, because the pool was full" if walked else "not chosen"
        parts.append((lost.capacity, how))
    parts.sort(key=lambda part: -part[0])
    if len(parts) == 1:
        words = f"{'It was' if parts[0][0] == 1 else 'They were'} {parts[0][1]}"
    else:
        words = "; ".join(f"{number} {'was' if number == 1 else 'were'} {how}"
                          for number, how in parts)  # fmt: skip
    merged = ""
    if lost.merged:
        several = lost.merged < lost.outside
        where = "the mean of a cluster" if lost.merged == 1 else "means of clusters"
        merged = f" ({f'{lost.merged} of them' if several else 'and'} went into {where})"
    return f"{words}{merged}."


def _swapped(rows: Sequence[Row], wanted: str) -> str:
    """Say what the same tokens do within the budget."""
    swap = next((row for row in rows if row.kind == "swap"), None)
    if swap is None:
        return ""
    now = _chance(swap, wanted)
    if swap.turned(wanted):
        return f" Within the same budget, in place of the last survivors, they give {now}."
    return f" Within the same budget they are not enough: {now}, “{swap.answer}”."


def _misread(rows: Sequence[Row], wanted: str, lost: Lost, compressed: Row) -> str:
    back = next((row for row in rows if row.kind == "back"), None)
    if back is None:
        entered = f"all {lost.kept} tokens of it enter" if lost.kept > 1 else "its token enters"
        return (
            f"The evidence was there; the model reads it wrongly: {entered} the LLM, and the "
            f"answer stays “{compressed.answer}” ({_p(wanted)} is {_chance(compressed, wanted)})."
        )
    return (
        f"It is not the evidence: given back, it makes {_p(wanted)} go from "
        f"{_chance(compressed, wanted)} to {_chance(back, wanted)}, and the answer is "
        f"“{back.answer}”; with the evidence there, the model reads it wrongly among so few tokens."
    )


def _inside(
    rows: Sequence[Row], wanted: str, lost: Lost, compressed: Row, whose: str, found: Found
) -> str:
    off = next((r for r in rows if r.kind == "inside off" and r.turned(wanted)), None)
    layer = "" if lost.layer is None else f" after layer {lost.layer}"
    if off is not None:
        ended = ""
        if found.how != "none" and lost.inside:
            kind = "found" if found.how == "search" else "needed"
            ended = f" There {_tokens(lost.inside)} of the {lost.inside + _stay(lost)} {kind} ones"
            ended += " that entered ended."
        return (
            f"{whose} is lost inside the LLM, in the merging{layer}: without that step "
            f"{_p(wanted)} rises from {_chance(compressed, wanted)} to {_chance(off, wanted)}."
            f"{ended}"
        )
    both, back = _first(rows, "back, inside off"), _first(rows, "back")
    return (
        f"{whose} is lost twice, before the LLM and in the merging{layer}: given back, "
        f"{_tokens(lost.outside)} make {_p(wanted)} {_chance(back, wanted)}; with that step off as "
        f"well it is {_chance(both, wanted)}."
    )


def _stay(lost: Lost) -> int:
    return max(lost.kept - lost.inside, 0)


def _not_found(rows: Sequence[Row], wanted: str, found: Found) -> str:
    best = next((row for row in rows if row.kind == "back"), None)
    tried = f"{found.tested} sets of lost tokens were tried in {found.seconds:.0f} s"
    if not found.done:
        more = "search on"
        reached = f"; the best so far gives {_chance(best, wanted)}" if best else ""
        return (
            f"Not found yet which lost tokens suffice for “{wanted}”: {tried}{reached}. There is "
            f"more to try: {more}."
        )
    return (
        f"No lost tokens bring “{wanted}” back: {tried}, all of them together among them. The "
        f"cause is not what was lost before the LLM."
    )


def _when(times: Sequence[float]) -> str:
    if not times:
        return ""
    if len(times) == 1:
        return f" at {_time(times[0])} s"
    if len(times) == 2:
        return f" at {_time(times[0])} and {_time(times[1])} s"
    return f" in {len(times)} frames from {_time(times[0])} to {_time(times[-1])} s"


def _time(seconds: float) -> str:
    """Write a time as the page does, without zeros at its end."""
    return f"{seconds:.2f}".rstrip("0").rstrip(".")


def _tokens(count: int) -> str:
    return f"{count} token{'' if count == 1 else 's'}"


def _p(answer: str) -> str:
    return f"P({answer})"


def _chance(row: Row, answer: str) -> str:
    return _percent(row.probabilities.get(answer))


def _mean(rows: Sequence[Row], answer: str) -> float:
    return sum(row.probabilities.get(answer, 0.0) for row in rows) / len(rows)


def _percent(share: float | None) -> str:
    if share is None:
        return "unknown"
    percent = 100 * share
    if percent == 0 or percent >= 10:
        return f"{percent:.0f}{SIGN}"
    return f"{percent:.1f}{SIGN}" if percent >= 0.1 else f"below 0.1{SIGN}"


def _first(rows: Sequence[Row], kind: str) -> Row:
    return next(row for row in rows if row.kind == kind)


def _turned(rows: Sequence[Row], kind: str, wanted: str) -> bool:
    return any(row.turned(wanted) for row in rows if row.kind == kind)
