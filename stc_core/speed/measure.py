"""What compression costs on this machine: stages, rivals, length, memory, agreement.

The floor is the product x x^T of all video tokens in float32, which the distances of a clustering
need: every time is also given as a multiple of it, measured in the same run. Tokens are made up,
like those of a video with a still background and cuts, and the same on every machine.
"""

from __future__ import annotations

import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stc_core.errors import InputError
from stc_core.methods import METHODS, STC, Decision
from stc_core.methods.base import check_outside
from stc_core.methods.parts.clustering import Points, density_peaks, nearest_center
from stc_core.methods.parts.progress import listening_to_progress
from stc_core.methods.parts.selection import retention_pool
from stc_core.record.grid import TokenGrid
from stc_core.record.stopwatch import Stopwatch

SIDE, WIDTH = 14, 3584  # tokens of a frame's side and their width in LLaVA-OneVision-7B
FRAMES = 32
LENGTHS = {"cpu": (8, 32, 128), "cuda": (8, 32, 128, 512, 1024)}  # frames: 1,568 to 200,704 tokens
WINDOW = 8  # frames
RIVALS = ("stc", "fastvid", "holitom", "visionzip", "vidcom2", "evs")
SCENE = 16  # frames between two cuts
ENOUGH = 200  # seconds after which no further length is begun
ROWS = 2048  # of the floor's product at a time


@dataclass
class Report:
    """Seconds, bytes and shares; ``str`` makes tables of them.

    Attributes
    ----------
    about : what ran where
    floor : seconds of the float32 product of all tokens, at ``about["tokens"]``
    stages : seconds of the parts of STC, "outside" being the whole stage before the LLM
    rivals : method -> seconds of its outside stage, means included
    lengths : for each number of tokens the seconds of floor and outside stage, extra bytes
    exponents : growth of seconds and of extra bytes from the second longest to the longest
    window : what ``STC(window=...)`` saves and how far its result is from the exact one
    agreement : dtype -> share of tokens with another fate than in float64 on the CPU
    """

    about: dict[str, Any]
    floor: float = math.nan
    stages: dict[str, float] = field(default_factory=dict)
    rivals: dict[str, float] = field(default_factory=dict)
    lengths: list[dict[str, float]] = field(default_factory=list)
    exponents: dict[str, float] = field(default_factory=dict)
    window: dict[str, float] = field(default_factory=dict)
    agreement: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=1)

    def __str__(self) -> str:
        def times(title: str, seconds: dict[str, float]) -> list[list[str]]:
            return [
                [title, "ms", "of the product"],
                *(
                    [name, f"{1e3 * value:.1f}", f"{value / self.floor:.3f}"]
                    for name, value in seconds.items()
                ),
            ]

        floor = {f"the product of {self.about['tokens']:,} tokens": self.floor}
        lengths = [["tokens", "product s", "outside s", "ratio", "extra MiB"]]
        for row in self.lengths:
            outside, product = row["outside"], row["floor"]
            cells = f"{product:.3f}", f"{outside:.3f}", f"{outside / product:.2f}"
            lengths.append([f"{row['tokens']:,}", *cells, f"{row['extra_bytes'] / 2**20:.0f}"])
        parts = [
            _table([[name, str(value)] for name, value in self.about.items()]),
            _table(times("stage of STC", floor | self.stages)),
            _table(times("method, before the LLM", self.rivals)),
            _table(lengths),
            "\n".join(f"{name} grow with exponent {e:.2f}" for name, e in self.exponents.items()),
            _table([[name, f"{value:.4g}"] for name, value in self.window.items()]),
            _table(
                [
                    ["dtype here", "other fates than in float64 on the CPU"],
                    *([name, f"{share:.4%}"] for name, share in self.agreement.items()),
                ]
            ),
        ]
        return "\n\n".join(part for part in parts if part)


def measure(
    device: str | None = None,
    *,
    quick: bool = False,
    frames: Sequence[int] | None = None,
    progress: Callable[[str, float], None] = lambda stage, share: None,
) -> Report:
    """Measure what compression costs on ``device``, by default the GPU if there is one.

    Parameters
    ----------
    quick
        Small tokens, in seconds: for ratios and growth, not for times.
    frames
        Lengths to try, of 196 tokens a frame. Default: up to 25,088 tokens on a CPU and 200,704 on
        a GPU, as far as they are likely to end within five minutes.
    progress
        Called with (stage, share 0..1).
    """
    device = _device(device)
    kind = "cpu" if device.type == "cpu" else "cuda"
    side, width = (7, 256) if quick else (SIDE, WIDTH)
    dtype = torch.float32 if kind == "cpu" else torch.bfloat16
    chosen = tuple(frames or ((64, 256) if quick else LENGTHS[kind]))
    if min(chosen) < 1:
        raise InputError(f"a length of {min(chosen)} frames cannot be measured; ask for 1 or more")
    first = time.monotonic()
    grid = TokenGrid(FRAMES, side, side)
    report = _standard(Report(_about(device, dtype, grid, width)), device, dtype, grid, progress)
    progress("agreement", 0.5)
    report.agreement = agreement(device, TokenGrid(8, side, side), width)
    for done, count in enumerate(sorted(chosen)):
        if frames is None and _too_long(report.lengths, count * side**2, time.monotonic() - first):
            break
        progress(f"{count * side**2:,} tokens", 0.6 + 0.4 * done / len(chosen))
        report.lengths.append(length(device, dtype, TokenGrid(count, side, side), width))
    report.exponents = _exponents(report.lengths)
    progress("done", 1.0)
    return report


def _standard(
    report: Report,
    device: torch.device,
    dtype: torch.dtype,
    grid: TokenGrid,
    progress: Callable[[str, float], None],
) -> Report:
    """Fill in what is measured at one length."""
    tokens, contribution = made_up(grid, report.about["width"], dtype, device)
    progress("stages", 0.0)
    report.floor = _seconds(lambda: product(tokens), device)
    report.stages = stages(tokens, contribution, grid)
    progress("methods", 0.2)
    report.rivals = rivals(tokens, contribution, grid)
    progress("windows", 0.4)
    report.window = windowed(tokens, contribution, grid)
    return report


def profile(device: str | None = None, frames: int = FRAMES) -> str:
    """Where the time of ``STC().outside`` and its means goes: the table of ``torch.profiler``."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    where = _device(device)
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if where.type == "cuda" else [])]
    grid = TokenGrid(frames, SIDE, SIDE)
    dtype = torch.float32 if where.type == "cpu" else torch.bfloat16
    tokens, contribution = made_up(grid, WIDTH, dtype, where)
    STC().outside(tokens, contribution, grid).apply(tokens)
    with profiler(activities=kinds, profile_memory=True) as seen:
        STC().outside(tokens, contribution, grid).apply(tokens)
    by = "self_cuda_time_total" if where.type == "cuda" else "self_cpu_time_total"
    table = seen.key_averages().table(sort_by=by, row_limit=15, max_name_column_width=32)
    return f"{grid.size:,} tokens of width {WIDTH}, {_about(where, dtype, grid, WIDTH)}\n\n{table}"


def made_up(
    grid: TokenGrid, width: int, dtype: torch.dtype, device: torch.device, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Tokens (N, width) and contributions (N,) as of a video, the same on every device.

    Places keep their token from frame to frame but for noise, a third of them show something new in
    each frame, and every sixteenth frame is a cut. All tokens share a part, as features do.
    """
    chance = torch.Generator().manual_seed(seed)
    n = grid.per_frame
    tokens = torch.empty(grid.size, width, dtype=dtype, device=device)
    common = 0.5 * torch.randn(width, generator=chance)
    for frame in range(grid.frames):
        if frame % SCENE == 0:
            scene = torch.randn(n, width, generator=chance)
        noise = torch.randn(n, width, generator=chance)
        moves = torch.rand(n, 1, generator=chance) < 1 / 3
        shown = torch.where(moves, noise, scene + 0.25 * noise) + common
        tokens[frame * n : (frame + 1) * n] = shown.to(device, dtype)
    return tokens, torch.rand(grid.size, generator=chance).to(device)


def product(tokens: Tensor, dtype: torch.dtype = torch.float32) -> None:
    """The floor: x x^T of all tokens (N, d), some rows at a time, and nothing else."""
    x = tokens.to(dtype)
    for rows in x.split(ROWS):
        rows @ x.T


def stages(tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> dict[str, float]:
    """Seconds of the parts of ``STC()`` on tokens (N, d), and of its two stages."""
    method, device = STC(), tokens.device
    budget = method.budget(grid)
    capacity = budget - round(method.cluster_ratio * budget)
    pool = retention_pool(tokens, contribution, capacity, method.tau).pool
    rest = torch.ones(grid.size, dtype=torch.bool, device=device)
    rest[pool] = False
    recycled, points = rest.nonzero().flatten(), None

    def placed() -> Points:
        return Points(tokens, recycled)

    points = placed()
    count = budget - len(pool)
    centers = density_peaks(points, count)
    decision = method.outside(tokens, contribution, grid)
    visual = decision.apply(tokens)
    text, attention = visual[:16], torch.rand(16, len(visual), device=device)
    inside = method.inside(visual, text, attention)
    work = {
        "the product in float64": lambda: product(tokens, torch.float64),
        "checks": lambda: check_outside(tokens, contribution, grid),
        "selection": lambda: retention_pool(tokens, contribution, capacity, method.tau),
        "points": placed,
        "density peaks": lambda: density_peaks(points, count),
        "nearest centers": lambda: nearest_center(points, centers),
        "means": lambda: decision.apply(tokens),
        "outside": lambda: method.outside(tokens, contribution, grid).apply(tokens),
        "inside": lambda: method.inside(visual, text, attention),
        "means inside": lambda: inside.apply(visual),
    }
    return {name: _seconds(do, device) for name, do in work.items()}


def rivals(tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> dict[str, float]:
    """Seconds of the stage before the LLM: methods of this package, and ``obvious``."""
    spent = {}
    for name in RIVALS:
        method = METHODS[name]()
        spent[name] = _seconds(
            lambda method=method: method.outside(tokens, contribution, grid).apply(tokens),
            tokens.device,
        )
    budget = STC().budget(grid)
    spent["STC, obvious"] = _seconds(
        lambda: obvious(tokens, contribution, budget), tokens.device, times=1
    )
    return spent


def obvious(
    tokens: Tensor,
    contribution: Tensor,
    budget: int,
    tau: float = 0.7,
    cluster_ratio: float = 0.3,
    k: int = 7,
) -> Tensor:
    """(B, d): STC's outside stage as one would first write it, for comparison.

    A round trip to the host for each candidate, several N x N matrices, and a loop over clusters.
    """
    x = tokens.float()
    unit = F.normalize(x, dim=-1)
    similarity = unit @ unit.T
    capacity = budget - round(cluster_ratio * budget)
    pool: list[int] = []
    for candidate in contribution.argsort(descending=True).tolist():
        if len(pool) == capacity:
            break
        if not pool or similarity[candidate, pool].max().item() < tau:
            pool.append(candidate)
    recycled = torch.ones(len(x), dtype=torch.bool, device=x.device)
    recycled[pool] = False
    rest = x[recycled]
    distance = torch.cdist(rest, rest) / rest.shape[1] ** 0.5
    density = (-distance.topk(k, largest=False).values.square().mean(dim=1)).exp()
    denser = density[None] > density[:, None]
    separation = torch.where(denser, distance, distance.max()).amin(dim=1)
    centers = (density * separation).topk(budget - len(pool)).indices
    owner = distance[:, centers].argmin(dim=1)
    means = [rest[owner == cluster].mean(dim=0) for cluster in range(len(centers))]
    return torch.cat([x[pool], torch.stack(means)]).to(tokens.dtype)


def windowed(tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> dict[str, float]:
    """What centers from windows of ``WINDOW`` frames save, and what they change."""
    made: list[Decision] = []
    seconds = []
    for window in (None, WINDOW):
        method = STC(window=window)
        seconds.append(
            _seconds(
                lambda method=method: made.append(method.outside(tokens, contribution, grid)),
                tokens.device,
                times=1,
            )
        )
    exact, other = made[-2:]
    return {
        f"window of {WINDOW} frames, seconds": seconds[1],
        "whole video, seconds": seconds[0],
        "share of tokens with another fate": _unlike(exact, other),
        "share of centers that are the same": _shared(exact.survivors, other.survivors),
        "squared distance to what carries a token, times the exact one": (
            spread(other, tokens) / spread(exact, tokens)
        ),
    }


def spread(decision: Decision, tokens: Tensor) -> float:
    """Mean squared distance of the carried tokens to the means that carry them."""
    place = torch.searchsorted(decision.survivors, decision.target.clamp(min=0))
    carriers, total = decision.apply(tokens).float(), 0.0
    for rows in torch.arange(len(tokens), device=tokens.device).split(ROWS):
        error = (tokens[rows].float() - carriers[place[rows]]).square().sum(dim=1)
        total += float(error[decision.target[rows] >= 0].sum())
    return total / int((decision.target >= 0).sum())


def agreement(device: torch.device, grid: TokenGrid, width: int) -> dict[str, float]:
    """dtype -> share of tokens whose fate differs from that of float64 on the CPU, same numbers."""
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        tokens, contribution = made_up(grid, width, dtype, device, seed=1)
        here = STC().outside(tokens, contribution, grid)
        there = STC().outside(tokens.cpu().double(), contribution.cpu(), grid)
        found[str(dtype).removeprefix("torch.")] = _unlike(here, there)
    return found


def length(
    device: torch.device, dtype: torch.dtype, grid: TokenGrid, width: int
) -> dict[str, float]:
    """Seconds and extra bytes of one outside stage, means included, in a process of its own.

    Its own, because the most that a process ever held is counted from its start.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(
            _length, str(device), dtype, grid, width, torch.get_num_threads()
        ).result()


def _length(
    device: str, dtype: torch.dtype, grid: TokenGrid, width: int, threads: int
) -> dict[str, float]:
    torch.set_num_threads(threads)
    where = torch.device(device)
    small = TokenGrid(2, 7, 7)  # libraries load their kernels at the first call
    few = made_up(small, width, dtype, where)
    STC().outside(*few, small).apply(few[0])
    tokens, contribution = made_up(grid, width, dtype, where)
    before = _held_bytes(where)

    def outside() -> None:
        STC().outside(tokens, contribution, grid).apply(tokens)

    with listening_to_progress(_line(grid.size)):
        spent = _seconds(outside, where, times=1)
    extra = max(0, _most_bytes(where) - before)
    floor = _seconds(lambda: product(tokens), where, times=1)
    return {"tokens": grid.size, "floor": floor, "outside": spent, "extra_bytes": extra}


def _line(tokens: int) -> Callable[[float], None]:
    """Progress of the clustering on stderr, where it takes long enough to be worth it."""

    def show(share: float) -> None:
        if tokens > 25_088:
            print(f"clustering {tokens:,} tokens: {share:.0%}", file=sys.stderr)

    return show


def _held_bytes(device: torch.device) -> int:
    """What the process holds now; on a GPU the counter of the most it held starts again."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    return _status("VmRSS")


def _most_bytes(device: torch.device) -> int:
    """The most that the process held on a GPU, or in memory since its start."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return _status("VmHWM")


def _status(name: str) -> int:
    """Bytes that Linux counts for this process.

    Not ``getrusage``: its peak is that of the parent, where that was higher.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        raise InputError("the peak of memory on a CPU is read from /proc, which only Linux has")
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return 1024 * int(lines[name].split()[0])


def _seconds(work: Callable[[], Any], device: torch.device, times: int = 3) -> float:
    """Median seconds of so many runs, after one that does not count if there are several."""
    if times > 1:
        work()
    spent = []
    for _ in range(times):
        watch = Stopwatch(device)
        with watch("work"):
            work()
        spent.append(watch.seconds["work"])
    return statistics.median(spent)


def _unlike(one: Decision, other: Decision) -> float:
    return float((one.fate.cpu() != other.fate.cpu()).double().mean())


def _shared(one: Tensor, other: Tensor) -> float:
    return float(torch.isin(one, other).double().mean())


def _too_long(lengths: list[dict[str, float]], tokens: int, spent: float) -> bool:
    """Would this length, by the square of the last one's, take the run beyond ``ENOUGH``?"""
    if not lengths:
        return False
    last = lengths[-1]
    return spent + (last["floor"] + last["outside"]) * (tokens / last["tokens"]) ** 2 > ENOUGH


def _exponents(lengths: list[dict[str, float]]) -> dict[str, float]:
    if len(lengths) < 2:
        return {}
    short, long = lengths[-2:]
    ratio = math.log(long["tokens"] / short["tokens"])
    names = {"seconds": "outside", "extra bytes": "extra_bytes"}
    return {
        name: math.log(max(1, long[key]) / max(1, short[key])) / ratio
        for name, key in names.items()
    }


def _device(name: str | None) -> torch.device:
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.split(":")[0] not in ("cpu", "cuda"):
        raise InputError(f"speed is measured on cpu or cuda, not on {name!r}")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("there is no CUDA GPU here; leave --device out to measure the CPU")
    return torch.device(name)


def _about(device: torch.device, dtype: torch.dtype, grid: TokenGrid, width: int) -> dict[str, Any]:
    gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if gpu else _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "dtype": str(dtype).removeprefix("torch."),
        "frames": grid.frames,
        "tokens": grid.size,
        "width": width,
        "method": repr(STC()),
    }


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _table(rows: list[list[str]]) -> str:
    """Columns of equal width: the first to the left, numbers to the right."""
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(size) if place == 0 or len(row) == 2 else cell.rjust(size)
            for place, (cell, size) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
