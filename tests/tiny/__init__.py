"""Tiny checkpoints of every family: real classes, configs and processors, random weights.

``BUILDERS`` maps a family's ``model_type`` to a function ``build(seed=0) -> (model, processor)``:
five decoder layers, two or three vision layers, widths of 16 to 32. One file per family; a new one
is one more line here, and the conformance suite (tests/test_families.py) runs on it.
"""

from __future__ import annotations

from collections.abc import Callable

from . import clip, internvl, llava_onevision, llava_video, qwen, smolvlm, video_llama_3

BUILDERS: dict[str, Callable] = {
    "llava_onevision": llava_onevision.build,
    "llava_video": llava_video.build,
    "llava_next_video": clip.build_next_video,
    "qwen2_vl": qwen.build_2,
    "qwen2_5_vl": qwen.build_2_5,
    "qwen3_vl": qwen.build_3,
    "internvl": internvl.build,
    "smolvlm": smolvlm.build,
    "video_llama_3": video_llama_3.build,
    "video_llava": clip.build_video_llava,
}
