"""Everything that only a GPU can tell, part by part, in order of worth.

    tests/gpu/all.sh results/gpu --minutes 9
    tests/gpu/all.sh results/gpu --write-docs

Each part has a time limit and leaves its results in the folder. Run again on the same folder, parts
that passed are skipped and the others go on where they can. summary.json says which machine and
versions it was, each part's command, and how it ended. Exit code 1: not all parts passed. Nothing
is downloaded.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PASSED, FAILED, CUT, LEFT = "passed", "failed", "cut off", "not begun"
FAMILIES = "llava_onevision or qwen2_5_vl or internvl"
VERSIONS = ("torch", "transformers", "numpy", "opencv-python-headless", "flash-attn", "av")
LEAST = 5.0  # seconds that must be left for a part to be begun
GRACE = 10.0  # seconds between the request to end and the end
TRAINING, SAVING = 8, 2  # minutes to train, and to save afterwards


@dataclass(frozen=True)
class Part:
    """One command with a limit.

    Parameters
    ----------
    name : of the part and of its log.
    seconds : the limit.
    command : ``{out}`` in it stands for the folder, ``{minutes}`` for the minutes that it may
        compute, so that it has ended at the limit.
    printed : file in the folder for what the command prints; it is there only once the command has
        passed. Default: into the log.
    """

    name: str
    seconds: float
    command: tuple[str, ...]
    printed: str | None = None


def parts(small: bool, device: str) -> list[Part]:
    """All parts, the most valuable first; ``small``: the same on a CPU in a few minutes."""
    python = sys.executable
    pytest = (python, "-m", "pytest", "-rs", "-p", "no:cacheprovider")
    where = ("--device", device)
    conformance = ("tests/test_conformance.py", *where, "--dtype", "bfloat16", "-k", FAMILIES)
    full = (python, "tests/gpu/full_size.py", "--output", "{out}/full_size.json", *where)
    pipeline = (python, "tests/gpu/pipeline.py", "--output", "{out}/pipeline.json", *where)
    speed = (python, "-m", "stc_core", "speed", "--json", *where)
    train = (python, "-m", "stc_core", "train", "--output", "{out}/model", "--resume", *where)
    first, *others = ("LLaVA-OneVision-7B", "LLaVA-Video-7B", "Qwen2.5-VL-7B")
    more = tuple(word for name in others for word in ("--model", name))
    ratios, lengths = ("--retention", "0.02", "--retention", "1"), ("32", "64")
    at = {"speed-6272": ("32", "128"), "speed-25088": ("512", "1024")}
    sizes, scale = {"speed-6272": "32", "speed-25088": "128"}, ()
    if small:
        tiny = ("--layers", "3", "--width", "64")
        full, pipeline = (*full, *tiny, "--frames", "2"), (*pipeline, *tiny)
        lengths = ("2", "4")
        speed = (*speed, "--quick")
        at = {"speed-6272": ("8", "16"), "speed-25088": ("32", "64")}
        scale = ("--scale", "0.0002", "--no-compile")
    frames = tuple(word for count in lengths for word in ("--frames", count))
    timed = [
        Part(
            name,
            200,
            (*speed, "--size", sizes[name], "--frames", at[name][0], "--frames", at[name][1]),
            f"{name}.json",
        )
        for name in at
    ]
    return [
        Part("tests", 150, (*pytest, "tests/test_gpu.py")),
        Part("conformance", 200, (*pytest, *conformance)),
        Part("full-size", 180, (*full, "--model", first)),
        *timed,
        Part("pipeline", 300, (*pipeline, *frames, *ratios)),
        Part("full-size-others", 300, (*full, *more)),
        Part(
            "train",
            60 * (TRAINING + SAVING),
            (*train, *scale, "--stop-after", "{minutes}"),
        ),
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="default: results/gpu-DATE")
    parser.add_argument("--minutes", type=float, help="for all parts together; default: no limit")
    parser.add_argument("--only", action="append", metavar="PART", help="again for more")
    parser.add_argument("--small", action="store_true", help="everything shrunk, on the CPU")
    parser.add_argument("--device", help="default: cuda, and cpu with --small")
    parser.add_argument(
        "--pack", type=Path, help="after each part, put the folder into this .tar.gz as well"
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="run nothing: put the results into docs"
    )
    chosen = parser.parse_args(arguments)
    folder = (chosen.folder or Path("results") / f"gpu-{date.today()}").resolve()
    if chosen.write_docs:
        return write_docs(folder)
    listed = parts(chosen.small, chosen.device or ("cpu" if chosen.small else "cuda"))
    unknown = set(chosen.only or ()) - {part.name for part in listed}
    if unknown:
        names = ", ".join(part.name for part in listed)
        print(f"error: there is no part {min(unknown)!r}; there are {names}", file=sys.stderr)
        return 2
    wanted = [part for part in listed if not chosen.only or part.name in chosen.only]
    seconds = float("inf") if chosen.minutes is None else 60 * chosen.minutes
    try:
        return run_all(wanted, folder, seconds, chosen.pack)
    except KeyboardInterrupt:
        print("interrupted; run again to go on", file=sys.stderr)
        return 130


def run_all(
    wanted: Sequence[Part], folder: Path, seconds: float, packed: Path | None = None
) -> int:
    """Run what has not passed yet, within so many seconds; 0 where all have passed then."""
    signal.signal(signal.SIGTERM, _interrupted)
    deadline = time.monotonic() + seconds
    folder.mkdir(parents=True, exist_ok=True)
    summary = former(folder)
    summary["machine"] = machine()
    for part in wanted:
        record = summary["parts"].get(part.name, {})
        if record.get("state") == PASSED and record["command"] == list(part.command):
            say(f"{part.name}: passed before")
            continue
        left = min(part.seconds, deadline - time.monotonic())
        if left < LEAST:
            summary["parts"].setdefault(part.name, not_begun(part))
            continue
        say(f"{part.name}: at most {left:.0f} s")
        summary["parts"][part.name] = not_begun(part) | {"state": CUT}
        keep(folder, summary)  # whoever kills this process finds the part as cut off
        try:
            summary["parts"][part.name] = run_part(part, folder, left)
        finally:
            keep(folder, summary)
            if packed is not None:
                pack(folder, packed)
    keep(folder, summary)
    if packed is not None:
        pack(folder, packed)
    records = {part.name: summary["parts"][part.name] for part in wanted}
    print(table(records))
    return int(any(record["state"] != PASSED for record in records.values()))


def run_part(part: Part, folder: Path, seconds: float) -> dict:
    """Run one part, end it and all that it started at its limit, and say how it went."""
    minutes = max(0.1, seconds / 60 - SAVING) if seconds > 60 * SAVING else seconds / 120
    fill = {"out": str(folder), "minutes": f"{min(TRAINING, minutes):.2f}"}
    command = [word.format(**fill) for word in part.command]
    log = folder / f"{part.name}.log"
    partial = folder / f"{part.name}.part"
    begun = time.monotonic()
    with open(log, "ab") as told, open(partial, "wb") as printed:
        told.write(f"$ {' '.join(command)}\n".encode())
        told.flush()
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=printed if part.printed else told,
            stderr=told,
            start_new_session=True,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"},
        )
        code = None
        try:
            with suppress(subprocess.TimeoutExpired):
                code = process.wait(timeout=seconds)
        finally:
            end(process)
    if part.printed and code == 0:
        partial.replace(folder / part.printed)
    partial.unlink(missing_ok=True)
    return {
        "state": CUT if code is None else PASSED if code == 0 else FAILED,
        "command": list(part.command),
        "exit_code": code,
        "seconds": round(time.monotonic() - begun, 1),
        "limit": round(seconds, 1),
        "last_line": last_line(log),
    }


def end(process: subprocess.Popen) -> None:
    """End a process and the group that it leads: first asked, then forced."""
    for name, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, name)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience)


def not_begun(part: Part) -> dict:
    return {"state": LEFT, "command": list(part.command), "seconds": 0.0, "last_line": ""}


def last_line(log: Path) -> str:
    """What a log ends with; of a progress bar, its last state."""
    lines = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").split("\n")
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


# --- the folder ----------------------------------------------------------------------------------


def machine() -> dict:
    """Where and on what: read without loading a library."""
    asked = "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"
    return {
        "gpus": output_of("nvidia-smi", *asked).splitlines(),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "commit": output_of("git", "rev-parse", "HEAD"),
        "versions": {name: version(name) for name in VERSIONS},
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "arguments": sys.argv[1:],
    }


def output_of(*command: str) -> str:
    """What a command prints; empty where there is no such command or it fails."""
    try:
        made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return made.stdout.strip() if made.returncode == 0 else ""


def version(package: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def former(folder: Path) -> dict:
    path = folder / "summary.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"parts": {}}


def keep(folder: Path, summary: dict) -> None:
    whole(
        folder / "summary.json",
        lambda path: path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8"),
    )


def pack(folder: Path, target: Path) -> None:
    """All of the folder but what only a training run that goes on needs."""

    def chosen(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if entry.name.endswith(("model-training", ".part")) else entry

    def write(path: Path) -> None:
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder, folder.name, filter=chosen)

    target.parent.mkdir(parents=True, exist_ok=True)
    whole(target, write)


def whole(target: Path, write: Callable[[Path], object]) -> None:
    """Write a file whole or not at all."""
    partial = target.with_name(target.name + ".part")
    write(partial)
    partial.replace(target)


def table(records: dict[str, dict]) -> str:
    """Each part, how it ended, and the last line of its log."""
    rows = [("part", "state", "seconds", "last line of its log")]
    for name, record in records.items():
        rows.append((name, record["state"], f"{record['seconds']:.0f}", record["last_line"]))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join([*map(str.ljust, row, widths), row[3]]) for row in rows]
    counts = {state: 0 for state in (PASSED, FAILED, CUT, LEFT)}
    for record in records.values():
        counts[record["state"]] += 1
    lines.append(", ".join(f"{count} {state}" for state, count in counts.items()))
    return "\n".join(line.rstrip() for line in lines)


def say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _interrupted(number, frame) -> None:
    raise KeyboardInterrupt


# --- documentation -------------------------------------------------------------------------------


def write_docs(folder: Path) -> int:
    """Put what a folder holds between the marks in docs; 0 where all of it could be written."""
    python = sys.executable
    speed, models = "docs/speed.md", "docs/models.md"
    done = []
    if list(folder.glob("speed-*.json")):
        from_folder = ("--results", str(folder), "--write-readme", speed)
        done.append(subprocess.run([python, "-m", "stc_core", "speed", *from_folder], cwd=ROOT))
    for name, page in (("pipeline", speed), ("full_size", models)):
        results = folder / f"{name}.json"
        if results.exists():
            options = ("--report-only", "--output", str(results), "--write-readme", page)
            done.append(subprocess.run([python, f"tests/gpu/{name}.py", *options], cwd=ROOT))
    if not done:
        print(f"error: {str(folder)!r} holds no results", file=sys.stderr)
        return 2
    return max(made.returncode for made in done)


if __name__ == "__main__":
    sys.exit(main())
