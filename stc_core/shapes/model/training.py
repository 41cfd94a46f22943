"""Train the embedded Video-LLM from nothing: `train(output)`. The whole recipe is in this file.

1. Vision: tower and projector learn to name what is to be seen and where at every video token of
   short clips. The head that says so is never part of the checkpoint.
2. Language: the decoder and the projector learn to answer, tower frozen, from one thing in one
   frame to the whole world in 32 frames. Each clip is seen once by the tower and asked several
   questions: all in one sequence, none sees another, each at the position it would have alone.
3. In its last stage the decoder also tells, halfway through its layers and for every token, what
   has happened so far (`batches.event_labels`): what came, what went, how many, what hides what.
   The heads that say so are never part of the checkpoint.

No token is ever dropped or merged: the compressors are to meet a model that never saw them.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm
from transformers import (
    AttentionInterface,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerBase,
)

from stc_core.errors import InputError
from stc_core.models.loading import device_named, load
from stc_core.shapes.model.batches import (
    FRAME_EVENTS,
    IGNORED,
    LOOKS,
    TOKEN_EVENTS,
    Stage,
    stage_batches,
)
from stc_core.shapes.model.contribution_layer import layer_auc
from stc_core.shapes.model.learning_curve import plot
from stc_core.shapes.model.sizes import MEAN, START, STD, Size, build, save
from stc_core.shapes.world.questions import KINDS
from stc_core.shapes.world.scenes import WORLD
from stc_core.writing import made_folder

LAYOUT = 3  # of the state file; an older one cannot be gone on with
LOG_EVERY = 20  # steps
DESIGN_FRAMES = 16  # the number of frames most of the recipe aims at
DEFAULT_FRAMES = 32  # what a loader samples: the paper's number, trained on in the last stage
LAYER_CLIPS = 20  # development clips on which the contribution layer is chosen
CHUNK = 256  # frames at most that the frozen tower sees at once, to bound memory
COMPILER_FOLDER = "TORCHINDUCTOR_CACHE_DIR"  # where torch.compile leaves its libraries
MUON = 3.0  # the rate of Muon in learning rates of AdamW, whose step sizes it is scaled to
LABELS = {name: len(values) for name, values in LOOKS.items()}

Scores = dict[str, tuple[float, float]]  # name -> (sum, number of what was summed)
Encode = Callable[[nn.Module, Tensor], Tensor]


@dataclass(frozen=True)
class Recipe:
    """All that decides the trained weights."""

    size: Size
    stages: tuple[Stage, ...]
    seed: int = 0
    decay: float = 0.01  # AdamW weight decay
    clip: float = 1.0  # gradient norm
    warmup: int = 50  # steps, at the start of every stage
    middle: int = 4  # decoder layer after which events are read

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("a recipe needs at least one stage")
        if not 0 <= self.middle < self.size.layers:
            raise ValueError(f"there is no decoder layer {self.middle} to read events from")

    def scaled(self, scale: float) -> Recipe:
        """The same recipe with `scale` times the steps of every stage."""
        if not 0 < scale < math.inf:
            raise InputError(f"the scale of the steps must be above 0, not {scale}")
        stages = (replace(s, steps=max(1, round(s.steps * scale))) for s in self.stages)
        return replace(self, stages=tuple(stages))


# Worlds of the curriculum, each a little further from "one thing in one picture".
SEEN = replace(WORLD, always=0.85, flashing=0.0)
PLAIN = replace(WORLD, always=0.9, flashing=0.0, crossing=0.0, panning=0.0, entering=0.0)
EVENTS = replace(WORLD, crossing=0.5, flashing=0.5)  # more of what is rare

RECIPE = Recipe(
    size=Size(),
    stages=(
        Stage("vision", 1500, 96, (2,), (1.5e-3, 2e-5), SEEN),
        Stage("vision", 450, 96, (2,), (7e-4, 1e-5), SEEN),
        Stage("language", 160, 96, (1,), (1e-3, 1e-3), replace(PLAIN, objects=(1, 1))),
        Stage("language", 260, 64, (2, 4), (1e-3, 1e-3), replace(WORLD, objects=(1, 2))),
        Stage("language", 320, 32, (4, 8), (1e-3, 1e-3), replace(EVENTS, objects=(1, 4))),
        Stage("language", 420, 24, (8, 16), (1e-3, 6e-4), EVENTS, hard_first=True),
        Stage(
            "language",
            430,
            20,
            (8, 16, 8, 32, 8, 16),
            (9e-4, 1e-5),
            EVENTS,
            events=1.0,
            hard_first=True,
        ),  # fmt: skip
        Stage(
            "language",
            1150,
            20,
            (8, 16, 8, 32, 8, 16),
            (1e-3, 4e-4),
            EVENTS,
            events=1.0,
            hard_first=True,
        ),  # fmt: skip
        Stage(
            "language",
            200,
            20,
            (8, 16, 32, 8, 16),
            (4e-4, 1e-5),
            EVENTS,
            events=1.0,
            hard_first=True,
        ),  # fmt: skip
    ),
)
# A GPU wants larger batches and has the memory for them.
GPU_RECIPE = replace(RECIPE, stages=tuple(replace(s, clips=4 * s.clips) for s in RECIPE.stages))


def recipe_for(device: str | torch.device) -> Recipe:
    """The recipe that suits a device."""
    return GPU_RECIPE if torch.device(device).type == "cuda" else RECIPE


@dataclass(frozen=True)
class Progress:
    """Where a run stands after a step, for whoever watches it."""

    stage: int
    step: int  # steps done in this stage
    done: int  # steps done in all
    steps: int  # steps in all
    scores: dict[str, float]  # of this step: "loss", "right", "right/color", "sees/shape", ...

    @property
    def finished(self) -> bool:
        return self.done == self.steps


def train(
    output: Path,
    *,
    work: Path | None = None,
    resume: bool = False,
    recipe: Recipe | None = None,
    scale: float = 1.0,
    device: str | torch.device | None = None,
    workers: int | None = None,
    start: Path | None = None,
    first_stage: int = 0,
    stop_after: float = math.inf,
    half: bool | None = None,
    compiled: bool | None = None,
    save_every: float = 60.0,
    bar: bool = True,
    on_step: Callable[[Progress], None] | None = None,
) -> Progress:
    """Train the embedded model and write it to `output` as an ordinary checkpoint directory.

    After every stage, when time is up and at the end, `output` holds the checkpoint (float16) and
    `learning_curve.png`.

    Args:
        output: directory of the checkpoint.
        work: directory of the state file and the log; `output` with "-training" added by default.
        resume: go on from the state file in `work` if there is one. Its recipe must be the same up
            to the stage it stopped in; later stages may have been added or changed since.
        recipe: sizes, stages and seed; by default `recipe_for(device)`.
        scale: factor on the steps of every stage, for a quick try.
        device: "cpu", "cuda", ...; by default a GPU where there is one.
        workers: processes that render batches; 0 renders in this one. By default 1, on a GPU 0:
            it renders too.
        start: checkpoint directory of the same size whose weights to begin with.
        first_stage: number of the stage to begin with, counted from 0. A run that is resumed has
            begun already: `start` and `first_stage` change nothing there.
        stop_after: minutes after which to save the state and the checkpoint and return.
        half: compute in bfloat16 where that is safe; weights and optimiser stay in float32. By
            default where the device computes in bfloat16 (`fast_bfloat16`); elsewhere it is
            emulated, at a crawl.
        compiled: compile the vision tower and, in bfloat16, the decoder's layers; by default on a
            CPU with a C++ compiler at hand.
        save_every: seconds between two writes of the state file.
        bar: show a progress bar on standard error.
        on_step: called after every step.

    Returns:
        Where the run stands now.

    Raises:
        InputError: a state or a checkpoint that does not fit, a stage or device that is not there,
            a folder that cannot be written, a full disk.
    """
    if not stop_after > 0:
        raise InputError(f"the run must last more than 0 minutes, not {stop_after}")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(device_named(str(device)))
    recipe = recipe or recipe_for(device)
    recipe = recipe.scaled(scale) if scale != 1.0 else recipe
    if not 0 <= first_stage < len(recipe.stages):
        raise InputError(
            f"there is no stage {first_stage}: the recipe's are 0 to {len(recipe.stages) - 1}"
        )
    if half is None:
        half = fast_bfloat16(device)
    if compiled is None:
        compiled = device.type == "cpu" and bool(shutil.which(os.environ.get("CXX", "g++")))
    if workers is None:
        workers = 0 if device.type == "cuda" else 1
    work = work or output.with_name(output.name + "-training")
    run = _Run(recipe, work, device, half, compiled)
    if not (resume and run.load()):
        run.begin(start, first_stage)
    made_folder(output)  # before hours of training
    deadline = time.monotonic() + 60 * stop_after
    meter = tqdm(total=run.steps, initial=run.done, disable=not bar, unit="step")
    with meter, compiler_folder() if compiled else nullcontext():
        if run.done == run.steps:  # it was killed between its last step and its checkpoint
            run.write(output)
        while run.stage < len(recipe.stages) and time.monotonic() < deadline:
            run.one_stage(workers, save_every, deadline, meter, on_step)
            run.write(output)
    return run.progress({})


class _Run:
    """Model, optimiser and position of one run; everything a state file holds."""

    def __init__(
        self, recipe: Recipe, work: Path, device: torch.device, half: bool, compiled: bool
    ) -> None:
        self.recipe, self.device, self.half = recipe, device, half
        self.path, self.log = work / "state.pt", work / "log.jsonl"
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
        """Seconds this training has taken, earlier runs of it included."""
        return self.spent + time.monotonic() - self.since

    def progress(self, scores: dict[str, float]) -> Progress:
        return Progress(self.stage, self.step, self.done, self.steps, scores)

    def begin(self, start: Path | None, first_stage: int) -> None:
        """A fresh run, from the weights of a checkpoint if there is one."""
        if start is not None:
            self.take(start)
        self.stage = first_stage
        self.begin_part()
        made_folder(self.log.parent)
        self.log.write_text("")

    def take(self, start: Path) -> None:
        """The weights of the checkpoint directory `start`."""
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
        """Choose what the current stage trains; a new part starts with a fresh optimiser."""
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
        self.optimizers = [
            torch.optim.AdamW(
                [
                    {"params": [p for p in others if p.ndim > 1]},
                    {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
                ],
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
        """The rest of the current stage, or as much of it as fits before the deadline."""
        stage, recipe, tokenizer = (
            self.recipe.stages[self.stage], self.recipe, self.processor.tokenizer,
        )  # fmt: skip
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
                    self.model, self.events, batch, self.processor.tokenizer,
                    self.recipe.stages[self.stage].events, self.recipe.middle, self.encode,
                )  # fmt: skip
        loss.backward()
        nn.utils.clip_grad_norm_(self.trained, self.recipe.clip)
        for optimizer in self.optimizers:
            optimizer.step()
        return scores

    def report(self, means: dict[str, float], rate: float, meter: tqdm) -> None:
        """One line in the log, and the progress bar."""
        means = {name: round(mean, 4) for name, mean in means.items()}
        where = {"stage": self.stage, "part": self.part, "step": self.step, "done": self.done}
        line = {**where, "rate": rate, "seconds": round(self.seconds, 1), **means}
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        shown = {name: f"{means[name]:.3f}" for name in ("loss", "right") if name in means}
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
        fresh = self.path.with_suffix(".new")
        try:
            torch.save(state, fresh)
            os.replace(fresh, self.path)
        except (OSError, RuntimeError) as error:  # torch's writer has no type of its own
            fresh.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise InputError(
                f"the state of the training cannot be written to {str(self.path)!r} ({reason}); "
                f"make room and resume: the former state is whole"
            ) from error

    def write(self, output: Path) -> None:
        """The checkpoint as it stands, with the facts a loader needs about it, and the curve."""
        self.model.eval()
        scores = layer_auc(self, clips=LAYER_CLIPS, frames=DESIGN_FRAMES)
        best = max(range(len(scores)), key=scores.__getitem__) - len(scores)
        facts = {"contribution_layer": best, "frames": DEFAULT_FRAMES}
        save(self.model, self.processor, output, facts, torch.float16)
        plot(self.log, output / "learning_curve.png")
        self.model.train()

    def load(self) -> bool:
        """Go on from the state file; False if there is none."""
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
            # The optimiser of a part that has just ended is not carried into the next one.
            if self.part == state["part"]:
                for mine, theirs in zip(self.optimizers, state["optimizers"], strict=True):
                    mine.load_state_dict(theirs)
        return True


@contextmanager
def compiler_folder() -> Iterator[None]:
    """Let torch compile into a folder of this run alone.

    A run that is killed while it compiles leaves half a library in the shared folder, and the next
    one ends on loading it.
    """
    former = os.environ.get(COMPILER_FOLDER)
    with tempfile.TemporaryDirectory(prefix="compiled-") as folder:
        os.environ[COMPILER_FOLDER] = folder
        try:
            yield
        finally:
            os.environ.pop(COMPILER_FOLDER)
            if former is not None:
                os.environ[COMPILER_FOLDER] = former


def fast_bfloat16(device: torch.device) -> bool:
    """Tell whether a device computes in bfloat16 itself.

    GPUs do since Ampere, and x86 CPUs with AMX or AVX512-BF16. On any other CPU matrix products in
    bfloat16 are emulated, several times slower than in float32.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    asked = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)


def _plain(values: dict[str, object]) -> str:
    """A comparable form: tuples and lists are the same."""
    return json.dumps(values, sort_keys=True, default=str)


def _mean(scores: list[tuple[float, float]]) -> float:
    return sum(total for total, _ in scores) / max(1.0, sum(number for _, number in scores))


def learning_rate(stage: Stage, step: int, warmup: int) -> float:
    """Cosine from the stage's first rate to its second, after a linear warm-up."""
    start, end = stage.rate
    along = step / max(1, stage.steps - 1)
    rate = end + (start - end) * (1 + math.cos(math.pi * along)) / 2
    return rate * min(1.0, (step + 1) / warmup)


def patch_features(tower: nn.Module, frames: Tensor) -> Tensor:
    """Frames (N, H, W, 3) uint8 -> (N, patches, vision width), what the projector reads."""
    mean, std = (torch.tensor(x, device=frames.device).view(3, 1, 1) for x in (MEAN, STD))
    pixels = (frames.permute(0, 3, 1, 2).float() / 255 - mean) / std
    return tower.encoder(inputs_embeds=tower.embeddings(pixels)).last_hidden_state


def project(model: LlavaOnevisionForConditionalGeneration, features: Tensor) -> Tensor:
    """Patch features (N, patches, vision width) -> video tokens (N, n, width)."""
    return model.model.apply_pooling(model.model.multi_modal_projector(features))


class DenseHead(nn.Module):
    """Reads off each video token what is to be seen there; exists only in training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.parts = {"present": 1, **LABELS, "centre": 2}
        self.linear = nn.Linear(width, sum(self.parts.values()))

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """tokens (..., width) -> for each part (..., its size) in float32."""
        read = self.linear(tokens).float().split(list(self.parts.values()), dim=-1)
        return dict(zip(self.parts, read, strict=True))


def dense_loss(head: DenseHead, tokens: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Scores]:
    """Loss of the dense labels (B, T, n, ...) of `batches.token_labels` at tokens (B, T, n, d).

    Scores: share of tokens where "sees/present", "sees/shape", ... is right, and "off", the mean
    distance of the centre along one axis in frames.
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
    off = said["centre"][clear] - batch["centre"][clear]
    losses.append(10 * off.square().sum() / max(1, off.numel()))
    scores["off"] = (off.detach().abs().sum().item(), off.numel())
    return torch.stack(losses).sum(), scores


class EventHead(nn.Module):
    """Reads off the decoder's middle what has happened; exists only in training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.tokens = nn.Linear(width, sum(TOKEN_EVENTS.values()))
        self.frames = nn.Linear(width, sum(FRAME_EVENTS.values()))

    def forward(self, hidden: Tensor) -> dict[str, Tensor]:
        """hidden (B, T, n, width) -> logits of tokens (B, T, n, k) and of frames (B, T, k).

        What is said of a frame is read off its last token, which has seen all that came before.
        """
        hidden = self.norm(hidden)
        said = {}
        for linear, parts, where in (
            (self.tokens, TOKEN_EVENTS, hidden),
            (self.frames, FRAME_EVENTS, hidden[:, :, -1]),
        ):
            said |= zip(parts, linear(where).float().split(list(parts.values()), -1), strict=True)
        return said


def event_loss(head: EventHead, hidden: Tensor, batch: dict[str, Tensor]) -> tuple[Tensor, Scores]:
    """Mean loss of the labels of `batches.event_labels`; scores "knows/fresh", ..."""
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
    """Loss of the dense labels, read off the model's own video tokens."""
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
    """Cross entropy of the answers to all questions of each clip, each as if asked alone.

    With a `weight` the loss of what has happened, read after decoder layer `middle`, is added.
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
    handle = layer.register_forward_hook(lambda module, args, out: caught.append(out))
    hidden = model.model.language_model(
        inputs_embeds=inputs, position_ids=positions, attention_mask=mask, use_cache=False
    ).last_hidden_state[:, prefix:]
    handle.remove()
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
        happened, more = event_loss(events, video, batch)
        loss, scores = loss + weight * happened, scores | more
    return loss, scores


def whole_answers(wrong: Tensor, told: Tensor, turn: Tensor, kind: Tensor) -> Scores:
    """Share of the questions whose answer is right to the last word: "right", "right/color", ...

    Args:
        wrong: (m,) bool, one for each True of `told`: whether that word is wrong.
        told: (B, P) bool, where the next token belongs to an answer.
        turn, kind: (B, P) int64, the question a token belongs to, counted from 1, and its index
            in `KINDS`; -1 where there is none.
    """
    row = torch.arange(len(turn), device=turn.device)[:, None]
    question = (row * (turn.max() + 1) + turn)[told]
    missed = torch.zeros(turn.numel() + len(turn), device=turn.device)
    missed.index_add_(0, question, wrong.float())
    which, inverse = question.unique(return_inverse=True)
    of = torch.full_like(which, -1).scatter_reduce(0, inverse, kind[told], "amax")
    right, of = (missed[which] == 0).tolist(), of.tolist()
    scores = {"right": (float(sum(right)), float(len(right)))}
    for index in sorted(set(of)):
        answers = [r for r, k in zip(right, of, strict=True) if k == index]
        scores[f"right/{KINDS[index]}"] = (float(sum(answers)), float(len(answers)))
    return scores


def alone(
    turn: Tensor, place: Tensor, prefix: int, places: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Positions (B, L) and, for the turns, a mask (B, 1, P, L): True where a token sees another.

    L is `prefix` tokens that all turns share, then the P tokens of `turn` and `place` (B, P). A
    turn sees the prefix and itself, as it would if it were the only one. `places` (B, prefix) are
    the positions of the shared tokens where these have gaps; by default 0, 1, 2, ...
    """
    b, p = turn.shape
    if places is None:
        places = torch.arange(prefix, device=turn.device).expand(b, -1)
    positions = torch.cat([places, places[:, -1:] + 1 + place], dim=1)
    causal = torch.ones(p, p, dtype=torch.bool, device=turn.device).tril()
    own = (turn[:, None, :] == turn[:, :, None]) & causal
    return positions, torch.cat([own.new_ones(b, p, prefix), own], dim=2)[:, None]


def attend_by_turns(model: LlavaOnevisionForConditionalGeneration) -> None:
    """Let the decoder read masks of `alone`. It is the same attention, at half the price."""
    AttentionInterface.register("turns", _turns_attention)
    model.model.language_model.set_attn_implementation("turns")


def _turns_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float,
    **_: object,
) -> tuple[Tensor, None]:
    """Causal attention in the prefix, masked attention in the turns: query (B, heads, L, d)."""
    key, value = (x.repeat_interleave(module.num_key_value_groups, dim=1) for x in (key, value))
    prefix = query.shape[2] - attention_mask.shape[2]
    first = F.scaled_dot_product_attention(
        query[:, :, :prefix], key[:, :, :prefix], value[:, :, :prefix],
        is_causal=True, scale=scaling,
    )  # fmt: skip
    rest = query[:, :, prefix:]
    if query.is_cuda:
        then = F.scaled_dot_product_attention(rest, key, value, attention_mask, scale=scaling)
    else:  # the kernel of CPUs is slow with masks
        weights = rest @ key.transpose(2, 3) * scaling + attention_mask
        then = weights.softmax(dim=-1, dtype=torch.float32).to(value.dtype) @ value
    return torch.cat([first, then], dim=2).transpose(1, 2), None


def _share(right: Tensor) -> tuple[float, float]:
    return right.sum().item(), right.numel()
