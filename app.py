"""The page: ``python app.py`` serves it on this machine, with or without a network.

It opens on a saved trace; the model is loaded in the background, once the page is shown.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import logging
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="hub id or folder of a model; default: the embedded one")
    parser.add_argument(
        "--allow", action="append", default=[], metavar="MODEL",
        help="another model that visitors may choose, again for more; 'any': all of the model hub",
    )  # fmt: skip
    parser.add_argument("--device", help="cpu, cuda, cuda:1, auto, ...; default: the best there is")
    parser.add_argument("--dtype", help="bfloat16, float16 or float32; default: what suits")
    parser.add_argument("--quantization", choices=["4bit", "8bit"], help="needs bitsandbytes")
    parser.add_argument("--host", default="127.0.0.1", help="default: this machine only")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860")
    parser.add_argument("--share", action="store_true", help="a public link through Gradio's relay")
    return parser.parse_args(argv)


def private_folder() -> Path:
    """Gradio's own temporary directory, this process's alone: whatever lies there is served."""
    folder = Path(tempfile.mkdtemp(prefix="video-tokens-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # or nothing would be tidied up
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # else it calls out at every start
    return folder


def main(argv: list[str] | None = None) -> None:
    args = arguments(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    folder = private_folder() / "shelf"

    place = {"device": args.device, "dtype": args.dtype, "quantization": args.quantization}

    def named(name):
        """What is to be loaded: of a visitor's word the hub alone knows what it means."""
        from stc_core.hub import find

        return find(name.removeprefix(HUB)) if name and name.startswith(HUB) else name

    def open_model(name, on_download):
        from stc_core import load

        return load(named(name), **place, on_download=on_download)

    def look(name, freed):
        from stc_core.fitting import fit

        return fit(named(name), **place, freed=freed)

    def close():
        import torch

        kept().clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @functools.cache
    def kept():
        """What was worked out for the clips seen last, so that a change runs only what it must."""
        from stc_core.vision import VisionCache

        return VisionCache()

    def answer(models, video, question, method, progress, model=None, **options):
        from stc_core import answer
        from viz.rerun import make_method

        vlm = models.use(model, progress)
        options |= {"progress": progress, "cache": kept()}
        return answer(vlm, video, question, make_method(method), **options)

    from viz.job import BIGGEST
    from viz.look import stylesheet, theme
    from viz.models import ANY, HUB, Library, Models
    from viz.page import build
    from viz.runs import Runner
    from viz.shelf import Shelf

    others = [None, *(name for name in args.allow if name != ANY)] if args.allow else []
    known = ()
    if ANY in args.allow:
        from stc_core.families import FAMILIES  # torch comes with them: the start takes longer

        stock = [family for family in FAMILIES.values() if family.classes is None]
        known = [name for family in stock for name in family.hub]
    library = Library(open_model, look, close)
    models = Models([args.model, *others], library, ANY in args.allow, known)
    runner, shelf, assets = Runner(models.start, answer), Shelf(folder), HERE / "assets"
    demo = build(runner, shelf, assets, Path(args.model) if args.model else None, models)
    demo.queue(max_size=32)
    try:
        demo.launch(
            server_name=args.host, server_port=args.port, share=args.share, theme=theme(),
            css=stylesheet(), max_file_size=BIGGEST, run_history=False, ssr_mode=False, pwa=False,
            footer_links=["settings"], show_error=True, mcp_server=False,
        )  # fmt: skip
    except OSError as error:  # the port is taken, the host is not ours
        sys.exit(f"app.py: cannot serve on {args.host}: {str(error).splitlines()[0]}")


if __name__ == "__main__":
    main()
