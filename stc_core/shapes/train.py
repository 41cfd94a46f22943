"""Train the embedded Video-LLM from nothing: `train(output)`. The whole recipe is in this file.

1. Vision: tower and projector learn to name shape, colour and place at every video token of single
   frames. The head that says so is thrown away.
2. Language: the decoder and the projector learn to answer, tower frozen, from one thing in one
   frame to four things in 32 frames. Each clip is seen once by the tower and asked up to ten
   questions: all in one sequence, none sees another, each at the position it would have alone.

No token is ever dropped or merged: the compressors are to meet a model that never saw them.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm
from transformers import LlavaOnevisionForConditionalGeneration

from stc_core.shapes.batches import IGNORED, Stage, stage_batches
from stc_core.shapes.layers import layer_auc
from stc_core.shapes.model import MEAN, START, STD, Size, build, save
from stc_core.shapes.world import COLORS, SHAPES

LOG_EVERY = 20  # steps
DESIGN_FRAMES = 16  # the number of frames most of the recipe aims at
DEFAULT_FRAMES = 32  # what a loader samples: the paper's number, trained on in the last stage
LAYER_CLIPS = 20  # development clips on which the contribution layer is chosen


@dataclass(frozen=True)
class Recipe:
    """All that decides the trained weights."""

    size: Size
    stages: tuple[Stage, ...]
    seed: int = 0
    decay: float = 0.01  # AdamW weight decay
    clip: float = 1.0  # gradient norm
    warmup: int = 50  # steps, at the start of every stage

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("a recipe needs at least one stage")

    def scaled(self, scale: float) -> Recipe:
        """The same recipe with `scale` times the steps of every stage."""
        if not 0 < scale < math.inf:
            raise ValueError(f"the scale of the steps must be above 0, not {scale}")
        stages = [asdict(stage) for stage in self.stages]
        for stage in stages:
            stage["steps"] = max(1, round(stage["steps"] * scale))
        return Recipe(**{**vars(self), "stages": tuple(Stage(**stage) for stage in stages)})


RECIPE = Recipe(
    size=Size(),
    stages=(
        Stage("vision", 1800, 48, (4,), (1, 4), (1.5e-3, 2e-5), always=0.8),
        Stage("language", 160, 96, (1,), (1, 1), (1e-3, 1e-3), always=0.9),
        Stage("language", 300, 64, (2, 4), (1, 2), (1e-3, 1e-3)),
        Stage("language", 250, 32, (4, 8), (1, 4), (1e-3, 1e-3)),
        Stage("language", 600, 24, (8, 16, 16), (1, 4), (1e-3, 3e-4)),
        Stage("language", 500, 24, (16, 8, 16, 32), (1, 4), (6e-4, 1e-5), easy=2),
    ),
)


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a step, for whoever watches it."""

    stage: int
    step: int  # steps done in this stage
    done: int  # steps done in all
    steps: int  # steps in all
    scores: dict[str, float]


def train(
    output: Path,
    *,
    work: Path | None = None,
    resume: bool = False,
    recipe: Recipe = RECIPE,
    scale: float = 1.0,
    device: str | torch.device | None = None,
    workers: int = 1,
    save_every: float = 60.0,
    bar: bool = True,
    on_step: Callable[[Progress], None] | None = None,
) -> Path:
    """Train the embedded model and write it to `output` as an ordinary checkpoint directory.

    Args:
        output: directory of the checkpoint; a snapshot is written there after every stage.
        work: directory of the state file and the log; `output` with "-training" added by default.
        resume: go on from the state file in `work` if there is one. Its recipe must be the same up
            to the stage it stopped in; later stages may have been added or changed since.
        recipe: sizes, stages and seed.
        scale: factor on the steps of every stage, for a quick try.
        device: "cpu", "cuda", ...; by default a GPU where there is one.
        workers: processes that render batches; 0 renders in this one.
        save_every: seconds between two writes of the state file.
        bar: show a progress bar on standard error.
        on_step: called after every step.

    Returns:
        `output`.
    """
    recipe = recipe.scaled(scale) if scale != 1.0 else recipe
    work = work or output.with_name(output.name + "-training")
    work.mkdir(parents=True, exist_ok=True)
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    run = _Run(recipe, work / "state.pt", device)
    if resume:
        run.load()
    if run.done == run.steps:  # it was killed between its last step and its checkpoint
        run.write(output)
    with tqdm(total=run.steps, initial=run.done, disable=not bar, unit="step") as meter:
        while run.stage < len(recipe.stages):
            run.one_stage(work / "log.jsonl", workers, save_every, meter, on_step)
            run.write(output)
    return output


class _Run:
    """Model, optimiser and position of one run; everything a state file holds."""

    def __init__(self, recipe: Recipe, path: Path, device: torch.device) -> None:
        self.recipe, self.path, self.device = recipe, path, device
        self.model, self.processor = build(recipe.size, recipe.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed + 1)
            self.head = DenseHead(recipe.size.width)
        self.model.to(device).train()
        self.head.to(device)
        self.stage, self.step = 0, 0
        self.begin_part()

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.recipe.stages)

    @property
    def done(self) -> int:
        return sum(stage.steps for stage in self.recipe.stages[: self.stage]) + self.step

    def begin_part(self) -> None:
        """Choose what the current stage trains; a new part starts with a fresh optimiser."""
        self.part = self.recipe.stages[self.stage].part
        inner = self.model.model
        vision = self.part == "vision"
        inner.vision_tower.requires_grad_(vision)
        inner.language_model.requires_grad_(not vision)
        inner.image_newline.requires_grad_(not vision)
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        if vision:
            parameters += self.head.parameters()
        self.trained = parameters
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in parameters if p.ndim > 1]},
                {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=0.0,
            betas=(0.9, 0.98),
            weight_decay=self.recipe.decay,
        )

    def one_stage(
        self,
        log: Path,
        workers: int,
        save_every: float,
        meter: tqdm,
        on_step: Callable[[Progress], None] | None,
    ) -> None:
        stage, recipe = self.recipe.stages[self.stage], self.recipe
        if stage.part != self.part:
            self.begin_part()
        loss_of = vision_loss if stage.part == "vision" else language_loss
        saved, sums = time.monotonic(), dict[str, list[float]]()
        batches = stage_batches(
            stage, self.stage, self.step, recipe.size, self.processor.tokenizer, workers
        )
        for batch in batches:
            batch = {name: tensor.to(self.device) for name, tensor in batch.items()}
            rate = learning_rate(stage, self.step, recipe.warmup)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss, scores = loss_of(self.model, self.head, batch, self.processor.tokenizer)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.trained, recipe.clip)
            self.optimizer.step()
            self.step += 1
            meter.update()
            for name, score in scores.items():
                sums.setdefault(name, []).append(score)
            if self.step % LOG_EVERY == 0 or self.step == stage.steps:
                means = {name: round(sum(s) / len(s), 4) for name, s in sums.items()}
                meter.set_postfix(stage=f"{self.stage + 1} {stage.part}", **means)
                with log.open("a") as file:
                    line = {"stage": self.stage, "step": self.step, "rate": rate, **means}
                    file.write(json.dumps({**line, "time": round(time.time(), 1)}) + "\n")
                sums.clear()
            if time.monotonic() - saved > save_every and self.step < stage.steps:
                self.save()
                saved = time.monotonic()
            if on_step:
                on_step(Progress(self.stage, self.step, self.done, self.steps, scores))
        self.stage, self.step = self.stage + 1, 0
        self.save()

    def save(self) -> None:
        """Write the state whole or not at all: a kill during the write leaves the former file."""
        state = {
            "recipe": asdict(self.recipe),
            "stage": self.stage,
            "step": self.step,
            "part": self.part,
            "model": self.model.state_dict(),
            "head": self.head.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        fresh = self.path.with_suffix(".new")
        torch.save(state, fresh)
        os.replace(fresh, self.path)

    def write(self, output: Path) -> None:
        """The checkpoint as it stands, with the facts a loader needs about it."""
        self.model.eval()
        scores = layer_auc(self, clips=LAYER_CLIPS, frames=DESIGN_FRAMES)
        best = max(range(len(scores)), key=scores.__getitem__) - len(scores)
        save(
            self.model,
            self.processor,
            output,
            {"contribution_layer": best, "frames": DEFAULT_FRAMES},
        )
        self.model.train()

    def load(self) -> None:
        if not self.path.exists():
            return
        try:
            state = torch.load(self.path, map_location=self.device, weights_only=True)
        except Exception as error:
            raise ValueError(
                f"{self.path} is not a training state; remove it to start afresh"
            ) from error
        mine, theirs = asdict(self.recipe), state["recipe"]
        begun = state["stage"] + (state["step"] > 0)
        mine["stages"], theirs["stages"] = mine["stages"][:begun], theirs["stages"][:begun]
        if _plain(mine) != _plain(theirs):
            raise ValueError(
                f"{self.path} belongs to another recipe; resume with the one it was started with, "
                "or choose another work directory"
            )
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])
        self.stage, self.step = state["stage"], state["step"]
        if self.stage < len(self.recipe.stages):
            # The optimiser of a part that has just ended is not carried into the next one.
            if self.part != state["part"]:
                self.begin_part()
            if self.part == state["part"]:
                self.optimizer.load_state_dict(state["optimizer"])


def _plain(values: dict[str, object]) -> str:
    """A comparable form: tuples and lists are the same."""
    return json.dumps(values, sort_keys=True)


def learning_rate(stage: Stage, step: int, warmup: int) -> float:
    """Cosine from the stage's first rate to its second, after a linear warm-up."""
    start, end = stage.rate
    along = step / max(1, stage.steps - 1)
    rate = end + (start - end) * (1 + math.cos(math.pi * along)) / 2
    return rate * min(1.0, (step + 1) / warmup)


class DenseHead(nn.Module):
    """Reads presence, shape, colour and place off each video token; exists only in training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.parts = (1, len(SHAPES), len(COLORS), 2)
        self.linear = nn.Linear(width, sum(self.parts))

    def forward(self, tokens: Tensor) -> tuple[Tensor, ...]:
        """tokens (B, T, n, width) -> presence, shape, colour, centre, each (B, T, n, its size)."""
        return self.linear(tokens).split(self.parts, dim=-1)


def vision_loss(
    model: LlavaOnevisionForConditionalGeneration,
    head: DenseHead,
    batch: dict[str, Tensor],
    _tokenizer: object = None,
) -> tuple[Tensor, dict[str, float]]:
    """Loss of the dense labels of `batches.token_labels`, read off the model's own video tokens."""
    tokens = video_tokens(model, batch["frames"])[:, :-1]  # without the newline
    b, t = batch["frames"].shape[:2]
    there, shape, color, centre = head(tokens.reshape(b, t, -1, tokens.shape[-1]))
    known, clear = batch["present"] != IGNORED, batch["present"] == 1
    presence = F.binary_cross_entropy_with_logits(
        there.squeeze(-1)[known], batch["present"][known].float()
    )
    losses = (
        presence,
        F.cross_entropy(shape[clear], batch["shape"][clear]),
        F.cross_entropy(color[clear], batch["color"][clear]),
        10 * F.mse_loss(centre[clear], batch["centre"][clear]),
    )
    with torch.no_grad():
        scores = {
            "shape": (shape[clear].argmax(-1) == batch["shape"][clear]).float().mean().item(),
            "color": (color[clear].argmax(-1) == batch["color"][clear]).float().mean().item(),
            "centre": (centre[clear] - batch["centre"][clear]).abs().mean().item(),
            "present": ((there.squeeze(-1) > 0) == (batch["present"] == 1))[known]
            .float()
            .mean()
            .item(),
        }
    return sum(losses), scores


def language_loss(
    model: LlavaOnevisionForConditionalGeneration,
    _head: object,
    batch: dict[str, Tensor],
    tokenizer,
) -> tuple[Tensor, dict[str, float]]:
    """Cross entropy of the answers to all questions of each clip, each as if asked alone."""
    video = video_tokens(model, batch["frames"])
    embed = model.get_input_embeddings()
    opening = torch.tensor(tokenizer(f"{START}user ").input_ids, device=video.device)
    before = embed(opening).expand(len(video), -1, -1)
    inputs = torch.cat([before, video, embed(batch["ids"])], dim=1)
    prefix = before.shape[1] + video.shape[1]
    positions, sees = alone(batch["turn"], batch["place"], prefix)
    # Additive once here: the kernels would turn a boolean mask into this one again in every layer.
    mask = torch.zeros_like(sees, dtype=inputs.dtype).masked_fill_(~sees, -torch.inf)
    hidden = model.model.language_model(
        inputs_embeds=inputs, position_ids=positions, attention_mask=mask, use_cache=False
    ).last_hidden_state[:, prefix:]
    told = batch["labels"] != IGNORED
    logits, labels = model.lm_head(hidden[told]), batch["labels"][told]
    loss = F.cross_entropy(logits, labels)
    with torch.no_grad():
        answer = labels != tokenizer.eos_token_id  # the end token is too easy to count
        right = (logits.argmax(-1) == labels)[answer].float().mean().item()
    return loss, {"loss": loss.item(), "right": right}


def alone(turn: Tensor, place: Tensor, prefix: int) -> tuple[Tensor, Tensor]:
    """Positions (B, L) and boolean mask (B, 1, L, L) for turns that do not see each other.

    L is `prefix` tokens that all turns share, then the P tokens of `turn` and `place` (B, P).
    """
    b, p = turn.shape
    shared = torch.arange(prefix, device=turn.device)
    positions = torch.cat([shared.expand(b, -1), prefix + place], dim=1)
    of = torch.cat([turn.new_full((b, prefix), -1), turn], dim=1)
    sees = (of[:, None, :] == of[:, :, None]) | (of[:, None, :] == -1)
    causal = torch.ones(prefix + p, prefix + p, dtype=torch.bool, device=turn.device).tril()
    return positions, (sees & causal)[:, None]


def video_tokens(model: LlavaOnevisionForConditionalGeneration, frames: Tensor) -> Tensor:
    """Frames (B, T, H, W, 3) uint8 -> (B, T * n + 1, width): the video as the decoder reads it."""
    mean, std = (torch.tensor(x, device=frames.device).view(3, 1, 1) for x in (MEAN, STD))
    pixels = (frames.permute(0, 1, 4, 2, 3).float() / 255 - mean) / std
    return model.model.get_video_features(pixels, return_dict=True).pooler_output
