"""SmolVLM2: the frames of a video are images, each after its time of day as text."""

from __future__ import annotations

from transformers import (
    LlamaConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
    SmolVLMVisionConfig,
)
from transformers.models.smolvlm.processing_smolvlm import DEFAULT_CHAT_TEMPLATE

from .tokens import PAD, START, byte_level
from .weights import DECODER, TOWER, random_model

SIDE, PATCH, SCALE = 36, 3, 3  # pixels: 12 x 12 patches a frame, 4 x 4 tokens of 3 x 3 patches
END = "<end_of_utterance>"
SPECIAL = {
    "fake_image_token": "<fake_token_around_image>",
    "image_token": "<image>",
    "global_image_token": "<global-img>",
    "end_of_utterance_token": END,
}


def build(seed: int = 0):
    """4 x 4 tokens a frame."""
    # its tokenizer knows no "<video>": the processor takes the word's place before it is read
    tokenizer = byte_level(SPECIAL.values(), eos_token=END, extra_special_tokens=SPECIAL)
    ids = tokenizer.convert_tokens_to_ids
    config = SmolVLMConfig(
        vision_config=SmolVLMVisionConfig(
            **TOWER,
            image_size=SIDE,
            patch_size=PATCH,
        ),
        text_config=LlamaConfig(
            vocab_size=len(tokenizer),
            **DECODER,
            bos_token_id=ids(START),
            eos_token_id=ids(END),
            pad_token_id=ids(PAD),
        ),
        image_token_id=ids("<image>"),
        scale_factor=SCALE,
    )
    sizes = {"size": {"longest_edge": 2 * SIDE}, "max_image_size": {"longest_edge": SIDE}}
    sampling = {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": 2 * SIDE}}
    processor = SmolVLMProcessor(
        image_processor=SmolVLMImageProcessor(**sizes),
        tokenizer=tokenizer,
        video_processor=SmolVLMVideoProcessor(**sizes, video_sampling=sampling),
        image_seq_len=(SIDE // PATCH // SCALE) ** 2,
        chat_template=DEFAULT_CHAT_TEMPLATE,
    )
    return random_model(SmolVLMForConditionalGeneration, config, seed), processor
