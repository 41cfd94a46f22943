"""``load`` a Video-LLM and let it ``answer`` a question about a video, compressed and not."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from .compression import compress
from .costs import Costs, kv_cache_bytes, layers_after, paper_flops
from .errors import InputError
from .flops import LLMShape, VisionShape, inside_flops, outside_flops, real_flops
from .loading import VLM, load
from .memory import frames_that_fit
from .methods import STC, Method
from .prompt import build_prompt
from .seams import timed
from .stopwatch import Stopwatch
from .trace import Fate, Trace
from .video import Video, read_video, thumbnails

__all__ = ["VLM", "Answer", "answer", "load"]

Progress = Callable[[str, float], None]
GREEDY = {
    "do_sample": False, "num_beams": 1, "temperature": None, "top_p": None, "top_k": None,
}  # fmt: skip
PICTURE_SIDE = 256  # pixels, longer side of the frames that a trace carries
# how far each stage is through one run of the model, for a progress bar
SHARES = {"vision": 0.05, "compression": 0.5, "prefill": 0.55, "answer": 0.8}


@dataclass(frozen=True)
class Answer:
    """What the model said, and what became of the video on the way.

    Attributes
    ----------
    text : str
    trace : Trace
        The fate of every video token; its ``baseline`` holds the uncompressed run.
    costs : Costs
        Of the compressed run.
    """

    text: str
    trace: Trace
    costs: Costs


def answer(
    vlm: VLM,
    video: str | os.PathLike | Video,
    question: str,
    method: Method | None = None,
    *,
    frames: int | None = None,
    baseline: bool = False,
    max_new_tokens: int = 64,
    progress: Progress | None = None,
) -> Answer:
    """Ask one question about one video, greedily decoded.

    Parameters
    ----------
    vlm
        What ``load`` gives.
    video
        A file, or a ``Video`` that was read before.
    question
        Plain text. Whatever it contains stays text: no part of it becomes a special token.
    method
        The compressor; default ``STC()`` with the paper's settings.
    frames
        T, frames to sample; default: what the checkpoint records, else 32.
    baseline
        Also run the model without compression, before, and keep that answer and its costs in the
        trace.
    max_new_tokens
        Longest answer.
    progress
        Called with a stage and the share of all work done, 0 to 1. What it raises ends the run and
        leaves the model clean: the way to cancel.

    Raises
    ------
    InputError
        A video, question or setting that cannot be used, or too little GPU memory; one sentence.
    """
    method = STC() if method is None else method
    report = progress or (lambda stage, share: None)
    method.inside_layer(len(vlm.model.get_decoder().layers))  # refuse before the work, not after
    decode = _Reporter(vlm.device, report, 0.0, 0.1)
    if not isinstance(video, Video):
        with decode("decode"):
            video = read_video(
                video,
                vlm.frames if frames is None else frames,
                on_progress=lambda share: report("decode", 0.1 * share),
            )
    prompt = build_prompt(vlm, video.frames, question, max_new_tokens)
    reference: dict = {}
    start = 0.1
    if baseline:
        vlm.warm_up()  # or the first of the two runs would pay for what both need
        start = 0.55
        watch = _Reporter(vlm.device, report, 0.1, start, "uncompressed: ")
        text, generated = _generate(vlm, prompt, watch, max_new_tokens)
        costs = _costs(vlm, None, prompt, generated, watch, decode)
        reference = {"answer": text, "costs": costs.to_json()}
    watch = _Reporter(vlm.device, report, start, 1.0)
    about = {
        "seconds": video.seconds,
        "size": video.source_size,
        "frames": thumbnails(video.frames, PICTURE_SIDE),
        "question": question,
    }
    with compress(vlm.model, method, watch=watch, **about) as live:
        text, generated = _generate(vlm, prompt, watch, max_new_tokens)
    costs = _costs(vlm, live, prompt, generated, watch, decode)
    notes = [note for note in (video.warning, *prompt.notes) if note]
    trace = replace(
        live.freeze(),
        model=vlm.name,
        answer=text,
        costs=costs.to_json(),
        baseline=reference,
        notes=(*live.notes, *notes),
    )
    report("done", 1.0)
    return Answer(text, trace, costs)


class _Reporter(Stopwatch):
    """A stopwatch that tells of each stage as it starts, as a share of all work."""

    def __init__(
        self, device: str, report: Progress, start: float, end: float, prefix: str = ""
    ) -> None:
        super().__init__(device)
        self._report, self._start, self._end, self._prefix = report, start, end, prefix
        self._share = start

    def start(self, stage: str) -> None:
        if stage in SHARES:
            self.tell(stage, SHARES[stage])
        super().start(stage)

    def tell(self, stage: str, share: float) -> None:
        self._share = max(self._share, self._start + share * (self._end - self._start))
        self._report(self._prefix + stage, self._share)


def _generate(vlm: VLM, prompt, watch: _Reporter, limit: int) -> tuple[str, int]:
    """(answer, tokens generated). The watch learns of every token."""
    count = 0

    def step(ids: torch.Tensor, scores: torch.Tensor, **_) -> torch.Tensor:
        nonlocal count
        count += 1
        watch.token()
        watch.tell("answer", SHARES["answer"] + (1 - SHARES["answer"]) * count / limit)
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)

    inputs = prompt.inputs
    try:
        with torch.no_grad(), timed(vlm.model, watch):
            ids = vlm.model.generate(
                **inputs,
                **GREEDY,
                max_new_tokens=limit,
                stopping_criteria=[step],
            )
    except torch.OutOfMemoryError as error:
        raise InputError(frames_that_fit(vlm, prompt.frames)) from error
    new = ids[0, inputs["input_ids"].shape[1] :]
    return vlm.processor.decode(new, skip_special_tokens=True).strip(), count


def _costs(
    vlm: VLM, trace: Trace | None, prompt, generated: int, watch: Stopwatch, decode: Stopwatch
) -> Costs:
    """The costs of a finished run; trace None: nothing was compressed."""
    config = vlm.model.config
    llm, vision = LLMShape.from_config(config), VisionShape.from_config(config)
    full = prompt.video_tokens
    steps = [full] if trace is None else trace.alive()
    inside = None if trace is None else trace.stage("inside")
    layer = llm.layers - 1 if inside is None else inside.layer
    llm_tokens, end = steps[min(1, len(steps) - 1)], steps[-1]
    per_layer = layers_after(layer, llm.layers, llm_tokens, end)
    compression = 0
    if trace is not None:
        fates = np.bincount(trace.stage("outside").fate, minlength=len(Fate))
        compression = sum(
            outside_flops(
                full,
                llm.hidden,
                int(fates[Fate.KEPT]),
                int(fates[Fate.CENTER]),
                vision=vision,
                frames=prompt.frames,
            ).values()
        ) + inside_flops(llm, llm_tokens, end, prompt.text_after)
    parameter = next(vlm.model.parameters())
    seconds = {"decode": 0.0} | decode.seconds | watch.seconds
    return Costs(
        tokens_full=full,
        tokens_llm=llm_tokens,
        tokens_end=end,
        tokens_per_layer=tuple(per_layer),
        text_tokens=prompt.text_tokens,
        generated_tokens=generated,
        paper_flops=paper_flops(per_layer, llm.hidden, llm.ffn),
        real_flops=real_flops(
            llm,
            per_layer,
            prompt.text_tokens,
            generated,
            vision=vision,
            frames=prompt.frames,
            compression=compression,
        ),
        kv_bytes=kv_cache_bytes(
            [count + prompt.text_tokens for count in per_layer],
            llm.kv_heads,
            llm.head_dim,
            parameter.element_size(),
        ),
        seconds=seconds,
        seconds_per_token=tuple(watch.per_token),
        time_to_first_token=watch.first_token,
        peak_memory_bytes=watch.peak_memory_bytes(),
    )
