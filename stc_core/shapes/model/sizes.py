"""Build the embedded Video-LLM untrained: stock transformers classes at a very small size.

``build()`` returns the model and its processor exactly as ``from_pretrained`` would: a SigLIP
tower, a two-layer projector and a Qwen2 decoder inside ``LlavaOnevisionForConditionalGeneration``,
a word-level tokenizer over the words of the world, LLaVA-OneVision's own processor and chat
template.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessor,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    PreTrainedTokenizerFast,
    Qwen2Config,
    SiglipVisionConfig,
)

from stc_core.models.stock import StockModel
from stc_core.shapes.world.questions import words
from stc_core.writing import written_folder

PAD, START, END, UNKNOWN = "<pad>", "<|im_start|>", "<|im_end|>", "<unk>"
IMAGE, VIDEO = "<image>", "<video>"
MEAN = STD = (0.5, 0.5, 0.5)  # pixels reach the tower in -1..1

# The template of the real LLaVA-OneVision (Qwen2) checkpoints: pictures first, then the text.
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + ' ' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'video') %}"
    "{{ '<video>' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ '\\n' + content['text'] }}{% endfor %}"
    "{{ '<|im_end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Size:
    """Hold every number that decides how large the model is."""

    frame: int = 112  # pixels, side of the square the processor makes of every frame
    patch: int = 8  # pixels: 14 x 14 patches, pooled to 7 x 7 video tokens
    vision_width: int = 128
    vision_layers: int = 4
    vision_heads: int = 2  # wide heads: attention is what a frame costs
    vision_ffn: int = 384
    width: int = 160
    layers: int = 8  # the paper's layer 18 of 28 falls on layer 5 here
    heads: int = 4
    kv_heads: int = 2
    ffn: int = 448
    positions: int = 8192  # 64 frames of 49 tokens and a long question

    def __post_init__(self) -> None:
        if self.frame % self.patch:
            raise ValueError(
                f"the frame size {self.frame} is not divisible by the patch size {self.patch}"
            )
        if self.width % self.heads or self.vision_width % self.vision_heads:
            raise ValueError("each width must be divisible by its number of heads")

    @property
    def side(self) -> int:
        """Count the video tokens along one side of a frame.

        LLaVA-OneVision halves the patch grid.
        """
        return -(-(self.frame // self.patch) // 2)


def build(
    size: Size | None = None, seed: int = 0
) -> tuple[LlavaOnevisionForConditionalGeneration, LlavaOnevisionProcessor]:
    """Build an untrained model in float32 and its processor.

    Parameters
    ----------
    size : Size, optional
    seed : int
        Of the weights: the same seed gives the same weights. Torch's global random state stays as
        it is.

    Returns
    -------
    model : LlavaOnevisionForConditionalGeneration
    processor : LlavaOnevisionProcessor
    """
    size = size or Size()
    processor = build_processor(size)
    tokenizer = processor.tokenizer
    ids = tokenizer.convert_tokens_to_ids
    vision = SiglipVisionConfig(
        hidden_size=size.vision_width,
        intermediate_size=size.vision_ffn,
        num_hidden_layers=size.vision_layers,
        num_attention_heads=size.vision_heads,
        image_size=size.frame,
        patch_size=size.patch,
        vision_use_head=False,
    )
    text = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=size.width,
        intermediate_size=size.ffn,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        max_position_embeddings=size.positions,
        initializer_range=0.05,  # the usual 0.02 is meant for models ten times as wide
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=ids(END),
        pad_token_id=ids(PAD),
    )
    config = LlavaOnevisionConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=ids(IMAGE),
        video_token_index=ids(VIDEO),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=True,
        image_grid_pinpoints=[[size.frame, size.frame]],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlavaOnevisionForConditionalGeneration(config)
    model.generation_config.eos_token_id = ids(END)
    model.generation_config.pad_token_id = ids(PAD)
    model.generation_config.max_new_tokens = 8
    return model, processor


def build_processor(size: Size) -> LlavaOnevisionProcessor:
    """Build tokenizer, picture processors and chat template of the embedded model."""
    side = {"height": size.frame, "width": size.frame}
    pixels: dict[str, Any] = {"size": side, "image_mean": MEAN, "image_std": STD}
    return LlavaOnevisionProcessor(
        image_processor=LlavaOnevisionImageProcessor(
            **pixels, image_grid_pinpoints=[[size.frame, size.frame]]
        ),
        video_processor=LlavaOnevisionVideoProcessor(**pixels),
        tokenizer=build_tokenizer(),
        num_image_tokens=(size.frame // size.patch) ** 2,
        vision_feature_select_strategy="full",
        chat_template=CHAT_TEMPLATE,
    )


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build a tokenizer with one token per word of the world; other words become ``<unk>``."""
    special = [PAD, UNKNOWN, START, END, IMAGE, VIDEO]
    vocabulary = [*special, "user", "assistant", "system", *words()]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token=UNKNOWN)
    )
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFC(),
            normalizers.Lowercase(),
            normalizers.Replace("colour", "color"),
            normalizers.Replace(Regex(r"\ban\b"), "a"),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=[START, END, IMAGE, VIDEO],
        model_max_length=8192,
        clean_up_tokenization_spaces=False,
    )


def save(
    model: StockModel,
    processor: LlavaOnevisionProcessor,
    directory: Path,
    facts: Mapping[str, object] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write an ordinary checkpoint, whole or not at all.

    It is written beside ``directory`` and then put in its place, so a kill during the write leaves
    the former checkpoint. Other files of ``directory``, such as a model card, stay.

    Parameters
    ----------
    model : StockModel
    processor : LlavaOnevisionProcessor
    directory : Path
    facts : mapping, optional
        Written into the config under ``stc``, for the loader.
    dtype : torch.dtype, optional
        Of the weights on disk; default: that of ``model``, which is left as it is.
    """
    if facts:
        model.config.stc = dict(facts)
    directory = directory.resolve()  # a link to a folder stays a link
    with written_folder(directory) as fresh:
        if directory.exists():
            shutil.copytree(directory, fresh, dirs_exist_ok=True)
        copy.deepcopy(model).to(dtype or model.dtype).save_pretrained(fresh)
        processor.save_pretrained(fresh)
