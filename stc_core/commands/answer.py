"""Ask one question about one video."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from stc_core.commands.common import (
    AsJson,
    Attn,
    Device,
    Dtype,
    FramePixels,
    Frames,
    Model,
    Quantization,
    method_named,
    progress_bar,
    user_errors,
)
from stc_core.errors import InputError
from stc_core.text import checked_text


def answer(
    video: Annotated[Path, typer.Argument(help="A video file.")],
    question: Annotated[str, typer.Argument(help="A question about it, in plain text.")],
    model: Model = None,
    method: Annotated[str, typer.Option(help="Compression method.")] = "stc",
    retention: Annotated[float, typer.Option(help="Share of video tokens kept, (0, 1].")] = 0.02,
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
    positions: Annotated[str, typer.Option(help="original or compact.")] = "original",
    frames: Frames = None,
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
    baseline: Annotated[bool, typer.Option(help="Also answer without compression.")] = False,
    trace: Annotated[Path | None, typer.Option(help="Write the trace to this .npz file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask one question about one video."""
    with user_errors():
        checked_text(question, "the question", sys.maxsize)  # the model says how long it may be
        from stc_core.answering.video import check_video

        check_video(video)  # before a model is loaded, and what loads models
        from stc_core.answering.answer import answer as ask
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
        if trace is not None and not trace.parent.is_dir():
            raise InputError(f"the folder {trace.parent} for the trace does not exist; create it")
        if trace is not None and trace.is_dir():
            raise InputError(f"{trace} is a folder; name a file for the trace")
        vlm = load(
            model,
            device=device,
            dtype=dtype,
            attn=attn,
            quantization=quantization,
            frame_pixels=frame_pixels,
            adapter=adapter,
        )
        with progress_bar() as progress:
            result = ask(
                vlm,
                video,
                question,
                chosen,
                frames=frames,
                start=start,
                end=end,
                track=track,
                baseline=baseline,
                record=trace is not None,
                progress=progress,
            )
        if trace is not None:
            result.trace.save(trace)
        found = result.trace
        if as_json:
            record = {
                "answer": result.text,
                "logprob": result.logprob,
                "uncompressed": found.baseline.get("answer"),
                "question": question,
                "video": str(video),
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
        print(result.text)
        for note in found.notes:
            print(f"note: {note}", file=sys.stderr)
        steps = " -> ".join(str(count) for count in found.alive())
        print(f"{steps} video tokens, {found.method}", file=sys.stderr)
        if found.baseline:
            print(f"uncompressed: {found.baseline['answer']}", file=sys.stderr)
