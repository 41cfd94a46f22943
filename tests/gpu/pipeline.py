"""What compression saves of a whole run, in LLaVA-OneVision-7B's size with random weights.

    python tests/gpu/pipeline.py --write-readme docs/speed.md

For every length of the video and every retention: the stages' times, the time to the first token,
decoding, peak memory, and the arithmetic up to the first token as predicted and as torch counts it,
each beside the uncompressed run that was made a moment before. Says which targets are met. Results
are kept as they come; run again, it goes on where it was. Nothing is downloaded.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "gpu")]

import torch  # noqa: E402
from counter import counter as flop_counter  # noqa: E402
from full_size import (  # noqa: E402
    NEW_TOKENS,
    QUESTION,
    about,
    arrow,
    clip,
    former,
    gib,
    keep,
    options,
    random_vlm,
    told,
    told_again,
)
from published import Shrink  # noqa: E402

from stc_core import STC, answer, compress  # noqa: E402
from stc_core.answering.prompt import build_prompt  # noqa: E402
from stc_core.answering.video import Video  # noqa: E402
from stc_core.errors import InputError  # noqa: E402
from stc_core.models.loading import VLM  # noqa: E402
from stc_core.models.placement import device_named  # noqa: E402
from stc_core.readme_sections import check_section, markdown, write_section  # noqa: E402

SECTION = "pipeline"
MODEL = "LLaVA-OneVision-7B"
FRAMES, RETENTIONS, TIMES = (32, 64, 128), (0.1, 0.05, 0.02, 0.01), 3
# The paper's setting and what is wanted there; 22 is the paper's own number (31.3 of 701.2 ms).
AT = (32, 0.02)
TARGETS = (
    ("prefill", "at least 22 times as fast", lambda ratio: ratio >= 22),
    ("first token", "at most 1.2 of the vision tower's time", lambda ratio: ratio <= 1.2),
    ("decoding", "not slower", lambda ratio: ratio <= 1),
    ("peak memory", "less", lambda ratio: ratio < 1),
    ("FLOPs", "predicted within 2 % of those counted", lambda ratio: ratio <= 0.02),
)
SIDES = ("uncompressed", "compressed")
HEAD = [
    "frames", "retention, %", "video tokens", "vision, ms", "compression, ms", "prefill, ms",
    "times as fast", "first token, of the tower's time", "decoding, ms a token",
    "peak memory, GiB", "TFLOP to the first token, predicted", "counted by torch",
]  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = options(__doc__, "pipeline", SECTION)
    parser.add_argument("--frames", type=int, action="append", help="again for more")
    parser.add_argument("--retention", type=float, action="append", help="again for more")
    chosen = parser.parse_args(arguments)
    device, shrink = device_named(chosen.device), Shrink(chosen.layers, chosen.width)
    try:
        methods = [STC(retention=value) for value in chosen.retention or RETENTIONS]
        if chosen.write_readme:
            check_section(chosen.write_readme, SECTION)
        if chosen.report_only:
            told_again(chosen, SECTION, report)
            return 0
        results = former(chosen.output, about(chosen))
        left = [
            (frames, method)
            for frames in chosen.frames or FRAMES
            for method in methods
            if named(frames, method) not in results["runs"]
        ]
        vlm = random_vlm(MODEL, shrink, device, chosen.dtype) if left else None
        for frames, method in left:
            print(named(frames, method), file=sys.stderr, flush=True)
            results["runs"][named(frames, method)] = measure(vlm, clip(frames), method)
            keep(chosen.output, results)
    except (InputError, torch.OutOfMemoryError) as error:
        print(f"error: {str(error).splitlines()[0]}", file=sys.stderr)
        return 2
    text = report(results)
    print(text)
    if chosen.write_readme:
        write_section(chosen.write_readme, SECTION, text)
    return 0


def named(frames: int, method: STC) -> str:
    return f"{frames} frames, {100 * method.retention:g} %"


def measure(vlm: VLM, video: Video, method: STC) -> dict:
    """Answers with and without compression in turn, after one of each that does not count."""
    runs = []
    for _ in range(1 + TIMES):
        result = answer(vlm, video, QUESTION, method, baseline=True, max_new_tokens=NEW_TOKENS)
        costs = result.costs.to_json()
        runs.append({"compressed": costs, "uncompressed": result.trace.baseline["costs"]})
    return {
        "frames": len(video.frames),
        "retention": method.retention,
        "tokens": list(result.trace.alive()),
        "runs": runs[1:],
        "counted": {
            "compressed": counted(vlm, video, method),
            "uncompressed": counted(vlm, video, None),
        },
    }


@torch.no_grad()
def counted(vlm: VLM, video: Video, method: STC | None) -> int | None:
    """FLOPs up to the first token, by torch's own counter; None where it refuses."""
    prompt = build_prompt(vlm, video.frames, QUESTION, 1, seconds=video.seconds)
    pruned = nullcontext() if method is None else compress(vlm.model, method)
    try:
        with flop_counter() as counter, pruned:
            vlm.model(**prompt.inputs, logits_to_keep=1)
    except AssertionError:  # older torch cannot count grouped queries in the kernels of a GPU
        return None
    return counter.get_total_flops()


def predicted(costs: dict) -> float:
    """FLOPs up to the first token, from the record of a run."""
    parts = costs["real_flops"]
    later = parts["lm_head"] * (1 - 1 / costs["generated_tokens"])
    return parts["total"] - parts["decode"] - later


def found(run: dict) -> dict[str, float | None]:
    """Medians over the pairs of answers; each ratio is of two answers made one after the other."""
    pairs = [(pair["uncompressed"], pair["compressed"]) for pair in run["runs"]]

    def median(value) -> float:
        return statistics.median(value(*pair) for pair in pairs)

    peaks = [costs["peak_memory_bytes"] for costs in pairs[0]]
    return {
        "prefill": median(lambda full, less: prefill(full) / prefill(less)),
        "first token": median(lambda full, less: first(less)),
        "decoding": median(lambda full, less: per_token(less) / per_token(full)),
        "peak memory": None if None in peaks else peaks[1] / peaks[0],
        "FLOPs": flops_apart(run),
    }


def flops_apart(run: dict) -> float | None:
    """The larger share by which prediction and count differ; None where nothing was counted."""
    counts = run.get("counted") or {}
    if not counts or None in counts.values():
        return None
    pair = run["runs"][0]
    return max(abs(predicted(pair[side]) / counts[side] - 1) for side in SIDES)


def middle(value: Callable[[dict], float], runs: list[dict]) -> float:
    return statistics.median(value(costs) for costs in runs)


def prefill(costs: dict) -> float:
    return costs["seconds"]["prefill"]


def first(costs: dict) -> float:
    return costs["time_to_first_token"] / costs["seconds"]["vision"]


def per_token(costs: dict) -> float:
    return statistics.mean(costs["seconds_per_token"])


def report(results: dict) -> str:
    """Table and targets; uncompressed -> compressed where a cell has two numbers."""
    lines = []
    runs = sorted(results["runs"].values(), key=lambda run: (run["frames"], -run["retention"]))
    for run in runs:
        both = [[pair[side] for pair in run["runs"]] for side in SIDES]
        less = both[1]

        lines.append(
            [
                str(run["frames"]),
                f"{100 * run['retention']:g}",
                " -> ".join(map(str, run["tokens"])),
                f"{1e3 * middle(lambda costs: costs['seconds']['vision'], less):.1f}",
                f"{1e3 * middle(lambda costs: costs['seconds']['compression'], less):.1f}",
                arrow(*(f"{1e3 * middle(prefill, side):.1f}" for side in both)),
                f"{found(run)['prefill']:.1f}",
                arrow(*(f"{middle(first, side):.2f}" for side in both)),
                arrow(*(f"{1e3 * middle(per_token, side):.1f}" for side in both)),
                arrow(*(gib(side[0]["peak_memory_bytes"]) for side in both)),
                arrow(*(tera(predicted(side[0])) for side in both)),
                arrow(*(tera(run["counted"][side]) for side in SIDES)),
            ]
        )
    said = f"{told(results['about'])}, {TIMES} pairs of answers (`python tests/gpu/pipeline.py`)."
    return "\n\n".join([said, markdown(HEAD, lines), *targets(results)])


def tera(flops: float | None) -> str:
    return "-" if flops is None else f"{flops / 1e12:.3g}"


def verdict(value: float | None, met: Callable[[float], bool]) -> str:
    if value is None:
        return "not measured"
    return f"{'met' if met(value) else 'not met'} ({value:.3g})"


def targets(results: dict) -> list[str]:
    """What is wanted at the paper's setting, and whether it is met."""
    run = results["runs"].get(named(AT[0], STC(retention=AT[1])))
    if run is None:
        return []
    seen = found(run)
    verdicts = [f"{name} {wanted}: {verdict(seen[name], met)}" for name, wanted, met in TARGETS]
    return [f"At {AT[0]} frames and {100 * AT[1]:g} %: {'; '.join(verdicts)}."]


if __name__ == "__main__":
    sys.exit(main())
