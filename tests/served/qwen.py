"""Qwen/Qwen2-VL-*, Qwen/Qwen2.5-VL-*, Qwen/Qwen3-VL-*."""

from __future__ import annotations

import json
from pathlib import Path

from tiny.qwen import MEDIA, SYSTEM, TURNS

from .files import HALF, OPENAI, SMALL, write_json, write_model
from .tokens import gpt_style

VISION = ["<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
SAMPLED = {"do_sample": True, "temperature": 0.1, "top_k": 1, "top_p": 0.001}
PATCHES = {"patch_size": 14, "temporal_patch_size": 2, "merge_size": 2}


def qwen2(folder: Path) -> None:
    """28 x 28 pixels of two frames a token; a budget for pictures of 12.8 million pixels."""
    ids = _tokenizer(folder)
    tower = {"depth": 3, "embed_dim": 32, "hidden_size": 32, "in_chans": 3, "mlp_ratio": 4,
             "num_heads": 2, "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14,
             "temporal_patch_size": 2}  # fmt: skip
    write_model(folder, _flat(ids, "qwen2_vl", "Qwen2VLForConditionalGeneration", tower))
    _pictures(folder, "Qwen2VLProcessor", "Qwen2VLImageProcessor")
    _generation(folder, ids, SAMPLED | {"repetition_penalty": 1.0})


def qwen2_5(folder: Path) -> None:
    """Windows in the tower but for blocks that see whole frames; repetition costs 1.05."""
    ids = _tokenizer(folder)
    tower = {"depth": 3, "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 48,
             "num_heads": 2, "in_chans": 3, "out_hidden_size": 32, "patch_size": 14,
             "spatial_merge_size": 2, "spatial_patch_size": 14, "window_size": 112,
             "fullatt_block_indexes": [0, 1], "tokens_per_second": 2,
             "temporal_patch_size": 2}  # fmt: skip
    write_model(folder, _flat(ids, "qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration", tower))
    _pictures(folder, "Qwen2_5_VLProcessor", "Qwen2VLImageProcessor")
    _generation(folder, ids, SAMPLED | {"temperature": 0.000001, "repetition_penalty": 1.05})


def qwen3(folder: Path) -> None:
    """32 x 32 pixels of two frames a token; a video processor's file of its own."""
    ids = _tokenizer(folder)
    config = {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "model_type": "qwen3_vl",
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "text_config": SMALL | {
            "attention_bias": False, "attention_dropout": 0.0, "dtype": "bfloat16", "head_dim": 16,
            "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"],
            "hidden_act": "silu", "max_position_embeddings": 262144,
            "model_type": "qwen3_vl_text", "rms_norm_eps": 1e-06, "rope_theta": 5000000,
            "rope_scaling": {"mrope_interleaved": True, "mrope_section": [4, 2, 2],
                             "rope_type": "default"},
            "use_cache": True, "vocab_size": 700,
        },
        "tie_word_embeddings": False,
        "transformers_version": "4.57.0.dev0",
        "vision_config": {
            "deepstack_visual_indexes": [0, 1], "depth": 3, "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": 32, "in_channels": 3, "initializer_range": 0.02,
            "intermediate_size": 48, "model_type": "qwen3_vl", "num_heads": 2,
            "num_position_embeddings": 2304, "out_hidden_size": 32, "patch_size": 16,
            "spatial_merge_size": 2, "temporal_patch_size": 2,
        },
    }  # fmt: skip
    write_model(folder, config)
    patches = HALF | {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2}
    processor = {"processor_class": "Qwen3VLProcessor"}
    write_json(
        folder,
        preprocessor_config=patches | processor | {
            "size": {"longest_edge": 16777216, "shortest_edge": 65536},
            "image_processor_type": "Qwen2VLImageProcessorFast",
        },
        video_preprocessor_config=patches | processor | {
            "size": {"longest_edge": 25165824, "shortest_edge": 4096},
            "video_processor_type": "Qwen3VLVideoProcessor",
        },
        chat_template={"chat_template": MEDIA + TURNS},
    )  # fmt: skip
    _generation(folder, ids, {"do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8})


def _tokenizer(folder: Path) -> dict[str, int]:
    tokenizer = gpt_style(folder, [*VISION, "<tool_call>"], "Qwen2Tokenizer")
    file = folder / "tokenizer.json"  # "<tool_call>" is known and not special there
    written = json.loads(file.read_text())
    for token in written["added_tokens"]:
        token["special"] = token["content"] != "<tool_call>"
    file.write_text(json.dumps(written))
    return tokenizer.get_vocab()


def _flat(ids: dict[str, int], kind: str, architecture: str, tower: dict) -> dict:
    """The LLM's settings stand beside the tower's, as before there was a text_config."""
    return SMALL | {
        "architectures": [architecture], "model_type": kind, "attention_dropout": 0.0,
        "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"],
        "image_token_id": ids["<|image_pad|>"], "video_token_id": ids["<|video_pad|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "vision_token_id": ids["<|vision_pad|>"], "hidden_act": "silu",
        "initializer_range": 0.02, "max_position_embeddings": 32768, "max_window_layers": 4,
        "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 32768,
        "rope_scaling": {"type": "mrope", "mrope_section": [2, 1, 1]},
        "tie_word_embeddings": False, "torch_dtype": "bfloat16",
        "transformers_version": "4.41.2", "use_cache": True, "use_sliding_window": False,
        "vision_config": tower, "vocab_size": 700,
    }  # fmt: skip


def _pictures(folder: Path, processor: str, image: str) -> None:
    write_json(
        folder,
        preprocessor_config=PATCHES | OPENAI | {
            "min_pixels": 3136, "max_pixels": 12845056, "image_processor_type": image,
            "processor_class": processor,
        },
        chat_template={"chat_template": MEDIA + SYSTEM + TURNS},
    )  # fmt: skip


def _generation(folder: Path, ids: dict[str, int], how: dict) -> None:
    pad = ids["<|endoftext|>"]
    ends = {"bos_token_id": pad, "pad_token_id": pad, "eos_token_id": [ids["<|im_end|>"], pad]}
    write_json(folder, generation_config=ends | how)
