"""Make LLaVA-Video's prompts: placeholders for tokens and newlines, the frame times."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from transformers import BatchFeature
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin

from stc_core.errors import InputError

VIDEO, IMAGE = "<video>", "<image>"
FRAMES = 64  # the most that the published models were made for
NO_IMAGES = "LLaVA-Video takes no images beside a video; pass a picture as a video of one frame"
# ChatML as the models were tuned on: the default system line, the video, then the text on its line.
CHAT_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
    "{% endif %}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'video') %}"
    "{{ '<video>\\n' }}{% endfor %}"
    "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ part['text'] }}{% endfor %}"
    "{% endif %}"
    "{{ '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def time_instruction(seconds: Sequence[float] | np.ndarray, duration: float) -> str:
    """Return the sentence on frame times that the models were trained to read.

    Parameters
    ----------
    seconds : (T,) times of the sampled frames
    duration : of the whole video, in seconds
    """
    times = ",".join(f"{second:.2f}s" for second in seconds)
    return (
        f"The video lasts for {duration:.2f} seconds, and {len(seconds)} frames are uniformly "
        f"sampled from it. These frames are located at {times}. "
        f"Please answer the following questions related to this video."
    )


class LlavaVideoProcessor(ProcessorMixin):
    """Turn frames and text into inputs; ``<video>`` becomes T * rows * (cols + 1) placeholders.

    Parameters
    ----------
    video_processor, tokenizer : stock ones; the tokenizer holds ``<video>`` as a special token
    tokens_per_side : rows, and columns without the newline, of one frame
    covered : share of a frame's side, from its upper left corner, that lies in tokens
    chat_template : str
    """

    def __init__(
        self,
        video_processor=None,
        tokenizer=None,
        tokens_per_side=13,
        covered=1.0,
        chat_template=None,
    ) -> None:
        self.tokens_per_side, self.covered = tokens_per_side, covered
        self.video_token = VIDEO
        self.video_token_id = tokenizer.convert_tokens_to_ids(VIDEO)
        super().__init__(video_processor, tokenizer, chat_template=chat_template)

    def __call__(self, images=None, text=None, videos=None, **kwargs) -> BatchFeature:
        """text: str or list of str; videos: list of (T, 3, H, W) or of lists of T frames."""
        if images is not None:
            raise InputError(NO_IMAGES)
        options = self._merge_kwargs(
            ProcessingKwargs,  # type: ignore[arg-type]  # annotated as an instance of the class
            tokenizer_init_kwargs=self.tokenizer.init_kwargs,
            **kwargs,
        )
        text = [text] if isinstance(text, str) else list(text)
        asked = sum(sample.count(VIDEO) for sample in text)
        found: dict = {}
        runs: Iterator[str] = iter(())
        if videos is not None:
            found = dict(self.video_processor(videos, **options["videos_kwargs"]))
            place = VIDEO * (self.tokens_per_side * (self.tokens_per_side + 1))
            lengths = [len(video) for video in found["pixel_values_videos"]]
            runs = iter([place * length for length in lengths])
            found.pop("video_metadata", None)
        given = len(found.get("pixel_values_videos", ()))
        if asked != given:
            raise InputError(f"the text has {asked} {VIDEO} but {given} videos came with it")
        text = [re.sub(VIDEO, lambda _: next(runs), sample) for sample in text]
        tensors = options["text_kwargs"].pop("return_tensors", None)
        options["text_kwargs"].pop("return_mm_token_type_ids", None)
        tokens = self.tokenizer(text, **options["text_kwargs"])
        return BatchFeature({**tokens, **found}, tensor_type=tensors)
