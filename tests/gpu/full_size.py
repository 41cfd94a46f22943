"""The paper's models in full size, with random weights, from video to answer on a GPU.

    python tests/gpu/full_size.py --write-readme docs/models.md

Of each model and attention kernel it takes one compressed and one uncompressed answer, checks the
trace, compares the next token's logits with an independent masked run, and notes peak memory and
times. Results are kept as they come; run again, it goes on where it was. Exit code 1: a check
failed. Nothing is downloaded.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "gpu")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from helpers.masked import shares  # noqa: E402
from published import MODELS, Shrink  # noqa: E402

from stc_core import STC, answer, compress  # noqa: E402
from stc_core.answering.prompt import build_prompt  # noqa: E402
from stc_core.answering.video import Video  # noqa: E402
from stc_core.errors import InputError  # noqa: E402
from stc_core.models.loading import VLM  # noqa: E402
from stc_core.models.placement import device_named  # noqa: E402
from stc_core.readme_sections import check_section, markdown, write_section  # noqa: E402

SECTION = "gpu"
QUESTION = "what color is the star?"
METHOD = STC(retention=0.02)
NEW_TOKENS = 8
# Cosine of the logits to those of the masked run, at least: what rounding leaves of equality.
ALIKE = {"bfloat16": 0.995, "float16": 0.999, "float32": 0.99999}
HEAD = (
    "model",
    "kernel",
    "frames",
    "video tokens",
    "peak memory, GiB",
    "vision, s",
    "prefill, s",
    "compression, s",
    "first token, s",
    "cosine to the masked run (uncompressed)",
)


def main(arguments: list[str] | None = None) -> int:
    parser = options(__doc__, "full_size", SECTION)
    parser.add_argument("--model", action="append", choices=MODELS, help="again for more")
    parser.add_argument("--frames", type=int, help="other than in the paper")
    chosen = parser.parse_args(arguments)
    device, shrink = device_named(chosen.device), Shrink(chosen.layers, chosen.width)
    try:
        if chosen.write_readme:
            check_section(chosen.write_readme, SECTION)
        if chosen.report_only:
            told_again(chosen, SECTION, report)
            return 0
        results = former(chosen.output, about(chosen) | {"frames": chosen.frames})
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name in chosen.model or MODELS:
        left = [k for k in kernels(device) if f"{name}, {k}" not in results["runs"]]
        if not left:
            continue
        print(f"{name}: filling it at random", file=sys.stderr, flush=True)
        published = MODELS[name]
        try:
            vlm = random_vlm(name, shrink, device, chosen.dtype)
            for kernel in left:
                print(f"{name}, {kernel}", file=sys.stderr, flush=True)
                run = measure(vlm, kernel, chosen.frames or published.frames)
                results["runs"][f"{name}, {kernel}"] = run
                keep(chosen.output, results)
        except (InputError, torch.OutOfMemoryError) as error:  # goes on with the next, tries again
            print(f"{name}: {str(error).splitlines()[0]}", file=sys.stderr, flush=True)
            results["failed"] = True
        vlm = None
        gc.collect()
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
    failed = results.pop("failed", False) or not all(
        run["fine"] for run in results["runs"].values()
    )
    text = report(results)
    print(text)
    if chosen.write_readme:
        write_section(chosen.write_readme, SECTION, text)
    return int(failed)


def options(about: str, name: str, section: str) -> argparse.ArgumentParser:
    """What every script here takes; its results are of that name."""
    output = ROOT / "assets/results/gpu" / f"{name}.json"
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--layers", type=int, help="fewer layers than published")
    parser.add_argument("--width", type=int, help="a smaller width, a multiple of 64")
    parser.add_argument("--device", help="default: cuda where there is one")
    parser.add_argument("--dtype", default="bfloat16", choices=ALIKE)
    parser.add_argument("--output", type=Path, default=output)
    parser.add_argument(
        "--report-only", action="store_true", help="run nothing: report what --output holds"
    )
    parser.add_argument("--write-readme", type=Path, help=f"between the marks of {section!r}")
    return parser


def told_again(chosen: argparse.Namespace, section: str, report: Callable[[dict], str]) -> None:
    """Report results that were made before, here or on another machine."""
    if not chosen.output.exists():
        raise InputError(f"there are no results {str(chosen.output)!r}; check --output")
    text = report(json.loads(chosen.output.read_text(encoding="utf-8")))
    print(text)
    if chosen.write_readme:
        write_section(chosen.write_readme, section, text)


def about(chosen: argparse.Namespace) -> dict:
    """What results belong together: the machine, the versions, the model."""
    device = device_named(chosen.device)
    return {
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "dtype": chosen.dtype,
        "method": repr(METHOD),
        "shrink": repr(Shrink(chosen.layers, chosen.width)),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }


def kernels(device: str) -> list[str]:
    """The attention kernels that run there."""
    flash = device.startswith("cuda") and transformers.utils.is_flash_attn_2_available()
    return ["sdpa", "flash_attention_2"] if flash else ["sdpa"]


def random_vlm(name: str, shrink: Shrink, device: str, dtype: str) -> VLM:
    """The model in full size, made where it will run."""
    kind, config, processor = MODELS[name].build(shrink)
    torch.manual_seed(0)
    with torch.device(device):
        model = kind._from_config(config, dtype=getattr(torch, dtype), attn_implementation="sdpa")
    return VLM(model.eval(), processor, name, device)


def clip(frames: int) -> Video:
    """360 x 640 noise, half of which stays from frame to frame; four frames a second."""
    dice = np.random.default_rng(0)
    pictures = dice.integers(0, 256, (frames, 360, 640, 3), dtype=np.uint8)
    pictures[:, :180] = pictures[0, :180]
    seconds = np.arange(frames) / 4
    return Video(pictures, seconds, "noise", frames / 4, frames, 4.0, (360, 640))


def measure(vlm: VLM, kernel: str, frames: int) -> dict:
    """One answer with and one without compression, and whether all is as it should be."""
    vlm.model.set_attn_implementation(kernel)
    video = clip(frames)
    options = {"max_new_tokens": NEW_TOKENS}
    answer(vlm, video, QUESTION, METHOD, **options)  # what is done once is not to be measured
    result = answer(vlm, video, QUESTION, METHOD, baseline=True, **options)
    trace, costs = result.trace, result.costs.to_json()
    trace.check()
    full, door, end = trace.alive()
    budget = METHOD.budget(trace.grid)
    alike, uncompressed = cosines_to_masked(vlm, kernel, video)
    limit = ALIKE[str(vlm.model.dtype).removeprefix("torch.")]
    return {
        "frames": frames,
        "grid": [trace.grid.frames, trace.grid.rows, trace.grid.cols],
        "tokens": [full, door, end],
        "compressed": costs,
        "uncompressed": trace.baseline["costs"],
        "cosine": alike,
        "cosine_uncompressed": uncompressed,
        "fine": door == budget and end == METHOD.inside_budget(door) and alike >= limit,
    }


@torch.no_grad()
def cosines_to_masked(vlm: VLM, kernel: str, video: Video) -> tuple[float, float]:
    """Likeness of the next token's logits to those of an independent run: compressed, and not.

    The second number says how much the first one proves.
    """
    model, prompt = vlm.model, build_prompt(vlm, video.frames, QUESTION, 1, seconds=video.seconds)
    stock = model(**prompt.inputs, logits_to_keep=1).logits[0, -1]
    with compress(model, METHOD) as trace:
        logits = model(**prompt.inputs, logits_to_keep=1).logits[0, -1]
    model.set_attn_implementation("sdpa")  # FlashAttention takes no masks of one's own
    reference = masked_logits(model, prompt, trace)
    model.set_attn_implementation(kernel)
    both = torch.stack([logits, stock]).double()
    return tuple(torch.cosine_similarity(both, reference.double(), dim=1).tolist())


def masked_logits(model, prompt, trace) -> torch.Tensor:
    """(V,) at full length and without a cache: what is dropped or merged is hidden, not removed.

    Decisions are read off the trace; the rest shares no code with the package.
    """
    outside, inside = trace.stage("outside"), trace.stage("inside")
    sooner, later = shares(trace)
    entered = _decoder_call(model, prompt.inputs)
    hidden, device = entered["inputs_embeds"], entered["inputs_embeds"].device
    length, places = hidden.shape[1], prompt.layout.tokens.to(device)
    positions = entered.get("position_ids")
    if positions is None:
        positions = torch.arange(length, device=device)[None]
    decoder = model.get_decoder()
    rotary = decoder.rotary_emb(hidden, positions[-3:] if positions.ndim == 3 else positions)

    def without(survivors: np.ndarray) -> torch.Tensor:
        going = prompt.layout.going(length, torch.from_numpy(survivors).to(prompt.layout.tokens))
        seen = torch.ones(length, length, dtype=torch.bool, device=device).tril()
        seen &= going.to(device)
        seen |= torch.eye(length, dtype=torch.bool, device=device)
        return seen[None, None]

    def merged(hidden: torch.Tensor, target: np.ndarray, share: np.ndarray) -> torch.Tensor:
        carried = torch.from_numpy(np.flatnonzero(target >= 0)).to(device)
        into = places[torch.from_numpy(target[target >= 0]).to(device)]
        weight = torch.from_numpy(share[target >= 0]).to(device)[:, None].float()
        means = torch.zeros(length, hidden.shape[2], device=device)
        means.index_add_(0, into, hidden[0, places[carried]].float() * weight)
        hidden = hidden.clone()
        hidden[0, into] = means[into].to(hidden.dtype)
        return hidden

    hidden, mask = merged(hidden, outside.target, sooner), without(outside.survivors)
    for index, layer in enumerate(decoder.layers):
        if inside is not None and index == inside.layer + 1:
            hidden, mask = merged(hidden, inside.target, later), without(inside.survivors)
        hidden = layer(hidden, attention_mask=mask, position_embeddings=rotary)
    return model.get_output_embeddings()(decoder.norm(hidden[0, -1]))


class _Entered(Exception):
    """The decoder was called: all that was wanted."""


def _decoder_call(model, inputs: dict) -> dict:
    """What the stock model passes to its decoder, features in their places and positions made."""
    found = {}

    def read(module, args, kwargs):
        found.update(kwargs)
        raise _Entered

    handle = model.get_decoder().register_forward_pre_hook(read, with_kwargs=True)
    try:
        model(**inputs)
    except _Entered:
        pass
    finally:
        handle.remove()
    return found


# --- results -------------------------------------------------------------------------------------


def report(results: dict) -> str:
    """The table, uncompressed -> compressed where there are two numbers."""
    lines = []
    for name, run in results["runs"].items():
        pair = run["uncompressed"], run["compressed"]
        seconds = [costs["seconds"] for costs in pair]
        lines.append(
            [
                *name.split(", "),
                str(run["frames"]),
                " -> ".join(map(str, run["tokens"])),
                arrow(*(gib(costs["peak_memory_bytes"]) for costs in pair)),
                f"{seconds[1]['vision']:.2f}",
                arrow(*(f"{stage['prefill']:.2f}" for stage in seconds)),
                f"{seconds[1]['compression']:.2f}",
                arrow(*(f"{costs['time_to_first_token']:.2f}" for costs in pair)),
                f"{run['cosine']:.5f} ({run['cosine_uncompressed']:.2f})"
                + ("" if run["fine"] else ", failed"),
            ]
        )
    said = f"{told(results['about'])}, {METHOD.retention:.0%} (`python tests/gpu/full_size.py`)."
    return f"{said}\n\n{markdown(HEAD, lines)}"


def told(about: dict) -> str:
    """Where and on what something was measured."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    said = f"{about['device']}, {about['dtype']}, {versions}; random weights"
    if about["shrink"] != repr(Shrink()):
        said += f", {about['shrink']}: not the full size"
    return said


def arrow(before: str, after: str) -> str:
    """Uncompressed -> compressed; one number where both are the same."""
    return before if before == after else f"{before} -> {after}"


def gib(size: int | None) -> str:
    """GiB of so many bytes; a dash where they were not counted."""
    return "-" if size is None else f"{size / 2**30:.1f}"


def former(path: Path, about: dict) -> dict:
    """What an earlier run left; ``InputError`` where it was of something else."""
    if not path.exists():
        return {"about": about, "runs": {}}
    former = json.loads(path.read_text(encoding="utf-8"))
    if former["about"] != about:
        raise InputError(f"{str(path)!r} holds another configuration; choose another --output")
    return former


def keep(path: Path, results: dict) -> None:
    """Write results; whoever stops the run meanwhile finds the old ones or the new ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


if __name__ == "__main__":
    sys.exit(main())
