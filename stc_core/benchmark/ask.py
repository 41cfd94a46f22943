"""Ask one case under one method after another: answers, their probabilities, the evidence left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np

from stc_core.answering.generation import end_tokens, generate, scores_of
from stc_core.answering.prompt import Prompt, build_prompt, encode_text
from stc_core.answering.reporting import Reporter
from stc_core.benchmark.cases import Case
from stc_core.benchmark.rows import name_of
from stc_core.benchmark.vision_once import vision_once
from stc_core.hooks.compression import compress
from stc_core.methods import Method
from stc_core.models.families import vision_shape
from stc_core.models.vlm import VLM
from stc_core.record.costs import layers_after, paper_flops
from stc_core.record.flops import LLMShape, real_flops
from stc_core.record.trace import Trace


def ask(
    vlm: VLM, case: Case, methods: Iterable[Method | None], answer_tokens: int
) -> Iterator[dict[str, Any]]:
    """Answer one case under each method; None is the uncompressed model.

    Parameters
    ----------
    vlm : VLM
    case : Case
    methods : iterable of Method or None
    answer_tokens : int
        Most tokens of an answer.

    Yields
    ------
    dict
        One per method, plain values only:

        case, clip, kind, frames, question, expected, method
            ``frames`` as asked for; ``expected`` is the right answer; ``method`` is its ``repr``,
            "none" for the uncompressed model.
        answer, right
            The greedily decoded answer, and whether it is right.
        log_answer, log_right
            Natural logarithm of the probability of the given answer and of the right one, the end
            of the answer included.
        tokens : [N, door, end]
            Tokens of the video, those that entered the LLM, those in its last layer.
        evidence
            None where it is unknown or there is none; else ``cells``, how many tokens hold it, and
            how many of these are survivors themselves (``door``, ``end``), or are survivors or
            carried by one (``door_carried``, ``end_carried``): at the entrance of the LLM and in
            its last layer.
        flops : {"paper", "real"}
            Both conventions of ``stc_core.record.costs``; the real one without the compression
            itself, whose time is measured instead.
        seconds : {"compression", "prefill", "decoding"}
            Compression includes reading the contribution, also for methods that do not use it.
    """
    methods = list(methods)
    prompt = build_prompt(
        vlm,
        case.frames,
        case.question,
        answer_tokens,
        seconds=case.seconds,
        duration=case.duration,
    )
    right_ids = [*encode_text(vlm.processor.tokenizer, case.answer), *end_tokens(vlm)[:1]]
    with vision_once(vlm.model, [method for method in methods if method is not None]):
        for method in methods:
            watch = Reporter(vlm.device)
            around = nullcontext() if method is None else compress(vlm.model, method, watch=watch)
            with around as live:
                said = generate(vlm, prompt, watch, answer_tokens)
                right = said.logprob
                if said.ids != right_ids:
                    right = scores_of(vlm, said, {case.answer: right_ids})[case.answer]
                seconds = dict(watch.seconds)
                trace = None if live is None else live.freeze()
            tokens, per_layer = _tokens(vlm, prompt, trace)
            yield {
                "case": case.id,
                "clip": case.clip,
                "kind": case.kind,
                "frames": case.asked_frames,
                "question": case.question,
                "expected": case.answer,
                "method": name_of(method),
                "answer": said.text,
                "right": case.is_right(said.text),
                "log_answer": round(said.logprob, 5),
                "log_right": round(right, 5),
                "tokens": tokens,
                "evidence": _evidence(case, trace),
                "flops": _flops(vlm, prompt, per_layer, len(said.ids)),
                "seconds": {
                    stage: round(seconds.get(stage, 0.0), 5)
                    for stage in ("compression", "prefill", "decoding")
                },
            }


def _tokens(vlm: VLM, prompt: Prompt, trace: Trace | None) -> tuple[list[int], list[int]]:
    """Return ([N, at the door, at the end], video tokens in each decoder layer)."""
    depth, full = len(vlm.model.get_decoder().layers), prompt.video_tokens
    if trace is None:
        return [full] * 3, [full] * depth
    alive, inside = trace.alive(), trace.stage("inside")
    layer = depth - 1 if inside is None or inside.layer is None else inside.layer
    return [full, alive[1], alive[-1]], layers_after(layer, depth, alive[1], alive[-1])


def _evidence(case: Case, trace: Trace | None) -> dict[str, int] | None:
    if case.evidence is None or not len(case.evidence):
        return None
    count = len(case.evidence)
    names = ("door", "door_carried", "end", "end_carried")
    if trace is None:
        return {"cells": count} | dict.fromkeys(names, count)
    cells = trace.grid.indices(np.asarray(case.evidence))
    alive = trace.alive(cells)
    found = {"cells": count}
    for name, left, target in (
        ("door", alive[1], trace.outside.target),
        ("end", alive[-1], trace.target),
    ):
        found[name] = left
        found[f"{name}_carried"] = int((target[cells] >= 0).sum())
    return found


def _flops(vlm: VLM, prompt: Prompt, per_layer: list[int], generated: int) -> dict[str, float]:
    config = vlm.model.config
    llm, vision = LLMShape.from_config(config), vision_shape(config)
    real = real_flops(
        llm,
        per_layer,
        prompt.text_tokens,
        generated,
        vision=vision,
        frames=prompt.layout.frames,
        patches=prompt.patches,
    )
    return {"paper": paper_flops(per_layer, llm.hidden, llm.ffn), "real": real["total"]}
