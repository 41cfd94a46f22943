"""One case under one method after another: answers, their probabilities, the evidence left."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor, LogitsProcessorList

from stc_core.answering.answer import GREEDY
from stc_core.answering.prompt import Prompt, build_prompt, encode_text
from stc_core.benchmark.cases import Case
from stc_core.benchmark.rows import name_of
from stc_core.benchmark.vision_once import vision_once
from stc_core.hooks.compression import compress
from stc_core.hooks.seams import timed
from stc_core.methods import Method
from stc_core.models.families import vision_shape
from stc_core.models.loading import VLM
from stc_core.record.costs import layers_after, paper_flops
from stc_core.record.flops import LLMShape, real_flops
from stc_core.record.stopwatch import Stopwatch
from stc_core.record.trace import Trace


def ask(
    vlm: VLM, case: Case, methods: Iterable[Method | None], answer_tokens: int
) -> Iterator[dict[str, Any]]:
    """Answer one case under each method; None is the uncompressed model.

    Yields one record a method, plain values only:

    case, clip, kind, frames, question, expected, method
        ``frames`` as asked for; ``expected`` is the right answer; ``method`` is its ``repr``,
        "none" for the uncompressed model.
    answer, right
        What was said, greedily decoded, and whether that is right.
    log_answer, log_right
        Natural logarithm of the probability of the answer said and of the right one, the end of
        the answer included.
    tokens : [N, door, end]
        Of the video, those that entered the LLM, those in its last layer.
    evidence
        None where it is unknown or there is none; else ``cells``, how many tokens hold it, and how
        many of these go on as survivors themselves (``door``, ``end``) or are carried by a
        survivor, which counts the former in (``door_carried``, ``end_carried``): at the LLM's door
        and in its last layer.
    flops : {"paper", "real"}
        Both conventions of ``stc_core.record.costs``; the real one without the compression itself,
        whose time is measured instead.
    seconds : {"compression", "prefill", "decoding"}
        Compression includes reading the contribution, also for methods that make no use of it.
    """
    methods = list(methods)
    prompt = build_prompt(
        vlm, case.frames, case.question, answer_tokens,
        seconds=case.seconds, duration=case.duration,
    )  # fmt: skip
    tokenizer = vlm.processor.tokenizer
    ends = vlm.model.generation_config.eos_token_id
    end = ends[0] if isinstance(ends, list) else ends
    right_ids = [*encode_text(tokenizer, case.answer), *([] if end is None else [end])]
    with vision_once(vlm.model, [method for method in methods if method is not None]):
        for method in methods:
            watch = Stopwatch(vlm.device)
            around = nullcontext() if method is None else compress(vlm.model, method, watch=watch)
            with around as live:
                with timed(vlm.model, vlm.family.tower(vlm.model), watch):
                    new, log_answer = _generate(vlm, prompt, answer_tokens)
                seconds = dict(watch.seconds)
                said = vlm.processor.decode(new, skip_special_tokens=True).strip()
                if new.tolist() == right_ids:
                    log_right = log_answer
                else:
                    log_right = _generate(vlm, prompt, len(right_ids), right_ids)[1]
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
                "answer": said,
                "right": case.is_right(said),
                "log_answer": round(log_answer, 5),
                "log_right": round(log_right, 5),
                "tokens": tokens,
                "evidence": _evidence(case, trace),
                "flops": _flops(vlm, prompt, per_layer, len(new)),
                "seconds": {
                    stage: round(seconds.get(stage, 0.0), 5)
                    for stage in ("compression", "prefill", "decoding")
                },
            }


class _Forced(LogitsProcessor):
    """Leaves no choice but these tokens, one after the other."""

    def __init__(self, ids: list[int], start: int) -> None:
        self.ids, self.start = ids, start

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        forced = torch.full_like(scores, -torch.inf)
        forced[:, self.ids[input_ids.shape[1] - self.start]] = 0.0
        return forced


@torch.no_grad()
def _generate(
    vlm: VLM, prompt: Prompt, limit: int, forced: list[int] | None = None
) -> tuple[Tensor, float]:
    """(new tokens (G,), logarithm of their probability); ``forced``: the tokens to be said."""
    start = prompt.inputs["input_ids"].shape[1]
    processors = LogitsProcessorList([] if forced is None else [_Forced(forced, start)])
    output = vlm.model.generate(
        **prompt.inputs,
        **GREEDY,
        max_new_tokens=limit,
        logits_processor=processors,
        output_logits=True,  # as the model gave them, before any processor
        return_dict_in_generate=True,
    )
    new = output.sequences[0, start:]
    sure = torch.cat(output.logits).float().log_softmax(-1)
    return new, float(sure.gather(1, new[:, None]).cpu().double().sum())


def _tokens(vlm: VLM, prompt: Prompt, trace: Trace | None) -> tuple[list[int], list[int]]:
    """([N, at the door, at the end], video tokens in each decoder layer)."""
    depth, full = len(vlm.model.get_decoder().layers), prompt.video_tokens
    if trace is None:
        return [full] * 3, [full] * depth
    alive, inside = trace.alive(), trace.stage("inside")
    layer = depth - 1 if inside is None else inside.layer
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
        ("door", alive[1], trace.stage("outside").target),
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
