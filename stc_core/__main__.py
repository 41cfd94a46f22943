"""The command line.

``python -m stc_core answer | benchmark | speed | evaluate | train | clips | convert | models |
versions | long-video``.

Exit code 0: done; 1: done, but some videos could not be read, or a fault of this program, which
leaves a traceback; 2: the input cannot be used or the output cannot be written, with one sentence
on stderr that says why; 130: interrupted; 141: whoever read the output has closed it. Results go to
stdout, progress to stderr.
"""

from __future__ import annotations

import errno
import io
import sys

import typer

from stc_core.commands.answer import answer
from stc_core.commands.benchmark import benchmark
from stc_core.commands.clips import clips
from stc_core.commands.convert import convert
from stc_core.commands.evaluate import evaluate
from stc_core.commands.long_video import long_video
from stc_core.commands.models import models
from stc_core.commands.output import Output, Unwritten
from stc_core.commands.speed import speed
from stc_core.commands.train import train
from stc_core.commands.versions import versions

cli = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Video-token compression for Video-LLMs, with the fate of every token on record.",
)
for command in (answer, evaluate, benchmark, speed, train, clips, convert, models, versions):
    cli.command()(command)
cli.add_typer(long_video, name="long-video")


def main() -> None:
    """Run the command line in this process, to its exit."""
    if sys.stdout is None:  # closed by the caller: then nothing is printed
        cli()
    if isinstance(sys.stdout, io.TextIOWrapper):  # an answer may not fit into its encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    output = sys.stdout = Output(sys.stdout)
    try:
        try:
            cli()
        finally:
            output.flush()
    except Unwritten as unwritten:
        error = unwritten.__cause__
        output.give_up()
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            sys.exit(141)  # as a shell reports whoever writes into a closed pipe
        reason = getattr(error, "strerror", None) or error
        print(f"error: cannot write the output: {reason}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
