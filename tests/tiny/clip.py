"""Families with CLIP towers: LLaVA-NeXT-Video (one, pooled) and Video-LLaVA (two, unpooled)."""

from __future__ import annotations

from tokenizers.processors import TemplateProcessing
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaNextImageProcessor,
    LlavaNextVideoConfig,
    LlavaNextVideoForConditionalGeneration,
    LlavaNextVideoProcessor,
    LlavaNextVideoVideoProcessor,
    PreTrainedTokenizerFast,
    VideoLlavaConfig,
    VideoLlavaForConditionalGeneration,
    VideoLlavaProcessor,
    VideoLlavaVideoProcessor,
)

from .tokens import byte_level
from .weights import random_model

SIDE, PATCH = 32, 4  # pixels: 8 x 8 patches a frame, and a class token
PAD, START, END, IMAGE, VIDEO = "<pad>", "<s>", "</s>", "<image>", "<video>"

# Vicuna's way of taking turns, with the pictures before the text
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}{{ 'ASSISTANT: ' }}{% else %}{{ 'USER: ' }}{% endif %}"
    "{% for part in message['content'] if part['type'] != 'text' %}"
    "{{ '<' + part['type'] + '>\\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}"
    "{{ part['text'] + ' ' }}{% endfor %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


def build_next_video(seed: int = 0):
    """4 x 4 tokens a frame: the patches of the middle square, averaged 2 x 2 before projection."""
    tokenizer, towers = _tokenizer(), _towers()
    config = LlavaNextVideoConfig(**towers, image_grid_pinpoints=[[SIDE, 2 * SIDE]])
    processor = LlavaNextVideoProcessor(
        video_processor=LlavaNextVideoVideoProcessor(**_pixels()),
        image_processor=LlavaNextImageProcessor(
            **_pixels(), image_grid_pinpoints=config.image_grid_pinpoints
        ),
        tokenizer=tokenizer,
        chat_template=CHAT_TEMPLATE,
        patch_size=PATCH,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        num_additional_image_tokens=1,
    )
    return random_model(LlavaNextVideoForConditionalGeneration, config, seed), processor


def build_video_llava(seed: int = 0):
    """8 x 8 tokens a frame and the class token before them; images have a tower of their own."""
    tokenizer, towers = _tokenizer(), _towers()
    config = VideoLlavaConfig(**towers)
    processor = VideoLlavaProcessor(
        image_processor=CLIPImageProcessor(**_pixels()),
        video_processor=VideoLlavaVideoProcessor(**_pixels()),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        chat_template=CHAT_TEMPLATE,
        num_additional_image_tokens=1,
    )
    return random_model(VideoLlavaForConditionalGeneration, config, seed), processor


def _tokenizer() -> PreTrainedTokenizerFast:
    """As Llama's, it begins every text with a token of its own."""
    tokenizer = byte_level(
        [PAD, START, END, IMAGE, VIDEO], pad_token=PAD, bos_token=START, eos_token=END
    )
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{START} $A", special_tokens=[(START, tokenizer.bos_token_id)]
    )
    return tokenizer


def _pixels() -> dict:
    """The shorter side resized, the middle cut out."""
    return {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}


def _towers() -> dict:
    tokenizer = _tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    return {
        "vision_config": CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            image_size=SIDE,
            patch_size=PATCH,
            projection_dim=16,
        ),
        "text_config": LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=5,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=4096,
            initializer_range=0.05,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        "image_token_index": ids(IMAGE),
        "video_token_index": ids(VIDEO),
    }
