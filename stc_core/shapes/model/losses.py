"""Compute what training minimizes: dense labels of tokens, answers to questions, past events.

The heads that read labels off tokens exist only in training.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerBase

from stc_core.hooks.attaching import attach
from stc_core.models.stock import StockModel
from stc_core.shapes.model.batches import FRAME_EVENTS, IGNORED, LOOKS, TOKEN_EVENTS
from stc_core.shapes.model.question_turns import alone
from stc_core.shapes.model.sizes import MEAN, START, STD
from stc_core.shapes.world.questions import KINDS

CHUNK = 256  # frames at most that the frozen tower sees at once, to bound memory
LABELS = {name: len(values) for name, values in LOOKS.items()}
Scores = dict[str, tuple[float, float]]  # name -> (sum, number of what was summed)
Encode = Callable[[StockModel, Tensor], Tensor]


def patch_features(tower: StockModel, frames: Tensor) -> Tensor:
    """Encode frames into the patch features that the projector reads.

    Parameters
    ----------
    tower : StockModel
        The vision tower.
    frames : (N, H, W, 3) uint8
        sRGB.

    Returns
    -------
    (N, patches, vision width) float
    """
    mean, std = (torch.tensor(x, device=frames.device).view(3, 1, 1) for x in (MEAN, STD))
    pixels = (frames.permute(0, 3, 1, 2).float() / 255 - mean) / std
    return tower.encoder(inputs_embeds=tower.embeddings(pixels)).last_hidden_state


def project(model: LlavaOnevisionForConditionalGeneration, features: Tensor) -> Tensor:
    """Return video tokens (N, n, width) of patch features (N, patches, vision width)."""
    return model.model.apply_pooling(model.model.multi_modal_projector(features))


class DenseHead(nn.Module):
    """Read off each video token what is visible there; exists only in training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.parts = {"present": 1, **LABELS, "center": 2}
        self.linear = nn.Linear(width, sum(self.parts.values()))

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Return for each part its logits (..., its size) in float32, of tokens (..., width)."""
        read = self.linear(tokens).float().split(list(self.parts.values()), dim=-1)
        return dict(zip(self.parts, read, strict=True))


def dense_loss(head: DenseHead, tokens: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Scores]:
    """Compute the loss of the dense labels.

    Parameters
    ----------
    head : DenseHead
    tokens : (B, T, n, width) float
    batch : dict of str to Tensor
        ``batches.token_labels``, each (B, T, n, ...).

    Returns
    -------
    loss : () float
    scores : Scores
        Share of tokens where "sees/present", "sees/shape", ... is right, and "off", the mean
        distance of the center along one axis in frames.
    """
    said, scores = head(tokens), Scores()
    known, clear = batch["present"] != IGNORED, batch["present"] == 1
    there, is_there = said["present"].squeeze(-1)[known], clear[known]
    losses = [F.binary_cross_entropy_with_logits(there, is_there.float())]
    scores["sees/present"] = _share((there > 0) == is_there)
    for name in LABELS:
        if name not in batch:
            continue
        named = batch[name] != IGNORED
        logits, labels = said[name][named], batch[name][named]
        # A batch may show nothing at all, and the mean over nothing is not a number.
        losses.append(F.cross_entropy(logits, labels, reduction="sum") / max(1, len(labels)))
        scores[f"sees/{name}"] = _share(logits.argmax(-1) == labels)
    off = said["center"][clear] - batch["center"][clear]
    losses.append(10 * off.square().sum() / max(1, off.numel()))
    scores["off"] = (off.detach().abs().sum().item(), off.numel())
    return torch.stack(losses).sum(), scores


class EventHead(nn.Module):
    """Read off the decoder's middle what has happened; exists only in training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.tokens = nn.Linear(width, sum(TOKEN_EVENTS.values()))
        self.frames = nn.Linear(width, sum(FRAME_EVENTS.values()))

    def forward(self, hidden: Tensor) -> dict[str, Tensor]:
        """Return logits of tokens (B, T, n, k) and of frames (B, T, k).

        ``hidden`` is (B, T, n, width). Events of a frame are read off its last token, which has
        seen all that came before.
        """
        hidden = self.norm(hidden)
        said: dict[str, Tensor] = {}
        for linear, parts, where in (
            (self.tokens, TOKEN_EVENTS, hidden),
            (self.frames, FRAME_EVENTS, hidden[:, :, -1]),
        ):
            said |= zip(parts, linear(where).float().split(list(parts.values()), -1), strict=True)
        return said


def event_loss(head: EventHead, hidden: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Scores]:
    """Compute the mean loss of the labels of what has happened.

    Parameters
    ----------
    head : EventHead
    hidden : (B, T, n, width) float
        Hidden states of the video tokens after a decoder layer.
    batch : dict of str to Tensor
        ``batches.event_labels``.

    Returns
    -------
    loss : () float
    scores : Scores
        Share of right labels "knows/fresh", ...
    """
    losses, scores = [], Scores()
    for name, logits in head(hidden).items():
        told = batch[name] != IGNORED
        labels = batch[name][told]
        losses.append(F.cross_entropy(logits[told], labels, reduction="sum") / max(1, len(labels)))
        scores[f"knows/{name}"] = _share(logits[told].argmax(-1) == labels)
    return torch.stack(losses).mean(), scores


def vision_loss(
    model: LlavaOnevisionForConditionalGeneration,
    head: DenseHead,
    batch: dict[str, Tensor],
    encode: Encode = patch_features,
) -> tuple[Tensor, Scores]:
    """Compute the loss of the dense labels, read off the model's own video tokens.

    Parameters
    ----------
    model : LlavaOnevisionForConditionalGeneration
    head : DenseHead
    batch : dict of str to Tensor
        ``frames`` (B, T, H, W, 3) uint8 and ``batches.token_labels``.
    encode : callable
        Computes patch features from the vision tower and frames.

    Returns
    -------
    loss : () float
    scores : Scores
        "loss" and the scores of ``dense_loss``.
    """
    frames = batch["frames"]
    seen = encode(model.model.vision_tower, frames.flatten(0, 1))
    tokens = project(model, seen).unflatten(0, frames.shape[:2])
    loss, scores = dense_loss(head, tokens, batch)
    return loss, {"loss": (loss.item(), 1), **scores}


def language_loss(
    model: LlavaOnevisionForConditionalGeneration,
    events: EventHead | None,
    batch: dict[str, Tensor],
    tokenizer: PreTrainedTokenizerBase,
    weight: float = 0.0,
    middle: int = 4,
    encode: Encode = patch_features,
) -> tuple[Tensor, Scores]:
    """Compute the cross entropy of the answers to all questions of each clip, each asked alone.

    Parameters
    ----------
    model : LlavaOnevisionForConditionalGeneration
    events : EventHead or None
    batch : dict of str to Tensor
        ``frames`` (B, T, H, W, 3) uint8 and ``batches.turns``.
    tokenizer : PreTrainedTokenizerBase
    weight : float
        Of the loss of what has happened, which is added.
    middle : int
        Decoder layer after which events are read.
    encode : callable
        Computes patch features from the vision tower and frames.

    Returns
    -------
    loss : () float
    scores : Scores
    """
    frames = batch["frames"]
    with torch.no_grad():
        chunks = frames.flatten(0, 1).split(CHUNK)
        seen = torch.cat([encode(model.model.vision_tower, chunk) for chunk in chunks])
    tokens = project(model, seen).unflatten(0, frames.shape[:2])  # (B, T, n, width)
    video, kept, places = tokens.flatten(1, 2), batch.get("kept"), None
    rows, count = len(batch["ids"]), video.shape[1]
    if kept is not None:  # parts of the clips, some of each: tokens keep their positions
        clip = torch.arange(rows, device=frames.device) // (rows // len(frames))
        video = video[clip[:, None], kept]
    newline = model.model.image_newline.expand(rows, 1, -1)
    embed = model.get_input_embeddings()
    opening = torch.tensor(tokenizer(f"{START}user ").input_ids, device=frames.device)
    before = embed(opening).expand(rows, -1, -1)
    if kept is not None:
        first = before.shape[1]
        ends = [torch.arange(first, device=frames.device), kept.new_tensor([first + count])]
        places = torch.cat([ends[0].expand(rows, -1), first + kept, ends[1].expand(rows, 1)], dim=1)
    inputs = torch.cat([before, video, newline, embed(batch["ids"])], dim=1)
    prefix = inputs.shape[1] - batch["ids"].shape[1]
    positions, sees = alone(batch["turn"], batch["place"], prefix, places)
    mask = torch.zeros_like(sees, dtype=tokens.dtype).masked_fill_(~sees, -torch.inf)
    caught: list[Tensor] = []
    layer = model.model.language_model.layers[middle]
    with ExitStack() as stack:
        attach(stack, layer, lambda module, args, out: caught.append(out), after=True)
        hidden = model.model.language_model(
            inputs_embeds=inputs, position_ids=positions, attention_mask=mask, use_cache=False
        ).last_hidden_state[:, prefix:]
    told = batch["labels"] != IGNORED
    logits, labels = model.lm_head(hidden[told]).float(), batch["labels"][told]
    loss = F.cross_entropy(logits, labels)
    scores = {"loss": (loss.item(), 1.0)}
    with torch.no_grad():
        # The end token is too easy to count.
        wrong = (logits.argmax(-1) != labels) & (labels != tokenizer.eos_token_id)
        scores |= whole_answers(wrong, told, batch["turn"], batch["kind"])
    if weight and kept is None:
        video = caught[0][:, before.shape[1] : prefix - 1].unflatten(1, tokens.shape[1:3])
        if events is None:
            raise ValueError("the loss of what has happened needs the head that reads it")
        happened, more = event_loss(events, video, batch)
        loss, scores = loss + weight * happened, scores | more
    return loss, scores


def whole_answers(wrong: Tensor, told: Tensor, turn: Tensor, kind: Tensor) -> Scores:
    """Count the questions whose answer is right to the last word: "right", "right/color", ...

    Parameters
    ----------
    wrong : (m,) bool
        Whether a word is wrong, one for each True of ``told``.
    told : (B, P) bool
        Where the next token belongs to an answer.
    turn, kind : (B, P) int64
        The question a token belongs to, counted from 1, and its index in ``KINDS``; -1 where there
        is none.

    Returns
    -------
    Scores
    """
    row = torch.arange(len(turn), device=turn.device)[:, None]
    question = (row * (turn.max() + 1) + turn)[told]
    missed = torch.zeros(turn.numel() + len(turn), device=turn.device)
    missed.index_add_(0, question, wrong.float())
    which, inverse = question.unique(return_inverse=True)
    of = torch.full_like(which, -1).scatter_reduce(0, inverse, kind[told], "amax")
    right, asked = (missed[which] == 0).tolist(), of.tolist()
    scores = {"right": (float(sum(right)), float(len(right)))}
    for index in sorted(set(asked)):
        answers = [r for r, k in zip(right, asked, strict=True) if k == index]
        scores[f"right/{KINDS[index]}"] = (float(sum(answers)), float(len(answers)))
    return scores


def _share(right: Tensor) -> tuple[float, float]:
    return right.sum().item(), right.numel()
