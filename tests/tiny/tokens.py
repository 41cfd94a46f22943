"""A small byte-level BPE tokenizer, trained here, with the special tokens a family wants."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SENTENCES = (
    "system\nYou are a helpful assistant.",
    "user\nwhat color is the star ? is there a circle ? which shape moves to the left ?",
    "assistant\nthe star is red . the circle is blue . yes no one two three",
    "Time 0.0s: 1.0s, 2.5s <0.5 seconds> Frame1: Frame2: 00:00 00:01",
)


def byte_level(special: Sequence[str], words: int = 320, **options) -> PreTrainedTokenizerFast:
    """A tokenizer that reads any text, as GPT-2's, Qwen's and SmolLM's do.

    Parameters
    ----------
    special : token texts beside the pad, start and end of ``PAD``, ``START``, ``END``
    words : size of the vocabulary without the special tokens; 256 of them are the bytes
    options : for the tokenizer, such as ``extra_special_tokens`` that get attributes of their own
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=words,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    own = dict.fromkeys([PAD, START, END, *special])
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in own])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **{
            "pad_token": PAD,
            "eos_token": END,
            "model_max_length": 4096,
            "clean_up_tokenization_spaces": False,
            **options,
        },
    )
