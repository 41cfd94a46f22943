"""The page: ``stc-app`` or ``python app.py`` serves it on this machine, with or without a network.

It opens on a saved trace; the model is loaded in the background, once the page is shown.
"""

from __future__ import annotations

import argparse
import functools
import logging
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz.environment import AUTH, GRADIOS, PREFIX, reach_itself, words

if TYPE_CHECKING:
    import gradio as gr

    from stc_core.hooks.run_cache import RunCache
    from viz.page.model_menu import Models
    from viz.server.runner import Runner
    from viz.server.shelf import Shelf

HERE = "127.0.0.1"  # this machine alone


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line and, behind it, the environment (``viz.environment``)."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog=f"Each option can be given in the environment, too: --model as {PREFIX}MODEL, "
        f"--allow-host as {PREFIX}ALLOW_HOST, with commas between several; "
        f"--host and --port as {' and '.join(GRADIOS.values())}.",
    )
    parser.add_argument("--model", help="hub id or folder of a model; default: the embedded one")
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="MODEL",
        help="another model that visitors may choose, again for more; 'any': all of the model hub",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1, auto, ...; default: the best there is")
    parser.add_argument("--dtype", help="bfloat16, float16 or float32; default: what suits")
    parser.add_argument("--quantization", choices=["4bit", "8bit"], help="needs bitsandbytes")
    parser.add_argument("--adapter", help="hub id or folder of a PEFT adapter of --model")
    parser.add_argument(
        "--frame-pixels",
        type=int,
        metavar="N",
        help="most pixels of a frame, where all models are Qwen2-VL or later; default: those of "
        "768 tokens",
    )
    parser.add_argument("--host", help="default: GRADIO_SERVER_NAME, else this machine only")
    parser.add_argument(
        "--port",
        type=int,
        help="default: GRADIO_SERVER_PORT, else the first free one from 7860",
    )
    parser.add_argument("--share", action="store_true", help="a public link through Gradio's relay")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name under which visitors reach this page, as that of a proxy; again for more",
    )
    parser.add_argument(
        "--auth",
        metavar="USER:PASSWORD",
        help=f"ask visitors for it; better in the environment variable {AUTH}, since other users "
        "of this machine can read the command line",
    )
    given = sys.argv[1:] if argv is None else argv
    args = parser.parse_args([*words(parser, os.environ), *given])
    args.host = args.host or HERE  # never left to Gradio: names are checked against it
    if args.port is not None and not 0 < args.port < 1 << 16:
        parser.error(f"--port and {GRADIOS['port']} take a number from 1 to 65535")
    if args.auth is not None:
        user, colon, password = args.auth.partition(":")
        if not (user and colon and password):
            parser.error(f"--auth and {AUTH} are written as user:password, neither of them empty")
        args.auth = (user, password)
    return args


def warn(args: argparse.Namespace) -> None:
    """Warn on stderr about who can reach the page, where that is not its operator alone."""
    from viz.server.hosts import is_loopback

    if is_loopback(args.host) and not args.share:
        return
    where = "through a public link" if args.share else f"through the host {args.host}"
    if args.auth is None:
        print(
            f"warning: anybody who reaches this page {where} can upload files to this machine and "
            f"use its model; ask for a password with --auth or {AUTH}, and see docs/hosting.md",
            file=sys.stderr,
        )
    elif not args.share:
        print(
            f"warning: this page is served {where} without TLS, so that passwords and videos can "
            "be read on the way; put a proxy with TLS before it, see docs/hosting.md",
            file=sys.stderr,
        )


def private_folder() -> Path:
    """Make a temporary directory of this process alone: Gradio serves whatever lies there."""
    from viz.server.process_folder import own_folder

    folder = own_folder()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # or nothing would be tidied up
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # else it calls out at every start
    return folder


class Work:
    """Open models and answer with them, for the page; heavy packages are imported when used.

    Parameters
    ----------
    place : dict
        Device, dtype, quantization and pixels of a frame, as ``stc_core.load`` takes them.
    model, adapter : str or None
        The model to start with, and the adapter that is loaded with it.
    """

    def __init__(
        self, place: dict[str, Any], model: str | None = None, adapter: str | None = None
    ) -> None:
        self._place, self._model, self._adapter = place, model, adapter

    def named(self, name: Any) -> Any:
        """Return what is to be loaded; a name chosen by a visitor is looked up on the hub alone."""
        from stc_core.models.hub import find
        from viz.page.model_menu import HUB

        return find(name.removeprefix(HUB)) if name and name.startswith(HUB) else name

    def open(self, name: Any, on_download: Any) -> Any:
        """Load a model, the first one with its adapter."""
        from stc_core import load

        adapter = self._adapter if name == self._model else None
        return load(self.named(name), adapter=adapter, **self._place, on_download=on_download)

    def look(self, name: Any, freed: Any) -> Any:
        """Estimate whether a model fits, without loading it."""
        from stc_core.models.fitting import fit

        return fit(self.named(name), **self._place, freed=freed)

    def close(self) -> None:
        """Drop what is cached for the model that is given up."""
        import torch

        self.cache.clear()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @functools.cached_property
    def cache(self) -> RunCache:
        """Return the cache of the last clips, so that a change runs only the steps it affects."""
        from stc_core.hooks.run_cache import RunCache

        return RunCache()

    def answer(
        self, models: Any, video: Any, question: str, method: str, progress: Any,
        model: str | None = None, **options: Any,
    ) -> Any:  # fmt: skip
        """Answer, or explain an answer, with the model that a visitor chose."""
        from stc_core.method_text import make_method
        from viz.server.rerun import answered

        vlm = models.use(model, progress)
        options |= {"progress": progress, "cache": self.cache}
        return answered(vlm, video, question, make_method(method), **options)


def hub_names() -> list[str]:
    """Return the names of checkpoints that stock classes open; torch is imported for it."""
    from stc_core.models.families import FAMILIES

    stock = [family for family in FAMILIES.values() if family.classes is None]
    return [name for family in stock for name in family.card.hub]


@dataclass(frozen=True)
class Parts:
    """Hold what the page and its endpoint for chats share."""

    runner: Runner
    shelf: Shelf
    models: Models


def parts(args: argparse.Namespace, served: Path) -> Parts:
    """Make them for these arguments; ``served`` is Gradio's temporary directory."""
    from viz.page.lent_gpu import is_lent, on_lent_gpu
    from viz.page.model_menu import ANY, Library, Models
    from viz.server.runner import Runner
    from viz.server.shelf import Shelf

    names = ("device", "dtype", "quantization", "frame_pixels")
    place = {name: getattr(args, name) for name in names}
    work = Work(place, args.model, args.adapter)
    others = [None, *(name for name in args.allow if name != ANY)] if args.allow else []
    known = hub_names() if ANY in args.allow else ()
    library = Library(work.open, work.look, work.close)
    models = Models([args.model, *others], library, ANY in args.allow, known)
    if is_lent():  # the process with the GPU inherits the model
        models.start()
        runner = Runner(lambda: models, on_lent_gpu(work.answer, models))
    else:
        runner = Runner(models.start, work.answer)
    return Parts(runner, Shelf(served / "shelf"), models)


def page(args: argparse.Namespace, made: Parts) -> gr.Blocks:
    """Build the page for these arguments."""
    from stc_core.assets_folder import assets_folder
    from viz.whole_page import build

    model = Path(args.model) if args.model else None
    demo = build(made.runner, made.shelf, assets_folder(), model, made.models)
    demo.queue(max_size=256)
    return demo


def settings(
    args: argparse.Namespace, served: Path, demo: gr.Blocks, made: Parts
) -> dict[str, Any]:
    """Return how the page is launched."""
    from starlette.middleware import Middleware

    from viz.page.chat import Chat
    from viz.page.gate import Gate, waiting_in
    from viz.page.theme import stylesheet, theme
    from viz.server.hosts import Hosts
    from viz.server.job import BIGGEST
    from viz.server.uploads import Uploads

    hosts = Hosts(args.host, args.allow_host, lambda: demo.share_url)
    uploads = Uploads(served)
    gate = Middleware(Gate, hosts=hosts, uploads=uploads, waiting=waiting_in(demo))
    chat = Chat(made.runner, made.shelf, made.models, uploads, args.auth)
    return {
        "server_name": args.host,
        "server_port": args.port,
        "share": args.share,
        "auth": args.auth,
        "theme": theme(),
        "css": stylesheet(),
        "max_file_size": BIGGEST,
        "run_history": False,
        "ssr_mode": False,
        "pwa": False,
        "footer_links": ["settings"],
        "show_error": False,
        "mcp_server": False,
        # whether Gradio asks its own server for the page, and gives up after three seconds
        "_frontend": False,
        "app_kwargs": {"middleware": [gate], "routes": chat.routes},
    }


def main(argv: list[str] | None = None) -> None:
    from stc_core.errors import InputError
    from stc_core.proxies import check_proxies
    from viz.page.lent_gpu import check_spaces, is_lent

    args = arguments(argv)
    try:
        check_proxies()
        if is_lent():
            check_spaces()
    except InputError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    warn(args)
    reach_itself(args.host, os.environ)
    served = private_folder()
    made = parts(args, served)
    demo = page(args, made)
    try:
        demo.launch(**settings(args, served, demo, made))
    except OSError as error:  # the port is taken, the host is not ours
        command, why = Path(sys.argv[0]).name, str(error).splitlines()[0]
        sys.exit(f"{command}: cannot serve on {args.host}: {why}")
