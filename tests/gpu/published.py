"""Models of the paper in full size: the published configs and processors, to be filled at random.

The numbers are those of the checkpoints' config.json and preprocessor files. Only the tokenizer is
a small one, trained here: placeholders count as they do in the published ones, words need more
tokens. ``Shrink`` makes depth and width smaller, for a try on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tiny.qwen import MEDIA, SYSTEM, TURNS, VISION
from tiny.tokens import END, PAD, byte_level
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from stc_core.models.llava_video.model import LlavaVideoConfig, LlavaVideoForConditionalGeneration
from stc_core.models.llava_video.processor import CHAT_TEMPLATE as LLAVA_VIDEO_TEMPLATE
from stc_core.models.llava_video.processor import LlavaVideoProcessor
from stc_core.shapes.model.sizes import CHAT_TEMPLATE as LLAVA_ONEVISION_TEMPLATE

IMAGE, VIDEO = "<image>", "<video>"
SIGLIP = {  # google/siglip-so400m-patch14-384 without its last layer
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 26,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
    "vision_use_head": False,
}
QWEN_2_7B = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
}
QWEN_2_5_TOWER = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
    "out_hidden_size": 3584,
    "tokens_per_second": 2,
}


@dataclass(frozen=True)
class Shrink:
    """layers, width: of LLM and tower; None: as published. A width is a multiple of 64."""

    layers: int | None = None
    width: int | None = None

    def text(self, sizes: dict) -> dict:
        small = dict(sizes)
        if self.layers:
            small["num_hidden_layers"] = self.layers
        if self.width:
            small |= {"hidden_size": self.width, "intermediate_size": 2 * self.width}
            small |= {"num_attention_heads": 4, "num_key_value_heads": 2}
        return small

    def tower(self, sizes: dict, depth: str, heads: str) -> dict:
        small = dict(sizes)
        if self.layers:
            small[depth] = self.layers
        if self.width:
            small |= {"hidden_size": self.width, "intermediate_size": 2 * self.width, heads: 4}
        return small


@dataclass(frozen=True)
class Published:
    """frames: as in the paper; build: Shrink -> (class, config, processor)."""

    frames: int
    build: Callable[[Shrink], tuple[type, object, object]]


def llava_onevision(shrink: Shrink):
    tokenizer = byte_level([IMAGE, VIDEO])
    config = LlavaOnevisionConfig(
        **_llava(shrink, tokenizer, vocabulary=152000),
        image_grid_pinpoints=[[384, 384]],
    )
    processor = LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(image_grid_pinpoints=[[384, 384]]),
        video_processor=LlavaOnevisionVideoProcessor(),
        tokenizer=tokenizer,
        num_image_tokens=729,
        vision_feature_select_strategy="full",
        chat_template=LLAVA_ONEVISION_TEMPLATE,
    )
    return LlavaOnevisionForConditionalGeneration, config, processor


def llava_video(shrink: Shrink):
    tokenizer = byte_level([IMAGE, VIDEO])
    config = LlavaVideoConfig(**_llava(shrink, tokenizer, vocabulary=152064))
    processor = LlavaVideoProcessor(
        LlavaOnevisionVideoProcessor(),
        tokenizer,
        config.tokens_per_side,
        config.covered,
        LLAVA_VIDEO_TEMPLATE,
    )
    return LlavaVideoForConditionalGeneration, config, processor


def qwen_2_5_vl(shrink: Shrink):
    tokenizer = byte_level([*VISION.values(), "<|image_pad|>", "<|video_pad|>"])
    ids = tokenizer.convert_tokens_to_ids
    text = shrink.text(QWEN_2_7B)
    half = text["hidden_size"] // text["num_attention_heads"] // 2
    tower = shrink.tower(QWEN_2_5_TOWER, "depth", "num_heads")
    tower["out_hidden_size"] = text["hidden_size"]
    tower["fullatt_block_indexes"] = [i for i in (7, 15, 23, 31) if i < tower["depth"]] or [1]
    config = Qwen2_5_VLConfig(
        vision_config=tower,
        text_config={
            **text,
            "model_type": "qwen2_5_vl_text",
            "max_position_embeddings": 128000,
            "vocab_size": 152064,
            # of each half head 16 of 64 for time, 24 for rows, 24 for columns
            "rope_parameters": {
                **text["rope_parameters"],
                "mrope_section": [half // 4, 3 * half // 8, 3 * half // 8],
            },
            "pad_token_id": ids(PAD),
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
    )
    processor = Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        video_processor=Qwen2VLVideoProcessor(),
        tokenizer=tokenizer,
        chat_template=MEDIA + SYSTEM + TURNS,
    )
    return Qwen2_5_VLForConditionalGeneration, config, processor


def _llava(shrink: Shrink, tokenizer, vocabulary: int) -> dict:
    ids = tokenizer.convert_tokens_to_ids
    return {
        "vision_config": shrink.tower(SIGLIP, "num_hidden_layers", "num_attention_heads"),
        "text_config": {
            **shrink.text(QWEN_2_7B),
            "vocab_size": vocabulary,
            "pad_token_id": ids(PAD),
            "bos_token_id": None,
            "eos_token_id": ids(END),
        },
        "image_token_index": ids(IMAGE),
        "video_token_index": ids(VIDEO),
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
    }


MODELS = {
    "LLaVA-OneVision-7B": Published(32, llava_onevision),
    "LLaVA-Video-7B": Published(64, llava_video),
    "Qwen2.5-VL-7B": Published(64, qwen_2_5_vl),
}
