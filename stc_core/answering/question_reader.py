"""Tokenize a prompt in one go, its question as mere text and at known places."""

from __future__ import annotations

import copy
import re
from typing import Any

from tokenizers import AddedToken
from transformers import BatchEncoding

from stc_core.models.stock import StockProcessor


class QuestionReader:
    """Replace a processor's tokenizer; put the question where a marker stands, then tokenize.

    A processor writes the placeholders of a video into the text and gives all of it to its
    tokenizer. The question comes in only then, so that nothing in it is a placeholder, and in one
    go with the text around it, so that the tokens are those of the whole text.

    Parameters
    ----------
    tokenizer
        A fast tokenizer.
    marker : str
        Occurs once in every text.
    question : str

    Attributes
    ----------
    asked : range
        Places of the question's tokens in the text that was read last.
    """

    def __init__(self, tokenizer: Any, marker: str, question: str) -> None:
        self._tokenizer, self._marker, self._question = tokenizer, marker, question
        self.asked = range(0)

    @classmethod
    def of(
        cls, processor: StockProcessor, marker: str, question: str
    ) -> tuple[StockProcessor, QuestionReader]:
        """Return a processor that reads through a reader, and the reader; the original is left."""
        reader = cls(processor.tokenizer, marker, question)
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
        before, _, after = whole.partition(self._marker)
        tensors = options.pop("return_tensors", None)
        bos = self._tokenizer.bos_token
        if bos is not None and before.startswith(bos):  # the template writes it itself
            options["add_special_tokens"] = False
        tokenizer, sides = self._tokenizer, (before, after)
        back: dict[int, int] = {}
        if self._special(before + self._question + after) != self._special(before, after):
            tokenizer, sides, back = self._guarded(before, after)
            options["split_special_tokens"] = True
        found = tokenizer([self._question.join(sides)], return_offsets_mapping=True, **options)
        first, last = len(sides[0]), len(sides[0]) + len(self._question)
        [offsets] = found.pop("offset_mapping")
        inside = [
            place
            for place, (start, end) in enumerate(offsets)
            if start < end and start < last and end > first
        ]
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

    def _guarded(self, before: str, after: str) -> tuple[Any, tuple[str, str], dict[int, int]]:
        """Give the template's own special tokens names that no question has.

        Returns
        -------
        tokenizer
            A copy that knows these names, and with ``split_special_tokens`` no other.
        sides
            The texts with these names.
        back
            Token id of each name -> that of the token it stands for.
        """
        tokenizer = copy.deepcopy(self._tokenizer)
        added = tokenizer.added_tokens_decoder.values()
        tokenizer.add_tokens(  # or splitting special tokens would leave these whole
            [AddedToken(token.content, special=True) for token in added if not token.special],
            special_tokens=True,
        )
        names: dict[str, str] = {}
        back: dict[int, int] = {}
        for token in added:
            text = token.content
            if text in before or text in after:
                names[text] = name = f"<{self._marker}-{len(names)}>"
                tokenizer.add_tokens(
                    [AddedToken(name, lstrip=token.lstrip, rstrip=token.rstrip, normalized=False)]
                )
                back[tokenizer.convert_tokens_to_ids(name)] = tokenizer.convert_tokens_to_ids(text)
        first, second = (
            self._added.sub(lambda match: names[match[0]], side) for side in (before, after)
        )
        return tokenizer, (first, second), back
