"""Hold what several commands share: options, progress, errors as one sentence, methods by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from stc_core.errors import InputError

Model = Annotated[
    str | None,
    typer.Option(help="Checkpoint folder or hub id; default: the embedded teaching model."),
]
Device = Annotated[
    str | None,
    typer.Option(help="cuda, mps or cpu, or auto for all GPUs; default: the first there is."),
]
Dtype = Annotated[
    str | None, typer.Option(help="bfloat16, float16 or float32; default: what suits the device.")
]
Attn = Annotated[str, typer.Option(help="sdpa, eager or flash_attention_2.")]
Quantization = Annotated[str | None, typer.Option(help="4bit or 8bit, by bitsandbytes.")]
FramePixels = Annotated[
    int | None,
    typer.Option(
        help="Most pixels of a frame, for Qwen2-VL and later; default: 768 tokens' worth."
    ),
]
Frames = Annotated[int | None, typer.Option(help="Frames to sample; default: the model's own.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def method_named(name: str, **settings):
    """Return the method of that name with those of these settings that are not None."""
    from stc_core.methods import METHODS

    if name.lower() not in METHODS:
        raise InputError(f"there is no method {name!r}; choose one of {', '.join(METHODS)}")
    kind = METHODS[name.lower()]
    given = {field: value for field, value in settings.items() if value is not None}
    for field in given:
        if field not in kind.__dataclass_fields__:
            option = field.replace("_", "-")
            raise InputError(f"the method {name.lower()} has no --{option}; leave it out")
    return kind(**given)


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn a user's error into one sentence and exit code 2; other errors keep their traceback."""
    try:
        yield
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        raise typer.Exit(130) from None


@contextmanager
def progress_bar():
    """Yield a progress callback (stage, share 0..1) that draws one bar on stderr."""
    from tqdm import tqdm

    with tqdm(
        total=100, file=sys.stderr, bar_format="{l_bar}{bar}| {elapsed}", leave=False
    ) as shown:

        def progress(stage: str, share: float) -> None:
            shown.update(max(0, round(100 * share) - shown.n))
            if shown.desc != f"{stage}: ":
                shown.set_description(stage)  # and draw, however soon after the stage before

        yield progress


@contextmanager
def answer_counter():
    """Yield two callbacks, (sentence) and (done, total), that share stderr with one bar."""
    from tqdm import tqdm

    with tqdm(file=sys.stderr, unit=" answers", leave=False, dynamic_ncols=True) as shown:

        def on_answer(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield lambda sentence: shown.write(sentence, file=sys.stderr), on_answer
