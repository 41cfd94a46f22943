"""Estimate how much each video token matters to an answer, by one backward pass.

The gradient of the answer's log-probability, with all tokens of the clip in the LLM, says how
strongly the answer hangs on each of them. It is an estimate: the search uses it as the order in
which tokens are tried, and proves by runs.
"""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor

from stc_core.answering.prompt import Prompt
from stc_core.hooks.attaching import attach
from stc_core.models.vlm import VLM

CALLS = ("cache", "past_key_values", "use_cache", "logits_to_keep")  # of no use without a cache


def influence(vlm: VLM, prompt: Prompt, answer: list[int]) -> Tensor:
    """Return (N,) float on the CPU: the norm of each token's gradient; zeros where there is none.

    Enter ``vision`` with a cache before, so that the tower does not run again.

    Parameters
    ----------
    vlm : VLM
    prompt : Prompt
    answer : list of int
        The answer's tokens, its end included.
    """
    model, decoder = vlm.model, vlm.model.get_decoder()
    heard: dict = {}
    with ExitStack() as stack, torch.no_grad():
        attach(stack, decoder, lambda module, args, named: heard.update(named), with_kwargs=True)
        model(**prompt.inputs, use_cache=False)
    named = {name: value for name, value in heard.items() if name not in CALLS}
    places = prompt.layout.tokens
    whole = named.pop("inputs_embeds").detach()
    new = torch.tensor([answer[:-1]], dtype=torch.long, device=whole.device)
    tokens = whole[0, places].clone().requires_grad_(True)
    with torch.enable_grad():
        rows = torch.zeros_like(places)
        embeds = whole.index_put((rows, places), tokens)
        behind = model.get_input_embeddings()(new).detach().to(whole)
        embeds = torch.cat([embeds, behind], dim=1)
        hidden = decoder(
            inputs_embeds=embeds, use_cache=False, **_longer(named, len(answer) - 1)
        ).last_hidden_state
        logits = model.get_output_embeddings()(hidden[0, -len(answer) :]).float()
        chosen = torch.tensor(answer, device=logits.device)[:, None]
        total = logits.log_softmax(-1).gather(1, chosen).sum()
        (gradient,) = torch.autograd.grad(total, tokens)
    return torch.nan_to_num(gradient.float().norm(dim=-1).cpu())


def _longer(named: dict, more: int) -> dict:
    """Return a decoder's arguments for a prompt that goes on by ``more`` tokens of text."""
    made = dict(named)
    positions, mask = made.get("position_ids"), made.get("attention_mask")
    if positions is not None:
        first = positions.amax(dim=-1, keepdim=True) + 1
        made["position_ids"] = torch.cat(
            [positions, first + torch.arange(more, device=positions.device)], dim=-1
        )
    if mask is not None:
        made["attention_mask"] = torch.cat([mask, mask.new_ones(len(mask), more)], dim=1)
    visual = made.get("visual_pos_masks")
    if visual is not None:
        made["visual_pos_masks"] = torch.cat([visual, visual.new_zeros(len(visual), more)], dim=1)
    return made
