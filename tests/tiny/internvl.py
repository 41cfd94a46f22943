"""InternVL3: the frames of a video are images, each between two tokens and after its number."""

from __future__ import annotations

from transformers import (
    GotOcr2ImageProcessor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    InternVLVideoProcessor,
    InternVLVisionConfig,
    Qwen2Config,
)

from .tokens import END, byte_level
from .weights import DECODER, TOWER, random_model

SIDE, PATCH = 32, 4  # pixels: 8 x 8 patches a frame, 4 x 4 tokens after the pixel shuffle
SPECIAL = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}{{ '<IMG_CONTEXT>\\n' }}"
    "{% elif part['type'] == 'video' %}{{ '<video>\\n' }}"
    "{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}"
    "{{ '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def build(seed: int = 0):
    """4 x 4 tokens a frame; the tower has a class token that no feature keeps."""
    tokenizer = byte_level(SPECIAL.values(), extra_special_tokens=SPECIAL)
    ids = tokenizer.convert_tokens_to_ids
    tokens = (SIDE // PATCH // 2) ** 2
    config = InternVLConfig(
        vision_config=InternVLVisionConfig(
            **TOWER,
            image_size=SIDE,
            patch_size=PATCH,
        ),
        text_config=Qwen2Config(
            vocab_size=len(tokenizer),
            **DECODER,
            bos_token_id=None,
            eos_token_id=ids(END),
            pad_token_id=tokenizer.pad_token_id,
        ),
        image_token_id=ids("<IMG_CONTEXT>"),
        image_seq_length=tokens,
        tie_word_embeddings=False,
    )
    size = {"height": SIDE, "width": SIDE}
    processor = InternVLProcessor(
        image_processor=GotOcr2ImageProcessor(size=size),
        tokenizer=tokenizer,
        video_processor=InternVLVideoProcessor(size=size),
        image_seq_length=tokens,
        chat_template=CHAT_TEMPLATE,
    )
    return random_model(InternVLForConditionalGeneration, config, seed), processor
