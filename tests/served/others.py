"""OpenGVLab/InternVL3-*-hf, HuggingFaceTB/SmolVLM2-*, lkhl/VideoLLaMA3-2B-Image-HF."""

from __future__ import annotations

from pathlib import Path

from tiny.internvl import CHAT_TEMPLATE as INTERNVL_TEMPLATE
from tiny.smolvlm import SPECIAL as SMOL
from tiny.video_llama_3 import CHAT_TEMPLATE as VIDEO_LLAMA_TEMPLATE
from transformers.models.smolvlm.processing_smolvlm import DEFAULT_CHAT_TEMPLATE

from .files import HALF, IMAGENET, SMALL, SMALL_TOWER, STEPS, write_json, write_model
from .tokens import gpt_style

INTERN = {"start_image_token": "<img>", "end_image_token": "</img>",
          "context_image_token": "<IMG_CONTEXT>", "video_token": "<video>"}  # fmt: skip


def internvl(folder: Path) -> None:
    """448 pixels a side in patches of 14, shuffled 2 x 2: 16 x 16 tokens a frame."""
    tokenizer = gpt_style(
        folder, list(INTERN.values()), "Qwen2Tokenizer", extra_special_tokens=INTERN, **INTERN
    )
    ids = tokenizer.convert_tokens_to_ids
    config = {
        "architectures": ["InternVLForConditionalGeneration"],
        "model_type": "internvl",
        "downsample_ratio": 0.5,
        "image_seq_length": 256,
        "image_token_id": ids("<IMG_CONTEXT>"),
        "projector_hidden_act": "gelu",
        "text_config": SMALL | {
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "vocab_size": 700,
            "max_position_embeddings": 32768, "max_window_layers": 70, "rope_theta": 1000000.0,
            "bos_token_id": tokenizer.pad_token_id, "eos_token_id": ids("<|im_end|>"),
            "rope_scaling": {"factor": 2.0, "rope_type": "dynamic", "type": "dynamic"},
            "sliding_window": None, "use_sliding_window": False, "torch_dtype": "bfloat16",
        },
        "torch_dtype": "bfloat16",
        "transformers_version": "4.52.0.dev0",
        "vision_config": SMALL_TOWER | {
            "architectures": ["InternVisionModel"], "model_type": "internvl_vision",
            "attention_bias": True, "image_size": [448, 448], "patch_size": [14, 14],
            "layer_norm_eps": 1e-06, "norm_type": "layer_norm", "use_absolute_position_embeddings":
            True, "use_mask_token": False, "use_mean_pooling": True, "use_qk_norm": False,
            "layer_scale_init_value": 0.1, "num_channels": 3,
        },
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
    }  # fmt: skip
    write_model(folder, config)
    write_json(
        folder,
        preprocessor_config=STEPS | IMAGENET | {
            "crop_to_patches": False, "image_processor_type": "GotOcr2ImageProcessorFast",
            "max_patches": 12, "min_patches": 1, "processor_class": "InternVLProcessor",
            "size": {"height": 448, "width": 448},
        },
        processor_config={"image_seq_length": 256, "processor_class": "InternVLProcessor"},
        generation_config={"bos_token_id": tokenizer.pad_token_id,
                           "eos_token_id": ids("<|im_end|>")},
    )  # fmt: skip
    (folder / "chat_template.jinja").write_text(INTERNVL_TEMPLATE)


def smolvlm(folder: Path) -> None:
    """512 pixels a side in patches of 16, shuffled 4 x 4: 8 x 8 tokens a frame."""
    tokenizer = gpt_style(
        folder, list(SMOL.values()), "GPT2Tokenizer", eos_token="<end_of_utterance>",
        bos_token="<|im_start|>", extra_special_tokens=SMOL, **SMOL,
    )  # fmt: skip
    ids = tokenizer.convert_tokens_to_ids
    ends = {
        "bos_token_id": ids("<|im_start|>"),
        "eos_token_id": ids("<end_of_utterance>"),
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = {
        "architectures": ["SmolVLMForConditionalGeneration"],
        "model_type": "smolvlm",
        "image_token_id": ids("<image>"),
        "pad_token_id": tokenizer.pad_token_id,
        "scale_factor": 4,
        "text_config": SMALL | {
            "architectures": ["VLlama3ForCausalLM"], "model_type": "llama", "vocab_size": 700,
            "max_position_embeddings": 8192, "rms_norm_eps": 1e-05, "rope_theta": 100000,
            "rope_interleaved": False, "head_dim": 8, "torch_dtype": "bfloat16",
            "tie_word_embeddings": False, "pixel_shuffle_factor": 4, "use_resampler": False,
        },
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": "4.47.1",
        "use_cache": False,
        "use_reentrant_checkpointing": False,
        "vision_config": SMALL_TOWER | {
            "model_type": "smolvlm_vision", "image_size": 512, "patch_size": 16,
            "max_image_size": {"longest_edge": 512}, "size": {"longest_edge": 2048},
            "tie_word_embeddings": False, "use_base_siglip": False,
        },
    }  # fmt: skip
    write_model(folder, config)
    write_json(
        folder,
        preprocessor_config=STEPS | HALF | {
            "resample": 1, "do_image_splitting": True, "do_pad": True,
            "image_processor_type": "SmolVLMImageProcessor",
            "max_image_size": {"longest_edge": 512}, "processor_class": "SmolVLMProcessor",
            "size": {"longest_edge": 2048},
            "video_sampling": {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": 512}},
        },
        processor_config={"image_seq_len": 64, "processor_class": "SmolVLMProcessor"},
        chat_template={"chat_template": DEFAULT_CHAT_TEMPLATE},
        generation_config=ends,
    )  # fmt: skip


def video_llama_3(folder: Path) -> None:
    """Patches of 14 pixels, merged 2 x 2 in videos; its own pruning is on."""
    names = ["<|image_pad|>", "<|video_pad|>"]
    tokenizer = gpt_style(folder, names, "Qwen2Tokenizer")
    ids = tokenizer.convert_tokens_to_ids
    config = {
        "architectures": ["VideoLlama3ForConditionalGeneration"],
        "model_type": "video_llama_3",
        "image_token_id": ids(names[0]),
        "video_token_id": ids(names[1]),
        "text_config": SMALL | {
            "model_type": "qwen2", "vocab_size": 700, "max_position_embeddings": 32768,
            "rope_theta": 1000000.0, "bos_token_id": tokenizer.pad_token_id,
            "eos_token_id": ids("<|im_end|>"), "use_sliding_window": False,
            "max_window_layers": 28,
        },
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "vision_config": SMALL_TOWER | {
            "model_type": "video_llama_3_vision", "patch_size": 14,
            "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-06, "num_channels": 3,
        },
    }  # fmt: skip
    write_model(folder, config)
    pixels = HALF | STEPS | {"patch_size": 14, "processor_class": "VideoLlama3Processor"}
    write_json(
        folder,
        preprocessor_config=pixels | {
            "image_processor_type": "VideoLlama3ImageProcessor", "merge_size": 1,
            "min_pixels": 3136, "max_pixels": 3211264,
        },
        video_preprocessor_config=pixels | {
            "video_processor_type": "VideoLlama3VideoProcessor", "merge_size": 2,
            "min_pixels": 3136, "max_pixels": 3211264, "use_token_compression": True,
        },
        chat_template={"chat_template": VIDEO_LLAMA_TEMPLATE},
        generation_config={
            "do_sample": True, "temperature": 0.7, "top_k": 20, "top_p": 0.8,
            "repetition_penalty": 1.05, "eos_token_id": [ids("<|im_end|>")],
            "pad_token_id": tokenizer.pad_token_id,
        },
    )  # fmt: skip
