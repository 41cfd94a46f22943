"""llava-hf/llava-onevision-*, llava-hf/LLaVA-NeXT-Video-*, LanguageBind/Video-LLaVA-7B-hf."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from .files import CROP, HALF, OPENAI, SMALL, SMALL_TOWER, STEPS, write_json, write_model
from .tokens import gpt_style, sentencepiece_style

PINPOINTS = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
ONEVISION_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + ' ' }}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'video' %}{{ '<video>' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}"
    "{{ '\\n' + part['text'] }}{% endfor %}{{ '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
NEXT_VIDEO_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] != 'system' %}{{ message['role'].upper() + ': ' }}{% endif %}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>\\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'video' %}{{ '<video>\\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}"
    "{{ part['text'] + ' ' }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
CLIP = SMALL_TOWER | {"model_type": "clip_vision_model", "projection_dim": 768}


def onevision(folder: Path) -> None:
    """27 x 27 patches of SigLIP, 14 x 14 tokens, a newline after the video."""
    tokenizer = gpt_style(folder, ["<image>", "<video>"], "Qwen2Tokenizer")
    ids = tokenizer.convert_tokens_to_ids
    config = {
        "architectures": ["LlavaOnevisionForConditionalGeneration"],
        "model_type": "llava_onevision",
        "ignore_index": -100,
        "image_grid_pinpoints": [[384, 384], [384, 768], [768, 384], [768, 768]],
        "image_token_index": ids("<image>"),
        "video_token_index": ids("<video>"),
        "projector_hidden_act": "gelu",
        "text_config": SMALL | {
            "model_type": "qwen2", "vocab_size": 700, "max_position_embeddings": 32768,
            "max_window_layers": 3, "rope_theta": 1000000.0, "torch_dtype": "bfloat16",
            "sliding_window": 32768, "use_sliding_window": False,
        },
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "transformers_version": "4.45.0.dev0",
        "use_image_newline_parameter": True,
        "vision_aspect_ratio": "anyres_max_9",
        "vision_config": SMALL_TOWER | {
            "model_type": "siglip_vision_model", "image_size": 384, "patch_size": 14,
            "vision_use_head": False,
        },
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "full",
    }  # fmt: skip
    write_model(folder, config, rename=_towers)
    pixels = STEPS | HALF | {"size": {"height": 384, "width": 384}}
    write_json(
        folder,
        preprocessor_config=pixels | {
            "do_pad": True,
            "image_grid_pinpoints": config["image_grid_pinpoints"],
            "image_processor_type": "LlavaOnevisionImageProcessor",
            "processor_class": "LlavaOnevisionProcessor",
        },
        processor_config={
            "image_token": "<image>", "num_image_tokens": 729,
            "processor_class": "LlavaOnevisionProcessor", "video_token": "<video>",
            "vision_feature_select_strategy": "full", "vision_aspect_ratio": "anyres_max_9",
        },
        video_processor=pixels | {
            "image_processor_type": "LlavaOnevisionVideoProcessor",
            "processor_class": "LlavaOnevisionProcessor",
        },
        chat_template={"chat_template": ONEVISION_TEMPLATE},
        generation_config={
            "bos_token_id": tokenizer.pad_token_id, "eos_token_id": ids("<|im_end|>"),
            "pad_token_id": tokenizer.pad_token_id,
        },
    )  # fmt: skip


def next_video(folder: Path) -> None:
    """24 x 24 patches of CLIP, 12 x 12 tokens; its preprocessor_config.json is an image's."""
    tokenizer = sentencepiece_style(folder, ["<image>", "<video>"])
    ids = tokenizer.convert_tokens_to_ids
    config = {
        "architectures": ["LlavaNextVideoForConditionalGeneration"],
        "model_type": "llava_next_video",
        "ignore_index": -100,
        "image_grid_pinpoints": PINPOINTS,
        "image_seq_length": 576,
        "image_token_index": ids("<image>"),
        "video_token_index": ids("<video>"),
        "projector_hidden_act": "gelu",
        "spatial_pool_mode": "average",
        "spatial_pool_stride": 2,
        "text_config": SMALL | {
            "_name_or_path": "lmsys/vicuna-7b-v1.5", "architectures": ["LlamaForCausalLM"],
            "model_type": "llama", "vocab_size": 720, "max_position_embeddings": 4096,
            "pad_token_id": 0, "rms_norm_eps": 1e-05, "torch_dtype": "bfloat16",
            "rope_scaling": {"factor": 2.5, "type": "linear"},
        },
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.42.0.dev0",
        "use_image_newline_parameter": True,
        "vision_config": CLIP | {"image_size": 336, "patch_size": 14, "vocab_size": 32000},
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }  # fmt: skip
    write_model(folder, config, rename=_towers)
    write_json(
        folder,
        preprocessor_config=STEPS | OPENAI | CROP | {
            "aspect_ratio_setting": "anyres", "image_grid_pinpoints": PINPOINTS, "do_pad": True,
            "size": {"shortest_edge": 336}, "image_processor_type": "LlavaNextImageProcessor",
            "processor_class": "LlavaNextVideoProcessor",
        },
        processor_config={
            "image_token": "<image>", "num_additional_image_tokens": 1, "patch_size": 14,
            "processor_class": "LlavaNextVideoProcessor", "video_token": "<video>",
            "vision_feature_select_strategy": "default",
        },
        chat_template={"chat_template": NEXT_VIDEO_TEMPLATE},
        generation_config={"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
    )  # fmt: skip


def video_llava(folder: Path) -> None:
    """16 x 16 patches and a class token a frame; no chat template anywhere."""
    tokenizer = sentencepiece_style(folder, ["<image>", "<video>"])
    ids = tokenizer.convert_tokens_to_ids
    config = {
        "architectures": ["VideoLlavaForConditionalGeneration"],
        "model_type": "video_llava",
        "ignore_index": -100,
        "image_token_index": ids("<image>"),
        "video_token_index": ids("<video>"),
        "projector_hidden_act": "gelu",
        "text_config": SMALL | {
            "_name_or_path": "lmsys/vicuna-7b-v1.5", "architectures": ["LlamaForCausalLM"],
            "model_type": "llama", "vocab_size": 720, "max_position_embeddings": 4096,
            "pad_token_id": 0, "rms_norm_eps": 1e-05, "torch_dtype": "float16",
        },
        "torch_dtype": "float32",
        "transformers_version": "4.40.0.dev0",
        "vision_config": CLIP | {"image_size": 224, "patch_size": 14, "vocab_size": 32000},
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }  # fmt: skip
    places = torch.arange(257)[None]
    buffers = ("image_tower", "video_tower")
    write_model(
        folder,
        config,
        rename=_towers,
        extra={f"{name}.vision_model.embeddings.position_ids": places + 0 for name in buffers},
    )
    write_json(
        folder,
        preprocessor_config=STEPS | OPENAI | {
            "do_center_crop": True, "crop_size": {"height": 224, "width": 224},
            "size": {"shortest_edge": 224}, "image_processor_type": "VideoLlavaImageProcessor",
            "processor_class": "VideoLlavaProcessor",
        },
        generation_config={"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
    )  # fmt: skip


def _towers(name: str) -> str:
    """Published before towers lost a level of their names."""
    return re.sub(r"^(vision|image|video)_tower\.", r"\1_tower.vision_model.", name)
