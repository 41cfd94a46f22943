"""Train the embedded Video-LLM from nothing: ``train(output)``.

1. Vision: tower and projector learn to name what is visible and where at every video token of
   short clips. The head that reads this off is never part of the checkpoint.
2. Language: the decoder and the projector learn to answer, tower frozen, from one thing in one
   frame to the whole world in 32 frames. Each clip is seen once by the tower and asked several
   questions: all in one sequence, none sees another, each at the position it would have alone.
3. In its later stages the decoder also tells, halfway through its layers and for every token, what
   has happened so far (``batches.event_labels``): what came, what went, how many, what hides what.
   The heads that say so are never part of the checkpoint.
4. In its last stages most batches show a random part of each clip's tokens, at their positions
   (``random_parts``), so that a gap is nothing new to the decoder.

No compression method chooses the part and nothing is ever merged: the methods are to meet a model
that does not know them.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from tqdm import tqdm

from stc_core.errors import InputError
from stc_core.models.loading import device_named
from stc_core.shapes.model.familiar_pictures import write_familiarity
from stc_core.shapes.model.recipe import Recipe, recipe_for
from stc_core.shapes.model.training_run import Progress, Run
from stc_core.writing import made_folder

COMPILER_FOLDER = "TORCHINDUCTOR_CACHE_DIR"  # where torch.compile leaves its libraries


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
    familiarity: bool = False,
    on_step: Callable[[Progress], None] | None = None,
) -> Progress:
    """Train the embedded model and write it to ``output`` as an ordinary checkpoint directory.

    After every stage, when time is up and at the end, ``output`` holds the checkpoint (float16) and
    ``learning_curve.png``.

    Parameters
    ----------
    output : Path
        Directory of the checkpoint.
    work : Path, optional
        Directory of the state file and the log; default: ``output`` with "-training" added.
    resume : bool
        Go on from the state file in ``work`` if there is one. Its recipe must be the same up to the
        stage it stopped in; later stages may have been added or changed since.
    recipe : Recipe, optional
        Sizes, stages and seed; default: ``recipe_for(device)``.
    scale : float
        Factor on the steps of every stage, for a quick try.
    device : str or torch.device, optional
        "cpu", "cuda", ...; default: a GPU where there is one.
    workers : int, optional
        Processes that render batches; 0 renders in this one. Default: 1, and 0 on a GPU, which
        renders too.
    start : Path, optional
        Checkpoint directory of the same size whose weights to begin with.
    first_stage : int
        Number of the stage to begin with, counted from 0. A run that is resumed has begun already:
        ``start`` and ``first_stage`` change nothing there.
    stop_after : float
        Minutes after which to save the state and the checkpoint and return.
    half : bool, optional
        Compute in bfloat16 where that is safe; weights and optimizer stay in float32. Default:
        where the device computes in bfloat16 (``fast_bfloat16``); other devices emulate it, which
        is far slower.
    compiled : bool, optional
        Compile the vision tower and, in bfloat16, the decoder's layers. Default: on a CPU with a
        C++ compiler at hand.
    save_every : float
        Seconds between two writes of the state file.
    bar : bool
        Show a progress bar on standard error.
    familiarity : bool
        At the end also fit what tells clips of the world from others, and write it into the config;
        it takes a minute or two.
    on_step : callable, optional
        Called with a ``Progress`` after every step.

    Returns
    -------
    Progress
        Where the run stands now.

    Raises
    ------
    InputError
        A state or a checkpoint that does not fit, a stage or device that does not exist, a folder
        that cannot be written, or a full disk.
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
    run = Run(recipe, work, device, half, compiled)
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
        if familiarity and run.done == run.steps:
            write_familiarity(output)
    return run.progress({})


@contextmanager
def compiler_folder() -> Iterator[None]:
    """Let torch compile into a folder of this run alone.

    A run that is killed while it compiles leaves half a library in the shared folder, and the next
    run would fail when it loads that.
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
