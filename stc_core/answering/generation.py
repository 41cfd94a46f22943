"""Let a loaded model generate, greedily, with the probability of what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from stc_core.answering.prompt import build_prompt, encode_text
from stc_core.answering.reporting import SHARES, Reporter
from stc_core.answering.streaming import Writing, answer_text
from stc_core.errors import InputError
from stc_core.hooks.forced import first_position, log_probability, rewind
from stc_core.hooks.kv_cache import cache_of
from stc_core.hooks.probes import listening
from stc_core.hooks.recording import QUESTION_WORDS
from stc_core.hooks.timing import timed
from stc_core.models.memory import frames_that_fit
from stc_core.models.stock import StockModel
from stc_core.models.vlm import VLM
from stc_core.record.trace_header import LONGEST_ANSWER, MAX_SCORES
from stc_core.text import checked_text

See = Callable[..., AbstractContextManager[None]]  # ``hooks.tower.vision`` for one model
# What a published generation_config.json may hold beside the ends of a text: all of it changes what
# is said, and the log-probability of what is said is that of the model's own numbers.
GREEDY = {
    "do_sample": False, "num_beams": 1, "temperature": None, "top_p": None, "top_k": None,
    "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "encoder_repetition_penalty": 1.0,
    "encoder_no_repeat_ngram_size": 0, "bad_words_ids": None, "sequence_bias": None,
    "min_length": 0, "min_new_tokens": None, "guidance_scale": None, "suppress_tokens": None,
    "begin_suppress_tokens": None, "forced_bos_token_id": None, "forced_eos_token_id": None,
    "exponential_decay_length_penalty": None, "penalty_alpha": None, "dola_layers": None,
    "num_return_sequences": 1, "prompt_lookup_num_tokens": None,
}  # fmt: skip


class Fed(Protocol):
    """Describe what a run feeds to the model: a ``Prompt``, or what follows on a kept cache."""

    @property
    def inputs(self) -> Mapping[str, Any]:
        """Return the arguments of ``model.generate``."""

    @property
    def frames(self) -> int:
        """Return the frames of the clip."""

    @property
    def asked(self) -> range:
        """Return the places of the question's tokens."""


@dataclass
class Said:
    """Hold one run of the model.

    ids are the new tokens, the end among them where it came, logprobs theirs; first (V,) are the
    logits of the first one and ``position`` its position ids (..., 1, 1), cache holds the prompt,
    heard is what ``listening`` yields.
    """

    text: str
    ids: list[int]
    logprobs: list[float]
    first: Tensor
    position: Tensor
    cache: object
    heard: list[Tensor]

    @property
    def logprob(self) -> float:
        return sum(self.logprobs)


def greedy(
    model: StockModel, inputs: Mapping[str, Any], limit: int, **options: Any
) -> tuple[Any, Tensor, Tensor]:
    """Generate without sampling, and say how likely each token was.

    Parameters
    ----------
    model, inputs
        A stock model and what its processor made of B prompts.
    limit
        Tokens of the longest answer.
    options
        More arguments of ``model.generate``.

    Returns
    -------
    output
        What ``model.generate`` returned.
    new : Tensor
        (B, tokens) int64, padded behind an answer's end.
    logprobs : Tensor
        (B, tokens) float32, natural logarithms, from the logits before any processor.
    """
    output = model.generate(
        **inputs,
        **GREEDY,
        max_new_tokens=limit,
        output_logits=True,
        return_dict_in_generate=True,
        **options,
    )
    new = output.sequences[:, inputs["input_ids"].shape[1] :]
    sure = torch.stack(output.logits, dim=1).float().log_softmax(-1)
    return output, new, sure.gather(2, new[..., None])[..., 0]


def recorded_question(prompt: Fed) -> range:
    """Return the places of the question's tokens that are recorded."""
    return prompt.asked[-QUESTION_WORDS:]


def generate(
    vlm: VLM,
    prompt: Fed,
    watch: Reporter,
    limit: int,
    *,
    see: See | None = None,
    layer: int | None = None,
    writing: Writing | None = None,
) -> Said:
    """Answer and tell the watch of every token. ``layer``: where to listen, None: nowhere.

    see: ``vision`` for this model, without its watch; None leaves the vision tower as it is.
    writing: told of every token, and of the whole text in the end.
    """
    count = 0
    length = prompt.inputs["input_ids"].shape[1]

    def step(ids: Tensor, scores: Tensor, **_) -> Tensor:
        nonlocal count
        count += 1
        watch.token()
        watch.tell("answer", SHARES["answer"] + (1 - SHARES["answer"]) * count / limit)
        if writing is not None:
            with watch.paused():
                writing.look(ids[0, length:].tolist())
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    # the question and what the template puts after it
    last = length - recorded_question(prompt).start
    ear: AbstractContextManager[list[Tensor]]
    ear = nullcontext([]) if layer is None else listening(vlm.model, layer, last, watch)
    try:
        tower = vlm.family.tower(vlm.model)
        place = first_position(vlm.model)
        sight = nullcontext() if see is None else see(watch=watch, report=watch.seen)
        times = timed(vlm.model, tower, watch)
        with torch.no_grad(), sight, times, place as position, ear as heard:
            output, new, sure = greedy(vlm.model, prompt.inputs, limit, stopping_criteria=[step])
    except torch.OutOfMemoryError as error:
        raise InputError(frames_that_fit(vlm, prompt.frames)) from error
    cache = cache_of(output)
    rewind(cache, count - 1)  # the last token was never fed
    text = answer_text(vlm.processor, new[0].tolist())
    if writing is not None:
        writing.end(text)
    return Said(
        text,
        new[0].tolist(),
        sure[0].tolist(),
        output.logits[0][0],
        position[0],
        cache,
        heard,
    )


def endings_of(vlm: VLM, score: Sequence[str]) -> dict[str, list[int]]:
    """Return the tokens of each answer to score, with the end; refuse what cannot be said."""
    if isinstance(score, str):
        raise InputError("score takes several answers; write score=[answer] for one")
    if len(score) > MAX_SCORES:
        raise InputError(f"at most {MAX_SCORES} answers can be scored, not {len(score)}")
    tokenizer, endings = vlm.processor.tokenizer, {}
    for text in score:
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"an answer to score must be a text, not {text!r}")
        checked_text(text, "an answer to score", LONGEST_ANSWER, controls=True)
        ids = encode_text(tokenizer, text.strip())
        if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids:
            raise InputError(
                f"the model {vlm.name!r} has no words for the answer {text!r}; score one that it "
                f"can give"
            )
        endings[text] = [*ids, *end_tokens(vlm)[:1]]
    return endings


def end_tokens(vlm: VLM) -> list[int]:
    """Return the tokens that end an answer, the usual one first."""
    ends = vlm.model.generation_config.eos_token_id
    if ends is None:
        return []
    return list(ends) if isinstance(ends, (list, tuple)) else [ends]


def said_before(vlm: VLM, said: Said) -> tuple[int, ...]:
    """Return the tokens of an answer without its end, which the next turn's template writes."""
    ended = bool(said.ids) and said.ids[-1] in end_tokens(vlm)
    return tuple(said.ids[:-1] if ended else said.ids)


def scores_of(vlm: VLM, said: Said, forced: dict[str, list[int]]) -> dict[str, float]:
    """Return the log-probabilities of other answers after the prompt that the cache holds."""
    return {
        text: log_probability(vlm.model, said.cache, said.first, ids, said.position)
        for text, ids in forced.items()
    }


def warm_up(vlm: VLM) -> None:
    """Run once on a black frame, so that a timed run does not pay for first-time work."""
    if vlm.warm:
        return
    black = np.zeros((1, 64, 64, 3), np.uint8)
    inputs = build_prompt(vlm, black, "what is this", 2, strict=False).inputs
    with torch.no_grad():
        vlm.model.generate(**inputs, **GREEDY, max_new_tokens=2)
    vlm.warm = True
