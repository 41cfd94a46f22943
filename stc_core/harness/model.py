"""The model class that lmms-eval runs: a Video-LLM whose video tokens are compressed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.protocol import ChatMessages
from loguru import logger
from tqdm import tqdm

from stc_core.answering.answer import Answer, answer
from stc_core.answering.generation import endings_of
from stc_core.answering.video import Video
from stc_core.commands.common import method_named
from stc_core.errors import InputError
from stc_core.harness import requests as reading
from stc_core.hooks.run_cache import RunCache
from stc_core.models.loading import load


class StcModel(lmms):
    """Answer the questions of lmms-eval's tasks with compressed video tokens. ::

        lmms-eval --model stc --tasks videomme --model_args \\
            pretrained=llava-hf/llava-onevision-qwen2-7b-ov-hf,method=stc,retention=0.02

    Parameters
    ----------
    pretrained : str
        Checkpoint folder or hub id; "embedded" for the teaching model.
    method : str
        A name in ``METHODS``, or "none" for the uncompressed model.
    retention : float
        Share of the video tokens that enter the LLM.
    frames : int, optional
        Frames to sample; default: the model's own.
    device, device_map, dtype, attn, quantization, adapter, frame_pixels
        As for ``load``; device_map "auto" is device "auto".
    batch_size
        1: one prompt with one video at a time.
    traces : str, optional
        A folder that gets the trace of every answer, ``TASK-DOCUMENT.npz``; the page opens them.
    settings
        Options of the method, such as ``tau=0.8``.

    Raises
    ------
    InputError
        A setting that does not fit, or a checkpoint that cannot be opened.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str = "embedded",
        method: str = "stc",
        retention: float = 0.02,
        frames: int | None = None,
        device: str | None = None,
        device_map: str | None = None,
        dtype: str | None = None,
        attn: str = "sdpa",
        quantization: str | None = None,
        adapter: str | None = None,
        frame_pixels: int | None = None,
        batch_size: int | str | None = 1,
        max_batch_size: int | None = None,
        traces: str | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        if str(batch_size) not in ("1", "None", "auto"):
            raise InputError(f"batch_size must be 1, one video at a time, not {batch_size!r}")
        if method == "none":
            if settings:
                raise InputError(f"the uncompressed model has no setting {sorted(settings)[0]!r}")
            self.method = method_named("uniform", retention=1.0)
        else:
            self.method = method_named(method, retention=retention, **settings)
        self.vlm = load(
            None if pretrained == "embedded" else pretrained,
            device=device_map or device,
            dtype=dtype,
            attn=attn,
            quantization=quantization,
            adapter=adapter,
            frame_pixels=frame_pixels,
        )
        self.frames = frames
        self.folder = None if traces is None else Path(traces)
        self.cache = RunCache()
        self._warned: set[str] = set()

    @property
    def device(self) -> Any:
        """Return the device that gathers counts of several processes."""
        return self.vlm.device

    def generate_until(self, requests: list[Instance]) -> list[GenerationResult]:
        """Answer each request greedily, questions about one video one after the other."""
        found: dict[int, GenerationResult] = {}
        with tqdm(total=len(requests), disable=self.rank != 0, desc="answers") as bar:
            asked = [self._asked(request) for request in requests]
            for place in _by_video([said for said, *_ in asked]):
                said, settings, document, task = asked[place]
                if reading.samples(settings):
                    self._warn(f"{task} asks for sampling or beams; answers are greedy")
                one = self._ask(said, reading.longest(settings), (), f"{task}-{document}")
                counts = TokenCounts(
                    input_tokens=one.costs.text_tokens + one.costs.tokens_llm,
                    output_tokens=one.costs.generated_tokens,
                )
                found[place] = GenerationResult(reading.until(one.text, settings), counts)
                bar.update()
        return [found[place] for place in range(len(requests))]

    def loglikelihood(self, requests: list[Instance]) -> list[reading.Likelihood]:
        """Return (mean negative log-probability per token, said by itself) of each continuation.

        The first number is what lmms-eval's own models return and its tasks minimize: the loss, the
        answer's end included. The continuations of one document share one run.
        """
        groups: dict[tuple, list[int]] = {}
        for place, request in enumerate(requests):
            question, _, _, document, task, split = request.args
            groups.setdefault((question, document, task, split), []).append(place)
        found: dict[int, reading.Likelihood] = {}
        with tqdm(total=len(requests), disable=self.rank != 0, desc="answers") as bar:
            for (question, document, task, split), places in groups.items():
                doc = self.task_dict[task][split][document]
                texts = [_continuation(requests[place].args[1], doc) for place in places]
                video = reading.shown(requests[places[0]].args[2](doc))
                said = reading.Asked(video, question)
                one = self._ask(said, 64, tuple(dict.fromkeys(texts)), f"{task}-{document}")
                for place, text in zip(places, texts, strict=True):
                    tokens = len(endings_of(self.vlm, (text,))[text])
                    loss = -one.scores[text] / tokens
                    found[place] = reading.Likelihood(loss, one.text.strip() == text)
                bar.update(len(places))
        return [found[place] for place in range(len(requests))]

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Refuse tasks of several rounds."""
        raise InputError("tasks of several rounds are not supported; choose one that asks once")

    def _asked(self, request: Instance) -> tuple[reading.Asked, Mapping[str, Any], Any, str]:
        """Return the question of a request, its generation settings, document and task."""
        _, messages_of, settings, document, task, split = request.args
        messages = messages_of(self.task_dict[task][split][document])
        said = reading.asked(ChatMessages(messages=messages).messages)
        return said, settings, document, task

    def _ask(self, said: reading.Asked, longest: int, score: tuple[str, ...], name: str) -> Answer:
        """Ask one question, and keep its trace where traces are wanted."""
        one = answer(
            self.vlm,
            said.video,
            said.question,
            self.method,
            frames=None if isinstance(said.video, Video) else self.frames,
            system=said.system,
            history=said.history,
            score=score,
            max_new_tokens=longest,
            cache=self.cache,
            start=said.start,
            end=said.end,
        )
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            one.trace.save(self.folder / f"{_file_name(name)}.npz")
        return one

    def _warn(self, sentence: str) -> None:
        """Say something once."""
        if sentence not in self._warned:
            self._warned.add(sentence)
            logger.warning(sentence)


class StcSimpleModel(StcModel):
    """Answer tasks in lmms-eval's older form, which alone has likelihoods: ``--force_simple``."""

    is_simple = True

    def _asked(self, request: Instance) -> tuple[reading.Asked, Mapping[str, Any], Any, str]:
        question, settings, visual_of, document, task, split = request.args
        video = reading.shown(visual_of(self.task_dict[task][split][document]))
        return reading.Asked(video, question), settings, document, task


def _by_video(asked: list[reading.Asked]) -> list[int]:
    """Return the places of the questions, those about one file next to each other."""
    first: dict[Any, int] = {}
    keys = [
        said.video if isinstance(said.video, str) else place for place, said in enumerate(asked)
    ]
    return sorted(range(len(asked)), key=lambda place: first.setdefault(keys[place], place))


def _continuation(target: str | Callable[[Any], str], doc: Any) -> str:
    """Return the text whose likelihood is asked for."""
    return str(target(doc) if callable(target) else target).strip()


def _file_name(name: str) -> str:
    """Return a name in which only letters, digits, dots, dashes and underscores are left."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name)
