"""LLaVA-Video: LLaVA-OneVision's tower and decoder, average pooling, a newline after every row."""

from __future__ import annotations

from transformers import LlavaOnevisionVideoProcessor, Qwen2Config, SiglipVisionConfig

from stc_core.models.llava_video.model import LlavaVideoConfig, LlavaVideoForConditionalGeneration
from stc_core.models.llava_video.processor import CHAT_TEMPLATE, IMAGE, VIDEO, LlavaVideoProcessor

from .tokens import END, byte_level
from .weights import DECODER, TOWER, random_model

SIDE, PATCH = 36, 4  # pixels: 9 x 9 patches a frame, the last of them in no token
HALF = (0.5, 0.5, 0.5)


def build(seed: int = 0):
    """4 x 4 tokens and 4 newlines a frame."""
    tokenizer = byte_level([IMAGE, VIDEO])
    ids = tokenizer.convert_tokens_to_ids
    config = LlavaVideoConfig(
        vision_config=SiglipVisionConfig(
            **TOWER,
            image_size=SIDE,
            patch_size=PATCH,
            vision_use_head=False,
        ),
        text_config=Qwen2Config(
            vocab_size=len(tokenizer),
            **DECODER,
            bos_token_id=None,
            eos_token_id=ids(END),
            pad_token_id=tokenizer.pad_token_id,
        ),
        image_token_index=ids(IMAGE),
        video_token_index=ids(VIDEO),
    )
    pixels = LlavaOnevisionVideoProcessor(
        size={"height": SIDE, "width": SIDE}, image_mean=HALF, image_std=HALF
    )
    processor = LlavaVideoProcessor(
        pixels, tokenizer, config.tokens_per_side, config.covered, CHAT_TEMPLATE
    )
    return random_model(LlavaVideoForConditionalGeneration, config, seed), processor
