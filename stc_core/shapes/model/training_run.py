"""Run the training: model, optimizer, position, and the state file that holds them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from stc_core.errors import InputError
from stc_core.models.loading import load
from stc_core.models.stock import StockModel
from stc_core.shapes.model.batches import TrainingStage, stage_batches
from stc_core.shapes.model.contribution_layer import layer_auc
from stc_core.shapes.model.learning_curve import plot
from stc_core.shapes.model.losses import (
    DenseHead,
    Encode,
    EventHead,
    Scores,
    language_loss,
    patch_features,
    vision_loss,
)
from stc_core.shapes.model.question_turns import attend_by_turns
from stc_core.shapes.model.recipe import Recipe
from stc_core.shapes.model.sizes import build, save
from stc_core.writing import made_folder, written_whole

LAYOUT = 3  # of the state file; an older one cannot be gone on with
LOG_EVERY = 20  # steps
DESIGN_FRAMES = 16  # the number of frames most of the recipe aims at
DEFAULT_FRAMES = 32  # what a loader samples: the paper's number, trained on in the last stage
LAYER_CLIPS = 20  # development clips on which the contribution layer is chosen
MUON = 3.0  # the rate of Muon in learning rates of AdamW, whose step sizes it is scaled to


@dataclass(frozen=True)
class Progress:
    """Report where a run stands after a step."""

    stage: int
    step: int  # steps done in this stage
    done: int  # steps done in all
    steps: int  # steps in all
    scores: dict[str, float]  # of this step: "loss", "right", "right/color", "sees/shape", ...

    @property
    def finished(self) -> bool:
        return self.done == self.steps


class Run:
    """Hold model, optimizer and position of one run: everything that a state file holds."""

    def __init__(
        self, recipe: Recipe, work: Path, device: torch.device, half: bool, compiled: bool
    ) -> None:
        self.recipe, self.device, self.half = recipe, device, half
        self.path, self.log = work / "state.pt", work / "log.jsonl"
        self.model: StockModel
        self.model, self.processor = build(recipe.size, recipe.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed + 1)
            self.head = DenseHead(recipe.size.width)
        self.model.to(device).train()
        self.head.to(device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed + 2)
            self.events = EventHead(recipe.size.width).to(device)
        attend_by_turns(self.model)
        self.encode: Encode = patch_features
        if compiled:
            # For the tower plain attention, compiled, is the fastest there is on a CPU. No choice
            # of attention is written into a checkpoint.
            self.model.model.vision_tower.set_attn_implementation("eager")
            self.encode = torch.compile(patch_features)
            # In float32 the compiled backward pass failed on batches of changing length (a size
            # assertion in torch 2.14.1), so there the layers run as they are.
            layers = list(self.model.model.language_model.layers) if half else []
            del layers[recipe.middle : recipe.middle + 1]  # it is listened to: not both together
            for layer in layers:
                layer.compile(dynamic=True)  # every batch has a length of its own
        self.stage, self.step = 0, 0
        self.spent, self.since = 0.0, time.monotonic()  # seconds of earlier runs, start of this

    @property
    def steps(self) -> int:
        return sum(stage.steps for stage in self.recipe.stages)

    @property
    def done(self) -> int:
        return sum(stage.steps for stage in self.recipe.stages[: self.stage]) + self.step

    @property
    def seconds(self) -> float:
        """Return the seconds this training has taken, earlier runs of it included."""
        return self.spent + time.monotonic() - self.since

    def progress(self, scores: dict[str, float]) -> Progress:
        return Progress(self.stage, self.step, self.done, self.steps, scores)

    def begin(self, start: Path | None, first_stage: int) -> None:
        """Begin a fresh run, from the weights of a checkpoint if there is one."""
        if start is not None:
            self.take(start)
        self.stage = first_stage
        self.begin_part()
        made_folder(self.log.parent)
        self.log.write_text("")

    def take(self, start: Path) -> None:
        """Load the weights of the checkpoint directory ``start``.

        Raises
        ------
        InputError
            There is no such folder, or it holds a model of other sizes or words.
        """
        if not start.is_dir():
            raise InputError(f"there is no checkpoint folder {str(start)!r}; check the path")
        theirs = load(start, device="cpu", dtype=torch.float32)
        mine, weights = self.model.state_dict(), theirs.model.state_dict()
        for name in dict.fromkeys([*mine, *weights]):
            here, there = (
                tuple(side[name].shape) if name in side else "missing" for side in (mine, weights)
            )
            if here != there:
                raise InputError(
                    f"the checkpoint {str(start)!r} is of another model: "
                    f"{name} is {there} there and {here} here"
                )
        if theirs.processor.tokenizer.get_vocab() != self.processor.tokenizer.get_vocab():
            raise InputError(f"the checkpoint {str(start)!r} is of a world with other words")
        self.model.load_state_dict(weights)

    def begin_part(self) -> None:
        """Choose what the current stage trains; a new part starts with a fresh optimizer."""
        self.part = self.recipe.stages[self.stage].part
        inner = self.model.model
        vision = self.part == "vision"
        inner.vision_tower.requires_grad_(vision)
        inner.language_model.requires_grad_(not vision)
        inner.image_newline.requires_grad_(not vision)
        self.head.requires_grad_(vision)
        self.events.requires_grad_(not vision)
        both = [p for part in (self.model, self.head, self.events) for p in part.parameters()]
        self.trained = [p for p in both if p.requires_grad]
        # Matrices of decoder and projector learn by Muon, in fewer steps; all else by AdamW.
        inside = [] if vision else [inner.language_model.layers, inner.multi_modal_projector]
        matrices = [p for module in inside for p in module.parameters() if p.ndim == 2]
        taken = set(map(id, matrices))
        others = [p for p in self.trained if id(p) not in taken]
        groups: list[dict[str, Any]] = [
            {"params": [p for p in others if p.ndim > 1]},
            {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                groups,
                lr=0.0,
                betas=(0.9, 0.98),
                weight_decay=self.recipe.decay,
                fused=True,
            )
        ]
        if matrices:
            self.optimizers.append(
                torch.optim.Muon(
                    [{"params": matrices, "times": MUON}],
                    lr=0.0,
                    weight_decay=self.recipe.decay,
                    adjust_lr_fn="match_rms_adamw",
                )
            )

    def one_stage(
        self,
        workers: int,
        save_every: float,
        deadline: float,
        meter: tqdm,
        on_step: Callable[[Progress], None] | None,
    ) -> None:
        """Train the rest of the current stage, or as much of it as fits before the deadline."""
        stage, recipe, tokenizer = (
            self.recipe.stages[self.stage],
            self.recipe,
            self.processor.tokenizer,
        )
        if stage.part != self.part:
            self.begin_part()
        saved, sums = time.monotonic(), dict[str, list[tuple[float, float]]]()
        batches = stage_batches(
            stage, self.stage, self.step, recipe.size, tokenizer, workers, self.device
        )
        for batch in batches:
            rate = learning_rate(stage, self.step, recipe.warmup)
            scores = self.one_step({k: v.to(self.device) for k, v in batch.items()}, rate)
            self.step += 1
            meter.update()
            for name, score in scores.items():
                sums.setdefault(name, []).append(score)
            if self.step % LOG_EVERY == 0 or self.step == stage.steps:
                self.report({name: _mean(scores) for name, scores in sums.items()}, rate, meter)
                sums.clear()
            now = time.monotonic()
            late = now > deadline
            if self.step < stage.steps and (late or now - saved > save_every):
                self.save()
                saved = now
            if on_step:
                on_step(self.progress({name: _mean([score]) for name, score in scores.items()}))
            if self.step < stage.steps and late:
                return
        self.stage, self.step = self.stage + 1, 0
        self.save()

    def one_step(self, batch: dict[str, Tensor], rate: float) -> Scores:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("times", 1.0)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            if self.part == "vision":
                loss, scores = vision_loss(self.model, self.head, batch, self.encode)
            else:
                loss, scores = language_loss(
                    self.model,
                    self.events,
                    batch,
                    self.processor.tokenizer,
                    self.recipe.stages[self.stage].events,
                    self.recipe.middle,
                    self.encode,
                )
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, self.recipe.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        return scores

    def report(self, means: dict[str, float], rate: float, meter: tqdm) -> None:
        """Write one line into the log and update the progress bar."""
        means = {name: round(mean, 4) for name, mean in means.items()}
        where = {"stage": self.stage, "part": self.part, "step": self.step, "done": self.done}
        line = {**where, "rate": rate, "seconds": round(self.seconds, 1), **means}
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        shown: dict[str, str] = {
            name: f"{means[name]:.3f}" for name in ("loss", "right") if name in means
        }
        group = "right/" if "right" in means else "sees/"
        kinds = {name.removeprefix(group): m for name, m in means.items() if name.startswith(group)}
        if kinds:
            weakest = min(kinds, key=kinds.__getitem__)
            shown["weakest"] = f"{weakest} {kinds[weakest]:.3f}"
        meter.set_postfix(stage=f"{self.stage} {self.part}", **shown)

    def save(self) -> None:
        """Write the state whole or not at all: a kill during the write leaves the former file."""
        state = {
            "layout": LAYOUT,
            "recipe": asdict(self.recipe),
            "stage": self.stage,
            "step": self.step,
            "part": self.part,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "head": self.head.state_dict(),
            "events": self.events.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        try:
            with written_whole(self.path) as fresh:
                torch.save(state, fresh)
        except (OSError, RuntimeError) as error:  # torch's writer has no type of its own
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise InputError(
                f"the state of the training cannot be written to {str(self.path)!r} ({reason}); "
                f"make room and resume: the former state is whole"
            ) from error

    def write(self, output: Path) -> None:
        """Write the checkpoint with the facts that a loader needs about it, and the curve."""
        self.model.eval()
        scores = layer_auc(self, clips=LAYER_CLIPS, frames=DESIGN_FRAMES)
        best = max(range(len(scores)), key=scores.__getitem__) - len(scores)
        facts = {"contribution_layer": best, "frames": DEFAULT_FRAMES}
        save(self.model, self.processor, output, facts, torch.float16)
        with suppress(ImportError):  # the picture is left out where there is no matplotlib
            plot(self.log, output / "learning_curve.png")
        self.model.train()

    def load(self) -> bool:
        """Go on from the state file; return False if there is none."""
        if not self.path.exists():
            return False
        try:
            state = torch.load(self.path, map_location=self.device, weights_only=True)
        except Exception as error:
            raise InputError(
                f"{self.path} is not a training state; remove it to start afresh"
            ) from error
        if not isinstance(state, dict) or state.get("layout") != LAYOUT:
            raise InputError(
                f"{self.path} was written by an older version of the training; "
                "remove it to start afresh, or choose another work directory"
            )
        mine, theirs = asdict(self.recipe), state["recipe"]
        for name, number in mine["size"].items():
            if theirs["size"].get(name) != number:
                raise InputError(
                    f"{self.path} belongs to a model of another size: "
                    f"{name} is {theirs['size'].get(name)} there and {number} here"
                )
        begun = state["stage"] + (state["step"] > 0)
        mine["stages"], theirs["stages"] = mine["stages"][:begun], theirs["stages"][:begun]
        if _plain(mine) != _plain(theirs):
            raise InputError(
                f"{self.path} belongs to another recipe; resume with the one it was started with, "
                "or choose another work directory"
            )
        self.model.load_state_dict(state["model"])
        self.head.load_state_dict(state["head"])
        self.events.load_state_dict(state["events"])
        self.stage, self.step, self.spent = state["stage"], state["step"], state["seconds"]
        if self.stage < len(self.recipe.stages):
            self.begin_part()
            # The optimizer of a part that has just ended is not carried into the next one.
            if self.part == state["part"]:
                for optimizer, held in zip(self.optimizers, state["optimizers"], strict=True):
                    optimizer.load_state_dict(held)
        return True


def _plain(values: dict[str, object]) -> str:
    """Return a comparable form: tuples and lists are the same."""
    return json.dumps(values, sort_keys=True, default=str)


def _mean(scores: list[tuple[float, float]]) -> float:
    return sum(total for total, _ in scores) / max(1.0, sum(number for _, number in scores))


def learning_rate(stage: TrainingStage, step: int, warmup: int) -> float:
    """Return the rate of a step: linear warm-up, then a cosine from first to second rate."""
    start, end = stage.rate
    along = step / max(1, stage.steps - 1)
    rate = end + (start - end) * (1 + math.cos(math.pi * along)) / 2
    return rate * min(1.0, (step + 1) / warmup)
