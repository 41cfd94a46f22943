"""Count what a finished run has cost: tokens, FLOPs, memory, seconds."""

from __future__ import annotations

import numpy as np
import torch

from stc_core.models.families import vision_shape
from stc_core.models.vlm import VLM
from stc_core.record.costs import Costs, kv_cache_bytes, layers_after, paper_flops
from stc_core.record.flops import LLMShape, inside_flops, outside_flops, real_flops
from stc_core.record.stages import Fate
from stc_core.record.stopwatch import Stopwatch
from stc_core.record.trace import Trace


def costs_of(
    vlm: VLM, trace: Trace | None, prompt, generated: int, watch: Stopwatch, decode: Stopwatch
) -> Costs:
    """Return the costs of a finished run; without a trace nothing was compressed."""
    config = vlm.model.config
    llm, vision = LLMShape.from_config(config), vision_shape(config)
    full = prompt.video_tokens
    steps = [full] if trace is None else trace.alive()
    inside = None if trace is None else trace.stage("inside")
    layer = llm.layers - 1 if inside is None or inside.layer is None else inside.layer
    llm_tokens, end = steps[min(1, len(steps) - 1)], steps[-1]
    per_layer = layers_after(layer, llm.layers, llm_tokens, end)
    compression, text_tokens = 0, prompt.text_tokens
    if trace is not None:
        entered = torch.from_numpy(trace.outside.survivors).to(vlm.device)
        text_tokens = prompt.entered(entered)[1] - len(entered)
        fates = np.bincount(trace.outside.fate, minlength=len(Fate))
        compression = sum(
            outside_flops(
                full,
                llm.hidden,
                int(fates[Fate.KEPT]),
                int(fates[Fate.CENTER]),
                vision=vision,
                frames=prompt.steps,
                patches=prompt.patches,
            ).values()
        ) + inside_flops(llm, llm_tokens, end, prompt.text_after)
    parameter = next(vlm.model.parameters())
    seconds = {"decode": 0.0} | decode.seconds | watch.seconds
    return Costs(
        tokens_full=full,
        tokens_llm=llm_tokens,
        tokens_end=end,
        tokens_per_layer=tuple(per_layer),
        text_tokens=text_tokens,
        generated_tokens=generated,
        paper_flops=paper_flops(per_layer, llm.hidden, llm.ffn),
        real_flops=real_flops(
            llm,
            per_layer,
            text_tokens,
            generated,
            vision=vision,
            frames=prompt.steps,
            patches=prompt.patches,
            compression=compression,
        ),
        kv_bytes=kv_cache_bytes(
            [count + text_tokens for count in per_layer],
            llm.kv_heads,
            llm.head_dim,
            parameter.element_size(),
        ),
        seconds=seconds,
        seconds_per_token=tuple(watch.per_token),
        time_to_first_token=watch.first_token,
        peak_memory_bytes=watch.peak_memory_bytes(),
    )


def costs_of_following(
    vlm: VLM, trace: Trace, cached: int, new: int, generated: int, watch: Stopwatch
) -> Costs:
    """Return the costs of going on from a kept cache: neither the video nor its tokens are read.

    Parameters
    ----------
    vlm, watch
        As for ``costs_of``.
    trace
        Of the prompt that the cache holds.
    cached, new, generated
        Tokens in the cache's first layer, tokens that were fed to go on, tokens generated.
    """
    llm = LLMShape.from_config(vlm.model.config)
    steps, inside = trace.alive(), trace.stage("inside")
    layer = llm.layers - 1 if inside is None or inside.layer is None else inside.layer
    per_layer = layers_after(layer, llm.layers, steps[1], steps[-1])
    text = cached - steps[1]
    lengths = [count + text for count in per_layer]
    prefill = llm.decode_flops(lengths, new + 1)  # as if they were read one by one
    parts = {
        "vision": 0.0,
        "projector": 0.0,
        "compression": 0.0,
        "prefill": float(prefill),
        "decode": float(llm.decode_flops(lengths, new + generated) - prefill),
        "lm_head": float(llm.head_flops(generated)),
    }
    return Costs(
        tokens_full=steps[0],
        tokens_llm=steps[1],
        tokens_end=steps[-1],
        tokens_per_layer=tuple(per_layer),
        text_tokens=text + new,
        generated_tokens=generated,
        paper_flops=paper_flops(per_layer, llm.hidden, llm.ffn),
        real_flops=parts | {"total": sum(parts.values())},
        kv_bytes=kv_cache_bytes(
            [count + new for count in lengths],
            llm.kv_heads,
            llm.head_dim,
            next(vlm.model.parameters()).element_size(),
        ),
        seconds={"decode": 0.0} | watch.seconds,
        seconds_per_token=tuple(watch.per_token),
        time_to_first_token=watch.first_token,
        peak_memory_bytes=watch.peak_memory_bytes(),
    )
