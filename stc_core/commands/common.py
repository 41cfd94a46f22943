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
    """Return the method of that name with those of these settings that are not None.

    Instead of a name also a text such as ``SToP(VisionZip(retention=0.1))``, which says its
    settings itself; of those given here only the retention is taken, for all that it is around.
    """
    from stc_core.methods import METHODS

    if "(" in name:
        from stc_core.method_text import RETENTION, make_method

        retention = settings.pop("retention", None)
        for field, value in settings.items():
            if value is not None:
                option = field.replace("_", "-")
                raise InputError(f"write {field} into the text of the method, without --{option}")
        method = make_method(name, RETENTION)
        return method if retention is None else method.at(retention)
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
def typed_answer():
    """Yield two callbacks, (stage, share 0..1) and (piece), that type answers as they come.

    The compressed one goes to stdout, the uncompressed one to stderr, where a bar is until then.
    """
    from tqdm import tqdm

    shown = tqdm(total=100, file=sys.stderr, bar_format="{l_bar}{bar}| {elapsed}", leave=False)
    run = None

    def progress(stage: str, share: float) -> None:
        if run is None:
            shown.update(max(0, round(100 * share) - shown.n))
            shown.set_description(stage)

    def on_piece(piece) -> None:
        nonlocal run
        shown.close()
        first = piece.run == "uncompressed"
        if piece.run != run and (first or run is not None):
            print("uncompressed: " if first else "\n", end="", file=sys.stderr)
        run = piece.run
        print(piece, end="", flush=True, file=sys.stderr if first else sys.stdout)

    with shown:
        yield progress, on_piece
    if run == "uncompressed":  # and the compressed answer is empty
        print(file=sys.stderr)
    print()


@contextmanager
def answer_counter():
    """Yield two callbacks, (sentence) and (done, total), that share stderr with one bar."""
    from tqdm import tqdm

    with tqdm(file=sys.stderr, unit=" answers", leave=False, dynamic_ncols=True) as shown:

        def on_answer(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield lambda sentence: shown.write(sentence, file=sys.stderr), on_answer
