"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: patches of 4 pixels, tokens of 8 x 8 pixels and 2 frames."""

from __future__ import annotations

from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
    Qwen3VLVideoProcessor,
)

from .tokens import END, PAD, byte_level
from .weights import random_model

VISION = {name: f"<|vision_{name}|>" for name in ("start", "end", "pad")}
IMAGE, VIDEO = "<|image_pad|>", "<|video_pad|>"
MEDIA = (
    "{%- macro media(part) -%}"
    "{%- if part.type == 'text' -%}{{ part.text }}{%- else -%}"
    "<|vision_start|><|{{ part.type }}_pad|><|vision_end|>"
    "{%- endif -%}{%- endmacro -%}"
)
TURNS = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message.role + '\n' }}"
    "{%- if message.content is string -%}{{ message.content }}{%- else -%}"
    "{%- for part in message.content -%}{{ media(part) }}{%- endfor -%}{%- endif -%}"
    "{{ '<|im_end|>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
SYSTEM = (
    "{%- if messages[0].role != 'system' -%}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}"
    "{%- endif -%}"
)
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 5,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 4096,
    "initializer_range": 0.1,
    # half the width of a head: time, row, column
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
}
TOWER = {
    "depth": 3,
    "num_heads": 2,
    "patch_size": 4,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "initializer_range": 0.15,
}
PATCHES = {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2}


def build_2(seed: int = 0):
    """Qwen2-VL; every block of the tower attends within a time step."""
    processor = _processor(Qwen2VLProcessor, Qwen2VLVideoProcessor, SYSTEM, 64)
    config = Qwen2VLConfig(
        vision_config={**TOWER, "embed_dim": 32, "hidden_size": 32, "mlp_ratio": 2},
        **_language(processor),
    )
    return _model(Qwen2VLForConditionalGeneration, config, seed), processor


def build_2_5(seed: int = 0):
    """Qwen2.5-VL; windows of 2 x 2 tokens in all blocks of the tower but the second."""
    processor = _processor(Qwen2_5_VLProcessor, Qwen2VLVideoProcessor, SYSTEM, 64)
    config = Qwen2_5_VLConfig(
        vision_config={
            **TOWER,
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": 32,
            "window_size": 16,
            "fullatt_block_indexes": [1],
            "tokens_per_second": 2,
        },
        **_language(processor),
    )
    return _model(Qwen2_5_VLForConditionalGeneration, config, seed), processor


def build_3(seed: int = 0):
    """Qwen3-VL; features of two blocks of the tower are added in the decoder (deepstack)."""
    processor = _processor(Qwen3VLProcessor, Qwen3VLVideoProcessor, "", 128)
    config = Qwen3VLConfig(
        vision_config={
            **TOWER,
            "hidden_size": 32,
            "intermediate_size": 48,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        **_language(processor, head_dim=16),
    )
    return _model(Qwen3VLForConditionalGeneration, config, seed), processor


def _processor(processor_class, video_processor, opening: str, shortest: int):
    tokenizer = byte_level([*VISION.values(), IMAGE, VIDEO])
    return processor_class(
        image_processor=Qwen2VLImageProcessor(
            **PATCHES, size={"shortest_edge": 64, "longest_edge": 64 * 64}
        ),
        video_processor=video_processor(
            **PATCHES, size={"shortest_edge": shortest, "longest_edge": 8 * 64 * 64}
        ),
        tokenizer=tokenizer,
        chat_template=MEDIA + opening + TURNS,
    )


def _language(processor, **text) -> dict:
    tokenizer = processor.tokenizer
    ids = tokenizer.convert_tokens_to_ids
    return {
        "text_config": {
            **TEXT,
            **text,
            "vocab_size": len(tokenizer),
            "bos_token_id": None,
            "eos_token_id": ids(END),
            "pad_token_id": ids(PAD),
        },
        "image_token_id": ids(IMAGE),
        "video_token_id": ids(VIDEO),
        "vision_start_token_id": ids(VISION["start"]),
        "vision_end_token_id": ids(VISION["end"]),
    }


def _model(model_class, config, seed: int):
    model = random_model(model_class, config, seed)
    model.generation_config.eos_token_id = config.text_config.eos_token_id
    model.generation_config.pad_token_id = config.text_config.pad_token_id
    return model
