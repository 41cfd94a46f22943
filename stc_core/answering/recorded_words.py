"""Record the words of a question and its answer, and what each of them attends to."""

from __future__ import annotations

import numpy as np
import torch

from stc_core.answering.generation import Said, end_tokens, recorded_question
from stc_core.answering.pooled_prompt import PooledPrompt
from stc_core.answering.prompt import Prompt
from stc_core.hooks.recording import pieces
from stc_core.models.vlm import VLM
from stc_core.record.stages import Word
from stc_core.record.trace import Trace
from stc_core.record.trace_file import MAX_ATTENTION
from stc_core.record.trace_header import MAX_WORDS
from stc_core.text import readable


def words_of(
    vlm: VLM, prompt: Prompt | PooledPrompt, said: Said, trace: Trace | None
) -> tuple[tuple[Word, ...], np.ndarray]:
    """Return the words of question and answer, and (W, n) float16: what each pays to the video.

    trace: of the compressed run; None where all N tokens entered the LLM.
    """
    tokenizer, ids = vlm.processor.tokenizer, prompt.inputs["input_ids"][0]
    asked = ids[list(recorded_question(prompt))].tolist()
    answered = said.ids[:-1] if said.ids[-1] in end_tokens(vlm) else said.ids
    words = (
        *(Word(readable(text), "question") for text in pieces(tokenizer, asked)),
        *(
            Word(readable(text), "answer", logprob)
            for text, logprob in zip(pieces(tokenizer, answered), said.logprobs, strict=False)
        ),
    )
    if trace is None and isinstance(prompt, Prompt):
        places = prompt.layout.tokens.cpu()
    elif trace is None:
        raise TypeError("of a long video, what entered the LLM is in its trace")
    else:
        entered = torch.from_numpy(trace.outside.survivors).to(ids.device)
        places = prompt.entered(entered)[0].cpu()
    read, *fed = said.heard
    # a word of the answer was predicted where the token before it stood
    rows = [*read[: len(asked)], read[-1], *(row[0] for row in fed)]
    words = words[: min(MAX_WORDS, MAX_ATTENTION // prompt.video_tokens)]
    paid = torch.stack([row[places] for row in rows[: len(words)]])
    return words, paid.half().numpy()
