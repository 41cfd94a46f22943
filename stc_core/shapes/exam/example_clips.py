"""Write example clips as videos that browsers play, with their questions in one ``clips.json``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np

from stc_core.answering.answer import answer
from stc_core.answering.video import read_video
from stc_core.errors import InputError
from stc_core.methods import STC, Method, Uniform
from stc_core.shapes.exam.grids import fixed_cells
from stc_core.shapes.exam.replying import reply
from stc_core.shapes.model.opened import open_model
from stc_core.shapes.world.clip import FRAMES_PER_SECOND, Clip, make_clip
from stc_core.shapes.world.scenes import DEVELOPMENT_SEEDS, WORLD, World
from stc_core.writing import made_folder, write_whole


@dataclass(frozen=True)
class ExampleClip:
    """Describe one clip to write: its seed and the size of its picture in pixels."""

    name: str
    seed: int
    height: int = 320
    width: int = 320


def _example(name: str, number: int, height: int = 320, width: int = 320) -> ExampleClip:
    return ExampleClip(name, DEVELOPMENT_SEEDS[number], height, width)


def numbered(first: int, count: int, side: int = 320) -> list[ExampleClip]:
    """Return ``count`` square examples, from development clip ``first`` on.

    Raises
    ------
    InputError
        There are not so many development clips.
    """
    if not 0 <= first < first + count <= len(DEVELOPMENT_SEEDS):
        raise InputError(
            f"there are development clips 0 to {len(DEVELOPMENT_SEEDS) - 1}, "
            f"not {count} from {first} on"
        )
    return [_example(f"clip-{i}", i, side, side) for i in range(first, first + count)]


# Chosen for variety of background, number of things and movement; not by what the model answers.
EXAMPLES = (
    _example("behind-a-triangle", 23),
    _example("five-on-dots", 17),
    _example("circling-and-blinking", 54),
    _example("growing-on-dots", 50),
    _example("five-on-clouds", 48),
    _example("two-on-waves", 22),
    _example("wide", 63, 288, 512),
    _example("tall", 78, 400, 300),
)


@dataclass(frozen=True)
class SavedCase:
    """Describe a trace to save: the clip, the question and the method."""

    name: str
    clip: str
    question: str
    method: Method


# Chosen by what they show: what 2 % keep and lose, and where. The page opens on the first, in which
# the answer turns because its evidence is lost.
_BLINKING, _FLASHES = "circling-and-blinking.mp4", "what flashes?"
CASES = (
    SavedCase(
        "1 evidence lost before the LLM, STC 2 percent",
        "behind-a-triangle.mp4",
        "which shape does the small object have?",
        STC(retention=0.02),
    ),
    SavedCase("2 flash, STC 2 percent, right", _BLINKING, _FLASHES, STC(retention=0.02)),
    SavedCase("3 flash, uniform 2 percent, wrong", _BLINKING, _FLASHES, Uniform(retention=0.02)),
    SavedCase(
        "4 evidence lost inside the LLM, STC 2 percent",
        _BLINKING,
        "is the purple triangle small or large?",
        STC(retention=0.02),
    ),
    SavedCase(
        "5 wide clip, order, STC 5 percent",
        "wide.mp4",
        "which appeared first, the green diamond or the cyan square?",
        STC(retention=0.05),
    ),
    SavedCase(
        "6 tall clip, motion, STC 5 percent",
        "tall.mp4",
        "how does the red object behave?",
        STC(retention=0.05),
    ),
)


def save_traces(
    directory: Path, clips: Path, source: Any = None, cases: Iterable[SavedCase] = CASES
) -> None:
    """Answer every case about the videos in ``clips``; write the traces and ``traces.json``.

    ``traces.json`` maps the name of a trace file to the name of its clip and to the method as text,
    its ``repr``.

    Parameters
    ----------
    directory : Path
        Folder to write to.
    clips : Path
        Folder of the videos.
    source
        As for ``evaluate``.
    cases : iterable of SavedCase
    """
    vlm = open_model(source)
    made_folder(directory)
    origins = {}
    for case in cases:
        found = answer(
            vlm, clips / case.clip, case.question, case.method, baseline=True, record=True
        )
        found.trace.save(directory / f"{case.name}.npz")
        origins[f"{case.name}.npz"] = {"clip": case.clip, "method": repr(case.method)}
    write_whole(directory / "traces.json", json.dumps(origins, indent=1) + "\n")


def export(
    directory: Path,
    examples: Iterable[ExampleClip] = EXAMPLES,
    source: Any = None,
    *,
    frames: int = 32,
    world: World = WORLD,
    on_progress: Callable[[str, float], None] | None = None,
) -> dict[str, Any]:
    """Write every example as ``<name>.mp4`` and all of them in ``clips.json``.

    Each question carries its answer, its evidence on the model's token grid, and under ``said`` the
    answer of the uncompressed model, right or wrong.

    Parameters
    ----------
    directory : Path
        Folder to write to.
    examples : iterable of ExampleClip
    source
        As for ``evaluate``.
    frames : int
        Number of frames T of every clip.
    world : World
        What the clips are drawn from.
    on_progress : callable, optional
        Called with (name, share done 0..1) before every clip.

    Returns
    -------
    dict
        The content of ``clips.json``.

    Raises
    ------
    InputError
        Odd sides, a number of frames or a size that cannot be drawn, a folder that cannot be
        written, or a model that does not open.
    """
    examples = list(examples)
    vlm = open_model(source)
    made_folder(directory)
    grid = fixed_cells(vlm.model.config)
    listed = []
    for done, example in enumerate(examples):
        if on_progress:
            on_progress(example.name, done / len(examples))
        size = (example.height, example.width)
        clip = make_clip(example.seed, frames, size, grid=grid, world=world)
        file = directory / f"{example.name}.mp4"
        write_video(file, clip.frames, FRAMES_PER_SECOND)
        # The model is asked about the file, codec and sampling included, as the page would ask it.
        seen = replace(clip, frames=read_video(file, frames).frames)
        said = [reply(vlm.model, vlm.processor, [(seen, q)])[0] for q in clip.questions]
        listed.append(_entry(example, clip, said, frames))
    content = {
        "frames": frames,
        "frames_per_second": FRAMES_PER_SECOND,
        "grid": list(grid),
        "clips": listed,
    }
    write_whole(directory / "clips.json", _one_line_a_question(content))
    return content


def _one_line_a_question(content: dict[str, Any]) -> str:
    """Return JSON that people, too, can read and compare."""
    clips = []
    for clip in content["clips"]:
        head = json.dumps({name: clip[name] for name in clip if name != "questions"})[1:-1]
        lines = ",\n   ".join(json.dumps(question) for question in clip["questions"])
        clips.append(f'  {{{head}, "questions": [\n   {lines}\n  ]}}')
    head = json.dumps({name: content[name] for name in content if name != "clips"})[1:-1]
    return f'{{{head}, "clips": [\n' + ",\n".join(clips) + "\n]}\n"


def _entry(example: ExampleClip, clip: Clip, said: list[str], frames: int) -> dict[str, Any]:
    return {
        "file": f"{example.name}.mp4",
        "seed": example.seed,
        "height": example.height,
        "width": example.width,
        "questions": [
            {
                "kind": question.kind,
                "text": question.text,
                "answer": question.answer,
                "said": word,
                "evidence": question.evidence.tolist(),  # (frame, row, col) of `frames` frames
            }
            for question, word in zip(clip.questions, said, strict=True)
        ],
    }


def write_video(path: Path, frames: np.ndarray, rate: float) -> None:
    """Write an H.264 mp4 whose index comes first, so that it plays before it is loaded whole.

    Parameters
    ----------
    path : Path
    frames : (T, H, W, 3) uint8
        RGB.
    rate : float
        Frames per second.
    """
    _, height, width, _ = frames.shape
    if height % 2 or width % 2:
        raise InputError(f"a video needs even sides, not {height}x{width}")
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=round(rate))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "20", "preset": "slow"}
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
