"""The independent reference of every family: full length, no cache, unwanted columns hidden.

It shares no code with the package but the places of the video in the prompt. Decisions are read off
the trace, means are taken in loops, features come from the family's own call, positions from the
uncompressed model.
"""

import inspect
from dataclasses import dataclass

import numpy as np
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from stc_core.models.families import layout_of

GREEDY = {"do_sample": False, "max_new_tokens": 6, "min_new_tokens": 6}


def generate(model, inputs, **options):
    with torch.no_grad():
        return model.generate(
            **inputs, **{**GREEDY, **options}, return_dict_in_generate=True, output_logits=True
        )


def snapshot(model):
    """All that a hook could leave behind on the model, as comparable values."""
    hooks = {
        name: [
            len(getattr(module, table))
            for table in ("_forward_pre_hooks", "_forward_hooks", "_forward_hooks_with_kwargs")
        ]
        for name, module in model.named_modules()
    }
    configs = {
        name: (id(module.config), module.config._attn_implementation)
        for name, module in model.named_modules()
        if hasattr(module, "config")
    }
    return hooks, configs, sorted(ALL_ATTENTION_FUNCTIONS), sorted(vars(model))


def features(model, inputs):
    """(placeholders, d) as the family computes them, and a list of the same for each level of
    deepstack."""
    body = model.base_model
    pixels = "pixel_values_videos" if "pixel_values_videos" in inputs else "pixel_values"
    call = body.get_video_features if pixels.endswith("videos") else body.get_image_features
    wanted = inspect.signature(call).parameters
    given = {name: value for name, value in inputs.items() if name in wanted}
    if pixels not in wanted:  # transformers 5.10
        given["pixel_values"] = inputs[pixels]
    found = call(**given)
    flat = torch.cat([part.flatten(0, -2) for part in found.pooler_output])
    levels = (
        getattr(found, "deepstack_features", None) or []
    )  # one per video, or all at once (5.10)
    return flat, [torch.cat(list(level)).view(len(flat), -1) for level in levels]


def places_left(prompt, trace):
    """How many places of the prompt go on after each stage."""
    length = prompt.inputs["input_ids"].shape[1]
    return [
        int(prompt.layout.going(length, torch.from_numpy(stage.survivors)).sum())
        for stage in trace.stages
    ]


def stock_positions(model, inputs):
    """Position ids (L,) or, with axes of their own, (3, L) of the uncompressed prompt."""
    seen = []

    def read(module, args, kwargs):
        seen.append(kwargs["position_ids"])

    handle = model.get_decoder().register_forward_pre_hook(read, with_kwargs=True)
    generate(model, inputs, max_new_tokens=1, min_new_tokens=1)
    handle.remove()
    return seen[0][0] if seen[0].ndim == 2 else seen[0][-3:, 0]


@dataclass
class Reference:
    """What a masked run found.

    logits (V,) of the next token; with an inside stage also, at full length, hidden (L, d) that
    leave layer K and the weights (L, L) within it, the mean over heads, and of the single heads
    (heads, L, L).
    """

    logits: torch.Tensor
    hidden: torch.Tensor | None = None
    weights: torch.Tensor | None = None
    heads: torch.Tensor | None = None


def merged(rows, places, target, share):
    """rows (L, d) in which each survivor is the weighted mean of what it carries, in loops."""
    result, members = rows.clone(), {}
    for token, carrier in enumerate(target.tolist()):
        members.setdefault(carrier, []).append(token)
    for carrier, carried in members.items():
        if carrier >= 0 and len(carried) > 1:
            result[places[carrier]] = sum(rows[places[i]] * float(share[i]) for i in carried)
    return result


def gone_places(layout, survivors):
    """Places of the video that hidden columns stand for: tokens, and what belongs to none left."""
    alive = set(survivors.tolist())
    gone = [int(place) for i, place in enumerate(layout.tokens) if i not in alive]
    for place, (first, last) in zip(layout.extras.tolist(), layout.owned.tolist(), strict=True):
        if not alive & set(range(first, last)):
            gone.append(place)
    return torch.tensor(sorted(gone), dtype=torch.long)


def shares(trace):
    """(N,) twice: each token's share in what carries it outside and inside.

    The trace holds the share at the end. A survivor's share inside is the sum of what it carries,
    and what is left of the whole is the share outside.
    """
    target = trace.stage("outside").target
    later = np.bincount(np.maximum(target, 0), trace.weight, trace.grid.size)
    size = np.bincount(np.maximum(target, 0), target >= 0, trace.grid.size)
    known = later[target] > 0  # not of what was thrown away inside: plain means there
    sooner = np.where(
        known,
        trace.weight / np.where(known, later[target], 1),
        1 / np.maximum(size[target], 1),
    )
    return sooner, later


def masked(model, inputs, layout, positions, trace, ids):
    """Next-token logits after ``ids``, which begin with the prompt of ``inputs``.

    layout: of the prompt; positions: its position ids in the uncompressed model.
    """
    outside, inside = trace.stage("outside"), trace.stage("inside")
    sooner, later = shares(trace)
    places = layout.tokens
    flat, levels = features(model, inputs)
    placeholders = torch.cat([places, layout.extras]).sort().values
    embeds = model.get_input_embeddings()(ids)[0].clone()
    if len(flat) < len(placeholders):  # transformers 5.10 adds the newline after the call
        flat = torch.cat([flat, model.base_model.image_newline[None]])
    embeds[placeholders] = flat.to(embeds.dtype)
    length = len(embeds)

    def added(level):
        rows = torch.zeros_like(embeds)
        rows[placeholders] = level
        return merged(rows, places, outside.target, sooner)[places]

    def mask_without(survivors):
        seen = torch.ones(length, length, dtype=torch.bool, device=embeds.device).tril()
        seen[:, gone_places(layout, survivors)] = False
        seen.fill_diagonal_(True)  # a hidden row needs something to look at
        lowest = torch.finfo(embeds.dtype).min
        return embeds.new_zeros(1, 1, length, length).masked_fill(~seen, lowest)

    following = torch.arange(1, length - positions.shape[-1] + 1, device=embeds.device)
    if trace.positions == "compact":
        going = torch.ones(length, dtype=torch.long, device=embeds.device)
        going[gone_places(layout, outside.survivors)] = 0
        rotated = (going.cumsum(0) - 1).expand(*positions.shape[:-1], -1)
    else:
        rotated = torch.cat([positions, positions[..., -1:] + following], dim=-1)
    decoder = model.get_decoder()
    rotary = decoder.rotary_emb(embeds[None], rotated[..., None, :])
    hidden, mask = merged(embeds, places, outside.target, sooner), mask_without(outside.survivors)
    mask = mask.to(embeds.dtype)
    at_k = heads = None
    for index, layer in enumerate(decoder.layers):
        if inside is not None and index == inside.layer:
            heads = eager_weights(layer, hidden, rotary, mask)
        if inside is not None and index == inside.layer + 1:
            at_k = hidden
            hidden = merged(hidden, places, inside.target, later)
            mask = mask_without(inside.survivors).to(embeds.dtype)
        hidden = layer(hidden[None], attention_mask=mask, position_embeddings=rotary)[0]
        if index < len(levels):
            hidden = hidden.clone()
            hidden[places] += added(levels[index])
    logits = model.get_output_embeddings()(decoder.norm(hidden))[-1]
    return Reference(logits, at_k, None if heads is None else heads.mean(0), heads)


def eager_weights(layer, hidden, rotary, mask):
    """(heads, L, L): what a decoder layer attends to, by the library's own eager attention."""
    config = layer.self_attn.config
    kernel, config._attn_implementation = config._attn_implementation, "eager"
    weights = layer.self_attn(
        hidden_states=layer.input_layernorm(hidden[None]),
        position_embeddings=rotary,
        attention_mask=mask,
    )[1]
    config._attn_implementation = kernel
    return weights[0]


def masked_logits(model, inputs, trace, ids):
    """Next-token logits after ``ids`` of a masked run; (hidden, weights, places) at layer K."""
    prompt_ids = inputs["input_ids"][0]
    layout, positions = layout_of(model.config, prompt_ids, None), torch.arange(len(prompt_ids))
    found = masked(model, inputs, layout, positions, trace, ids)
    return found.logits, (found.hidden, found.weights, torch.cat([layout.tokens, layout.extras]))
