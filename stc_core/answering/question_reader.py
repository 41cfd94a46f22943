"""Tokenize a prompt in one go: what a person wrote is mere text, the question at known places."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken
from transformers import BatchEncoding

from stc_core.models.stock import StockProcessor


class QuestionReader:
    """Replace a processor's tokenizer; put texts where their markers stand, then tokenize.

    A processor writes the placeholders of a video into the prompt and gives all of it to its
    tokenizer. The texts come in only then, so that nothing in them is a placeholder, and in one go
    with what is around them, so that the tokens are those of the whole prompt.

    Parameters
    ----------
    tokenizer
        A fast tokenizer.
    texts : mapping of str to str
        Marker -> what a person or a model wrote, the question last. Each marker occurs once in
        every prompt.

    Attributes
    ----------
    asked : range
        Places of the question's tokens in the text that was read last.
    behind : int
        Place of the first token after the first of the texts.
    """

    def __init__(self, tokenizer: Any, texts: Mapping[str, str]) -> None:
        self._tokenizer, self._texts = tokenizer, dict(texts)
        self.asked = range(0)
        self.behind = 0

    @classmethod
    def of(
        cls, processor: StockProcessor, texts: Mapping[str, str]
    ) -> tuple[StockProcessor, QuestionReader]:
        """Return a processor that reads through a reader, and the reader; the original is left."""
        reader = cls(processor.tokenizer, texts)
        reading = copy.copy(processor)
        reading.tokenizer = reader
        return reading, reader

    def __getattr__(self, name: str) -> Any:
        if name == "_tokenizer":  # a copy in the making has none yet
            raise AttributeError(name)
        return getattr(self._tokenizer, name)

    def __len__(self) -> int:
        return len(self._tokenizer)

    def __call__(self, text: str | list[str], **options: Any) -> BatchEncoding:
        """Return the tokens of one text, as a batch of one."""
        [whole] = [text] if isinstance(text, str) else text
        # the template's own parts and, between them, the markers
        parts = re.split(f"({'|'.join(map(re.escape, self._texts))})", whole)
        own, put_in = parts[::2], [self._texts[marker] for marker in parts[1::2]]
        tensors = options.pop("return_tensors", None)
        bos = self._tokenizer.bos_token
        if bos is not None and own[0].startswith(bos):  # the template writes it itself
            options["add_special_tokens"] = False
        tokenizer = self._tokenizer
        back: dict[int, int] = {}
        if self._special(_woven(own, put_in)) != self._special(*own):
            tokenizer, own, back = self._guarded(own)
            options["split_special_tokens"] = True
        prompt = _woven(own, put_in)
        found = tokenizer([prompt], return_offsets_mapping=True, **options)
        last = len(prompt) - len(own[-1])
        first = last - len(put_in[-1])
        [offsets] = found.pop("offset_mapping")
        inside = [
            place
            for place, (start, end) in enumerate(offsets)
            if start < end and start < last and end > first
        ]
        begun = len(own[0]) + len(put_in[0])
        self.behind = next(
            (place for place, (start, end) in enumerate(offsets) if start >= begun and start < end),
            len(offsets),
        )
        self.asked = range(inside[0], inside[-1] + 1) if inside else range(0)
        found["input_ids"] = [[back.get(token, token) for token in found["input_ids"][0]]]
        return BatchEncoding(dict(found), tensor_type=tensors)

    def _special(self, *texts: str) -> int:
        """Count the added tokens in texts."""
        return sum(len(self._added.findall(text)) for text in texts)

    @property
    def _added(self) -> re.Pattern[str]:
        added = (token.content for token in self._tokenizer.added_tokens_decoder.values())
        return re.compile("|".join(map(re.escape, sorted(added, key=len, reverse=True))) or "(?!)")

    def _guarded(self, own: Sequence[str]) -> tuple[Any, list[str], dict[int, int]]:
        """Give the template's own special tokens names that no text has.

        Returns
        -------
        tokenizer
            A copy that knows these names, and with ``split_special_tokens`` no other.
        own
            The template's parts with these names.
        back
            Token id of each name -> that of the token it stands for.
        """
        tokenizer = copy.deepcopy(self._tokenizer)
        added = tokenizer.added_tokens_decoder.values()
        tokenizer.add_tokens(  # or splitting special tokens would leave these whole
            [AddedToken(token.content, special=True) for token in added if not token.special],
            special_tokens=True,
        )
        marker = next(iter(self._texts))  # which nobody can guess
        names: dict[str, str] = {}
        back: dict[int, int] = {}
        for token in added:
            text = token.content
            if any(text in part for part in own):
                names[text] = name = f"<{marker}-{len(names)}>"
                tokenizer.add_tokens(
                    [AddedToken(name, lstrip=token.lstrip, rstrip=token.rstrip, normalized=False)]
                )
                back[tokenizer.convert_tokens_to_ids(name)] = tokenizer.convert_tokens_to_ids(text)
        named = [self._added.sub(lambda match: names[match[0]], part) for part in own]
        return tokenizer, named, back


def _woven(own: Sequence[str], put_in: Sequence[str]) -> str:
    """Return a text of the template's parts with one of the other texts between any two."""
    return "".join(part + text for part, text in zip(own, [*put_in, ""], strict=True))
