"""VideoLLaMA3: patches of 4 pixels, tokens of 8 x 8, times as text before every frame."""

from __future__ import annotations

from transformers import (
    VideoLlama3Config,
    VideoLlama3ForConditionalGeneration,
    VideoLlama3ImageProcessor,
    VideoLlama3Processor,
    VideoLlama3VideoProcessor,
)

from .tokens import END, PAD, byte_level
from .weights import random_model

IMAGE, VIDEO = "<|image_pad|>", "<|video_pad|>"
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message.role + '\n' }}"
    "{%- for part in message.content -%}"
    "{%- if part.type == 'text' -%}{{ part.text }}{%- else -%}"
    "{{ '<|' + part.type + '_pad|>\n' }}{%- endif -%}"
    "{%- endfor -%}"
    "{{ '<|im_end|>\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)


def build(seed: int = 0):
    """Its own pruning stays on in the processor, as published."""
    size = {"shortest_edge": 64, "longest_edge": 8 * 64 * 64}
    processor = VideoLlama3Processor(
        image_processor=VideoLlama3ImageProcessor(patch_size=4, merge_size=1, size=size),
        video_processor=VideoLlama3VideoProcessor(patch_size=4, merge_size=2, size=size),
        tokenizer=byte_level([IMAGE, VIDEO]),
        chat_template=CHAT_TEMPLATE,
    )
    tokenizer = processor.tokenizer
    ids = tokenizer.convert_tokens_to_ids
    config = VideoLlama3Config(
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "initializer_range": 0.1,
            "bos_token_id": None,
            "eos_token_id": ids(END),
            "pad_token_id": ids(PAD),
        },
        vision_config={
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "patch_size": 4,
            "initializer_range": 0.15,
        },
        image_token_id=ids(IMAGE),
        video_token_id=ids(VIDEO),
    )
    model = random_model(VideoLlama3ForConditionalGeneration, config, seed)
    model.generation_config.eos_token_id = ids(END)
    model.generation_config.pad_token_id = ids(PAD)
    return model, processor
