"""Measure what one question about an hour of video takes, in a process of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from stc_core.answering.video import MAX_FRAMES
from stc_core.errors import InputError
from stc_core.readme_sections import markdown
from stc_core.shapes.world.drawing import render
from stc_core.shapes.world.scenes import HELD_OUT_SEEDS, WORLD, frame_times, make_scene

SIDE = 112  # pixels
SCENE = 60  # frames of one scene


@dataclass(frozen=True)
class HourReport:
    """Hold the costs of one question about a long file.

    Attributes
    ----------
    frames, questions : int
        Frames of the file, processes that answered one question each.
    seconds : list of float
        Wall time of each process, from its start to its end: the model is loaded in it.
    processor_seconds : float
        Time of the CPU in a process, all cores added up; mean over the processes.
    peak_bytes : int
        Most resident memory of a process, of all that this one has ended.
    answers : list of dict
        What ``stc answer --json`` printed.
    """

    frames: int
    questions: int
    seconds: list[float]
    processor_seconds: float
    peak_bytes: int
    answers: list[dict[str, Any]]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        spent = self.answers[0]["costs"]["seconds"]
        stages = ", ".join(f"{stage} {second:.0f} s" for stage, second in spent.items())
        tokens = " -> ".join(f"{count:,}" for count in self.answers[0]["tokens"])
        return markdown(
            ["", f"{self.frames:,} frames"],
            [
                ["video tokens", tokens],
                ["time of a process, longest", f"{max(self.seconds):.0f} s"],
                ["of it", stages],
                ["time of a core", f"{self.processor_seconds:.0f} s"],
                ["peak memory", f"{self.peak_bytes / 2**30:.2f} GiB"],
            ],
        )


def measure_hour(
    frames: int, questions: int = 1, *, options: tuple[str, ...] = (), quiet: bool = False
) -> HourReport:
    """Write a file of ``frames`` frames, one a second, and ask about it on the command line.

    Parameters
    ----------
    frames
        Of the file; all of them are read.
    questions
        Processes that answer one question each.
    options
        Further options of ``stc answer``.
    quiet
        Whether to hide the progress that the processes show.

    Raises
    ------
    InputError
        No question, frames that are none or more than are read, a process that failed.
    """
    if questions < 1:
        raise InputError(f"at least one question is needed, not {questions}")
    if not 1 <= frames <= MAX_FRAMES:
        raise InputError(f"frames must be a whole number from 1 to {MAX_FRAMES}, not {frames}")
    seconds, answers, before = [], [], resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "long.mp4"
        write_scenes(file, frames)
        asked = [sys.executable, "-m", "stc_core", "answer", str(file), "what flashed?"]
        for _ in range(questions):
            began = time.perf_counter()
            done = subprocess.run(
                [*asked, "--frames", str(frames), "--json", *options],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if quiet else None,
                text=True,
            )
            seconds.append(time.perf_counter() - began)
            if done.returncode:
                *_, why = ["what it printed says why", *(done.stderr or "").splitlines()]
                raise InputError(f"the process that was to answer has failed: {why}")
            answers.append(json.loads(done.stdout))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    unit = 1 if sys.platform == "darwin" else 1024
    return HourReport(
        frames, questions, seconds, worked / questions, used.ru_maxrss * unit, answers
    )


def write_scenes(file: Path, frames: int) -> None:
    """Write an mp4 of ``frames`` frames, one a second: a scene of the world a minute."""
    import av

    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=1)
        stream.width = stream.height = SIDE
        stream.pix_fmt, stream.time_base = "yuv420p", Fraction(1, 1)
        for number, first in enumerate(range(0, frames, SCENE)):
            scene = make_scene(HELD_OUT_SEEDS[number], WORLD)
            drawn = render([scene], frame_times(SCENE), SIDE, SIDE, noise=WORLD.noise)[0]
            for picture in drawn[: frames - first].numpy():
                shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
                container.mux(stream.encode(shown))
        container.mux(stream.encode())
