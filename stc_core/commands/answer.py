"""Ask one question about one video."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from stc_core.commands.common import (
    AsJson,
    Attn,
    Device,
    Dtype,
    FramePixels,
    Model,
    Quantization,
    method_named,
    progress_bar,
    typed_answer,
    user_errors,
)
from stc_core.errors import InputError
from stc_core.text import checked_text
from stc_core.writing import check_target


def answer(
    context: typer.Context,
    video: Annotated[
        str, typer.Argument(help="A video file. With --cache, the question stands here.")
    ],
    question: Annotated[
        str | None, typer.Argument(help="A question about it, in plain text.")
    ] = None,
    model: Model = None,
    method: Annotated[
        str, typer.Option(help="Compression method, or several: 'SToP(VisionZip())'.")
    ] = "stc",
    retention: Annotated[
        float | None, typer.Option(help="Share of video tokens kept, (0, 1]; default: 0.02.")
    ] = None,
    tau: Annotated[
        float | None, typer.Option(help="Cosine from which a token is redundant; stc: 0.7.")
    ] = None,
    cluster_ratio: Annotated[
        float | None, typer.Option(help="Share of the budget for clusters; stc: 0.3.")
    ] = None,
    layer: Annotated[int | None, typer.Option(help="K; stc: 18/28 of the depth.")] = None,
    keep_inside: Annotated[
        float | None, typer.Option(help="R, share kept after layer K; stc: 0.5.")
    ] = None,
    lam: Annotated[
        float | None, typer.Option(help="Weight of similarity in the relevance; stc: 0.5.")
    ] = None,
    positions: Annotated[
        str | None, typer.Option(help="original or compact; default: original.")
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option(
            help="Frames to sample; default: the model's own. auto: at most these, those that "
            "differ among --candidates, and as many tokens."
        ),
    ] = None,
    candidates: Annotated[
        int | None, typer.Option(help="With --frames auto: frames to look at; default: 128.")
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    attn: Attn = "sdpa",
    quantization: Quantization = None,
    frame_pixels: FramePixels = None,
    adapter: Annotated[
        str | None, typer.Option(help="Folder or hub id of a PEFT adapter of the model.")
    ] = None,
    start: Annotated[float, typer.Option(help="Second of the video to begin at.")] = 0.0,
    end: Annotated[
        float | None, typer.Option(help="Second to end at; default: the video's end.")
    ] = None,
    track: Annotated[
        int | None, typer.Option(help="Video track, from 0; default: the file's own choice.")
    ] = None,
    allow_url: Annotated[
        bool, typer.Option("--allow-url", help="Download a video that is named by its address.")
    ] = False,
    baseline: Annotated[bool, typer.Option(help="Also answer without compression.")] = False,
    trace: Annotated[Path | None, typer.Option(help="Write the trace to this .npz file.")] = None,
    save_cache: Annotated[
        Path | None,
        typer.Option(help="Write the compressed KV cache to this file, to ask on with --cache."),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Ask on from a file of --save-cache; names no video.")
    ] = None,
    as_json: AsJson = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Print the answer while it is written.")
    ] = False,
) -> None:
    """Ask one question about one video."""
    with user_errors():
        if stream and as_json:
            raise InputError("--stream prints plain text as it comes; leave out --json")
        shown, asked = _named(context, video, question, cache)
        count = _frames(frames)
        checked_text(asked, "the question", sys.maxsize)  # the model says how long it may be
        for file, what in ((trace, "trace"), (save_cache, "cache")):
            if file is not None:
                check_target(file, what)
        from stc_core.answering.download import is_url
        from stc_core.answering.video import check_video

        if shown is not None and not (allow_url and is_url(shown)):
            check_video(shown)  # before a model is loaded, and what loads models
        if cache is not None and not cache.is_file():
            raise InputError(f"there is no file {str(cache)!r}; check the path")
        from stc_core.answering.answer import answer as ask
        from stc_core.answering.cached import load_conversation
        from stc_core.models.loading import load

        chosen = method_named(
            method,
            retention=retention,
            tau=tau,
            cluster_ratio=cluster_ratio,
            layer=layer,
            keep_inside=keep_inside,
            lam=lam,
            positions=positions,
        )
        vlm = load(
            model,
            device=device,
            dtype=dtype,
            attn=attn,
            quantization=quantization,
            frame_pixels=frame_pixels,
            adapter=adapter,
        )
        talk = None if cache is None else load_conversation(cache, vlm)
        with typed_answer() if stream else progress_bar() as told:
            progress, on_piece = told if stream else (told, None)
            if talk is not None:
                result = talk.ask(asked, progress=progress, on_piece=on_piece)
            else:
                result = ask(
                    vlm,
                    video,
                    asked,
                    chosen,
                    frames=count,
                    candidates=candidates,
                    start=start,
                    end=end,
                    track=track,
                    allow_url=allow_url,
                    baseline=baseline,
                    record=trace is not None,
                    keep_cache=save_cache is not None,
                    progress=progress,
                    on_piece=on_piece,
                )
        if save_cache is not None and result.conversation is not None:
            result.conversation.save(save_cache)
        if trace is not None:
            result.trace.save(trace)
        found = result.trace
        if as_json:
            record = {
                "answer": result.text,
                "logprob": result.logprob,
                "uncompressed": found.baseline.get("answer"),
                "question": asked,
                "video": shown,
                "model": found.model,
                "method": found.method,
                "grid": [found.grid.frames, found.grid.rows, found.grid.cols],
                "tokens": found.alive(),
                "fates": found.counts(),
                "costs": found.costs,
                "uncompressed_costs": found.baseline.get("costs"),
                "notes": list(found.notes),
                "trace": None if trace is None else str(trace),
            }
            print(json.dumps(record, ensure_ascii=False))
            return
        if not stream:
            print(result.text)
        for note in found.notes:
            print(f"note: {note}", file=sys.stderr)
        steps = " -> ".join(str(count) for count in found.alive())
        print(f"{steps} video tokens, {found.method}", file=sys.stderr)
        if found.baseline and not stream:
            print(f"uncompressed: {found.baseline['answer']}", file=sys.stderr)


FIRST = """method retention tau cluster_ratio layer keep_inside lam positions frames candidates
    start end track allow_url baseline""".split()  # chosen with the first question of a cache


def _named(
    context: typer.Context, video: str, question: str | None, cache: Path | None
) -> tuple[str | None, str]:
    """Return the video, None with a cache, and the question."""
    if cache is None:
        if question is None:
            raise InputError("a question is missing; write it after the video, in quotes")
        return video, question
    if question is not None:
        raise InputError("--cache goes on about its own video; give the question alone")
    for name in FIRST:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = name.replace("_", "-")
            raise InputError(f"--{option} belongs to the first question of a cache; leave it out")
    return None, video


def _frames(text: str | None) -> int | Literal["auto"] | None:
    """Read --frames: a whole number, which is checked where the video is read, or "auto"."""
    if text == "auto":
        return "auto"
    try:
        return None if text is None else int(text)
    except ValueError:
        raise InputError(f"--frames must be a whole number or auto, not {text!r}") from None
