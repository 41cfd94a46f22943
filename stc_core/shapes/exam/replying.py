"""Answer questions about clips, several at a time."""

from __future__ import annotations

import torch

from stc_core.answering.generation import greedy
from stc_core.models.stock import StockModel, StockProcessor
from stc_core.shapes.world.clip import Clip
from stc_core.shapes.world.questions import Question

ANSWER_TOKENS = 4  # three words and the end


def reply(
    model: StockModel, processor: StockProcessor, pairs: list[tuple[Clip, Question]]
) -> list[str]:
    """Return the greedy answers to pairs of clip and question, all with as many frames."""
    return [said for said, _ in replies(model, processor, pairs)]


@torch.inference_mode()
def replies(
    model: StockModel, processor: StockProcessor, pairs: list[tuple[Clip, Question]]
) -> list[tuple[str, float]]:
    """Return greedy answers, each with the probability that the model gave it, end included.

    Parameters
    ----------
    model, processor
    pairs : list of (Clip, Question)
        Asked in one batch; all clips have equally many frames.

    Returns
    -------
    list of (str, float)
        Answer and its probability.
    """
    prompts = [
        processor.apply_chat_template(
            [
                {
                    "role": "user",
                    "content": [{"type": "video"}, {"type": "text", "text": question.text}],
                }
            ],
            add_generation_prompt=True,
        )
        for _, question in pairs
    ]
    inputs = processor(
        text=prompts,
        videos=[clip.frames for clip, _ in pairs],
        padding=True,
        padding_side="left",
        return_tensors="pt",
    ).to(model.device, model.dtype)
    _, new, sure = greedy(model, inputs, ANSWER_TOKENS)
    ends = model.generation_config.eos_token_id
    ended = torch.isin(new, torch.tensor(ends, device=new.device)).cumsum(1)
    # Padding follows the first end; the end itself belongs to the answer.
    before = torch.cat([torch.zeros_like(ended[:, :1]), ended[:, :-1]], dim=1)
    chances = sure.masked_fill(before > 0, 0.0).sum(1).exp().clamp(max=1.0).tolist()
    said = processor.batch_decode(new, skip_special_tokens=True)
    return [(text.strip(), chance) for text, chance in zip(said, chances, strict=True)]
