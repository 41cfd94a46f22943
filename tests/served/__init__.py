"""What the model hub serves of each family: every file with its published keys and values.

No published file can be had here, so these are written from what is known of them: config.json,
the processor's files, chat templates and generation_config.json as published, the weights under the
published names. Small are the widths and depths alone; patches and tokens are in the real numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import llava, others, qwen


@dataclass(frozen=True)
class Served:
    """One published checkpoint and what must come of it.

    Attributes
    ----------
    write : callable
        folder -> None.
    frames, tokens : int
        Frames of a clip, and the video tokens that the literature says it becomes.
    size : (height, width) of the clip's frames.
    layer : int
        Contribution layer of a tower of three, counted from 0.
    context : int
        Tokens that the LLM reads.
    """

    write: Callable[[Path], None]
    frames: int
    tokens: int
    layer: int
    context: int
    size: tuple[int, int] = (48, 64)


SERVED = {
    "llava_onevision": Served(llava.onevision, 32, 6272, 2, 32768),
    "llava_next_video": Served(llava.next_video, 32, 32 * 144, 1, 10240),
    "video_llava": Served(llava.video_llava, 8, 8 * 256, 1, 4096),
    "qwen2_vl": Served(qwen.qwen2, 8, 4 * 12 * 16, 2, 32768, (336, 448)),
    "qwen2_5_vl": Served(qwen.qwen2_5, 8, 4 * 12 * 16, 1, 32768, (336, 448)),
    "qwen3_vl": Served(qwen.qwen3, 8, 4 * 10 * 14, 2, 262144, (320, 448)),
    "internvl": Served(others.internvl, 8, 8 * 256, 2, 32768),
    "smolvlm": Served(others.smolvlm, 8, 8 * 64, 2, 8192),
    "video_llama_3": Served(others.video_llama_3, 8, 8 * 12 * 16, 2, 32768, (336, 448)),
}
