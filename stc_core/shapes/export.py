"""Write example clips as videos that browsers play, with their questions in one `clips.json`.

Needs PyAV (`pip install av`), which only this file uses: who runs the page has the clips already.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stc_core.shapes.clip import FRAMES_PER_SECOND, Clip, make_clip
from stc_core.shapes.evaluate import open_model, reply
from stc_core.shapes.world import DEVELOPMENT_SEEDS, WORLD, World
from stc_core.video import read_video


@dataclass(frozen=True)
class Example:
    """One clip to write: its seed and its picture in pixels."""

    name: str
    seed: int
    height: int = 320
    width: int = 320


def _example(name: str, number: int, height: int = 320, width: int = 320) -> Example:
    return Example(name, DEVELOPMENT_SEEDS[number], height, width)


# Chosen for variety of background, number of things and movement; not by what the model answers.
EXAMPLES = (
    _example("four-on-plain", 33),
    _example("three-on-dots", 7),
    _example("four-on-checks", 32),
    _example("four-on-stripes", 9),
    _example("two-on-dots", 12),
    _example("one-for-a-moment", 19),
    _example("wide", 24, 288, 512),
    _example("tall", 1, 400, 300),
)


def export(
    directory: Path,
    examples: Iterable[Example] = EXAMPLES,
    source: Any = None,
    *,
    frames: int = 32,
    asked_frames: int = 16,
    world: World = WORLD,
) -> dict[str, Any]:
    """Write every example as `<name>.mp4` and all of them in `clips.json`.

    Each question carries its answer, its evidence, and under `said` what the model of `source`
    answers uncompressed at `asked_frames` frames, right or wrong.
    """
    vlm = open_model(source)
    directory.mkdir(parents=True, exist_ok=True)
    listed = []
    for example in examples:
        size = (example.height, example.width)
        clip = make_clip(example.seed, frames, size, world=world)
        file = directory / f"{example.name}.mp4"
        write_video(file, clip.frames, FRAMES_PER_SECOND)
        # The model is asked about the file, codec and sampling included, as the page would ask it.
        seen = replace(clip, frames=read_video(file, asked_frames).frames)
        said = reply(vlm.model, vlm.processor, [(seen, question) for question in clip.questions])
        listed.append(_entry(example, clip, said, frames))
    content = {
        "frames": frames,
        "frames_per_second": FRAMES_PER_SECOND,
        "asked_frames": asked_frames,
        "grid": [5, 5],
        "clips": listed,
    }
    (directory / "clips.json").write_text(_one_line_a_question(content))
    return content


def _one_line_a_question(content: dict[str, Any]) -> str:
    """JSON that people can read and compare, too."""
    clips = []
    for clip in content["clips"]:
        head = json.dumps({name: clip[name] for name in clip if name != "questions"})[1:-1]
        lines = ",\n   ".join(json.dumps(question) for question in clip["questions"])
        clips.append(f'  {{{head}, "questions": [\n   {lines}\n  ]}}')
    head = json.dumps({name: content[name] for name in content if name != "clips"})[1:-1]
    return f'{{{head}, "clips": [\n' + ",\n".join(clips) + "\n]}\n"


def _entry(example: Example, clip: Clip, said: list[str], frames: int) -> dict[str, Any]:
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
    """Frames (T, H, W, 3) uint8 RGB as an H.264 mp4 that starts before it is loaded whole."""
    import av

    _, height, width, _ = frames.shape
    if height % 2 or width % 2:
        raise ValueError(f"yuv420p needs even sides, not {height}x{width}")
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=round(rate))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "20", "preset": "slow"}
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
