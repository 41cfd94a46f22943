"""Tokenizers of the two kinds that the published ones are of, small and trained here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tiny.tokens import SENTENCES, byte_level
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

BYTES = [f"<0x{value:02X}>" for value in range(256)]
LLAMA = ["<unk>", "<s>", "</s>"]


def gpt_style(folder: Path, special: Sequence[str], kind: str, **config) -> PreTrainedTokenizerFast:
    """Byte-level BPE as Qwen's and SmolLM's, written under the class name of the published file."""
    tokenizer = byte_level(special, words=600)
    return _written(folder, tokenizer, {"tokenizer_class": kind, **config})


def sentencepiece_style(folder: Path, special: Sequence[str], **config) -> PreTrainedTokenizerFast:
    """BPE over pieces that begin with their space, as Llama's: "▁" is put before the text."""
    trained = Tokenizer(models.BPE(unk_token="<unk>"))
    trained.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    words = [sentence.replace(" ", "\n ") for sentence in SENTENCES]
    trained.train_from_iterator(
        [*SENTENCES, *words], trainers.BpeTrainer(vocab_size=400, show_progress=False)
    )
    learned = json.loads(trained.to_str())["model"]
    vocabulary = dict.fromkeys([*LLAMA, *BYTES, *learned["vocab"]])
    tokenizer = Tokenizer(
        models.BPE(
            {piece: place for place, piece in enumerate(vocabulary)},
            [tuple(pair) for pair in learned["merges"]],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = trained.normalizer
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in (*LLAMA, *special)])
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        pad_token="<unk>", model_max_length=4096, clean_up_tokenization_spaces=False,
    )  # fmt: skip
    published = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "legacy": True}
    return _written(folder, made, published | config)


def _written(folder: Path, tokenizer: PreTrainedTokenizerFast, config: dict):
    tokenizer.save_pretrained(folder)
    file = folder / "tokenizer_config.json"
    kept = json.loads(file.read_text()) | config
    for name in ("backend", "is_local", "local_files_only"):  # no published file has them
        kept.pop(name, None)
    file.write_text(json.dumps(kept))
    return tokenizer
