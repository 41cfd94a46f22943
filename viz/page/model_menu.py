"""Offer the models that visitors may choose, one of them in memory at a time.

The operator decides what may be chosen (``stc-app --model ... --allow ...``). A visitor
sends a name; it is looked up among those, or, with ``--allow any``, on the model hub, and never
becomes a path of this machine.
"""

from __future__ import annotations

import gc
import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from stc_core.errors import InputError
from viz.page import cards
from viz.page.guard import LAST, closed
from viz.server.runner import LOADING, Unavailable, failure, sentence

log = logging.getLogger(__name__)

EMBEDDED = "embedded"
ANY = "any"  # of --allow: whatever is on the hub
HUB = "hub:"  # before a name that a visitor typed
HUB_ID = r"\w[\w.-]{0,95}/\w[\w.-]{0,95}"

Open = Callable[[str | None, Callable[[str, int], None]], Any]
Look = Callable[[str | None, int], Any]


@dataclass(frozen=True)
class Library:
    """Say how this process opens models; the page itself knows neither torch nor the hub.

    Attributes
    ----------
    open : callable
        (name, on_download) -> model. A name that begins with ``HUB`` is one of the hub and nothing
        else; None is the embedded one.
    look : callable
        (name, bytes that will be freed) -> what to say of its memory, as text.
    close : callable
        Called after a model was let go, so that its memory is given back.
    """

    open: Open
    look: Look
    close: Callable[[], None]


class Models:
    """Hold the choice of models, and the one that is loaded.

    Only the thread that holds the model for a run (``Runner``) may call ``use``: a run that has
    begun ends before another model takes the place.

    Parameters
    ----------
    names : sequence of str or None
        Folders and hub ids of the operator, the first one to start with; None: the embedded model.
    library : Library
    hub : bool
        Whether visitors may name any model of the hub.
    known : sequence of str
        Names on the hub to offer then.
    """

    def __init__(
        self,
        names: Sequence[str | None],
        library: Library,
        hub: bool = False,
        known: Sequence[str] = (),
    ) -> None:
        self.hub, self._library = hub, library
        self._sources: dict[str, str | None] = {}
        for name in names:
            self._sources.setdefault(_label(name), name)
        self.labels = list(dict.fromkeys([*self._sources, *(known if hub else ())]))
        self._held: tuple[str, Any] | None = None
        self._asking = threading.Lock()

    @property
    def first(self) -> str:
        """Return the label of the model to start with."""
        return self.labels[0]

    @property
    def choice(self) -> bool:
        """Tell whether there is anything to choose."""
        return self.hub or len(self.labels) > 1

    def source(self, label: object) -> str | None:
        """Return what the library opens for a label; ``InputError`` for one that is not allowed."""
        text = label.strip() if isinstance(label, str) else ""
        if text in self._sources:
            return self._sources[text]
        if self.hub and re.fullmatch(HUB_ID, text):
            return f"{HUB}{text}"
        if self.hub:
            raise InputError(
                "a model is named as on the hub, 'organisation/model'; choose one of the list, or "
                "type such a name"
            )
        raise InputError(f"this page offers {', '.join(self._sources)}; choose one of these models")

    def use(self, label: str | None = None, progress: Callable[[str, float], None] | None = None):
        """Return the model of that label, loaded if it is not the one in memory."""
        label = label or self.first
        source = self.source(label)
        if self._held is None or self._held[0] != label:
            report = progress or (lambda stage, share: None)
            report(LOADING, 0.0)
            self._held = None  # before the next one comes: one at a time on the device
            gc.collect()
            self._library.close()

            def tell(name: str, size: int) -> None:
                report(f"downloading {name}, {size / 1e9:.1f} GB", 0.0)

            try:
                self._held = label, self._library.open(source, tell)
            except InputError as error:
                raise Unavailable(str(error)) from error
        return self._held[1]

    def start(self) -> Models:
        """Load the first model; where it cannot be loaded, the log and every run on it say why."""
        try:
            self.use()
        except Exception as error:
            log.warning("the model %s could not be loaded: %s", self.first, sentence(error))
        return self

    def words(self, label: object) -> str:
        """Say in a sentence or two what memory the model of that label takes, or what is wrong."""
        with self._asking:  # one at a time: visitors may ask much faster than the hub answers
            try:
                return str(self._library.look(self.source(label), _size(self._held)))
            except Exception as error:
                return str(failure(error))


@dataclass(frozen=True)
class Menu:
    """Hold the components of the menu: the choice and the line under it."""

    model: gr.Dropdown
    note: gr.HTML


def menu(models: Models) -> Menu:
    """Lay out the menu; hidden where there is nothing to choose."""
    info = "Loaded at the next Run; runs that are under way end first."
    if models.hub:
        info += " Or type a name of the model hub: organisation/model."
    model = closed(
        gr.Dropdown(
            models.labels,
            value=models.first,
            label="Model",
            info=info,
            elem_id="model",
            allow_custom_value=models.hub,
            visible=models.choice,
            filterable=models.hub,
        )
    )
    return Menu(
        model, gr.HTML("", elem_id="model-note", visible=models.choice, apply_default_css=False)
    )


def wire(menu: Menu, models: Models) -> None:
    """Show how much memory the chosen model takes, once the menu was used."""
    quiet = {**LAST, "concurrency_id": "sizes"}

    def look(label: str) -> Iterator[str]:
        yield note("Looking at its size …")
        yield note(models.words(label))

    def first_look(label: str, said: str) -> Iterator[str]:
        if not said:
            yield from look(label)

    if models.choice:
        menu.model.focus(first_look, [menu.model, menu.note], menu.note, **quiet)
        menu.model.change(look, menu.model, menu.note, **quiet)


def note(words: str) -> str:
    """Return the line under the menu."""
    return f'<p class="model-note" role="status">{cards.escape(words)}</p>'


def _label(name: str | None) -> str:
    """Return what visitors read: the name on the hub, or the folder's own name, never its place."""
    if name is None:
        return EMBEDDED
    folder = Path(name).expanduser()
    return folder.resolve().name if folder.is_dir() else name


def _size(held: tuple[str, Any] | None) -> int:
    """Return the bytes of the weights of the model in memory."""
    model = getattr(held[1], "model", None) if held else None
    return model.get_memory_footprint() if hasattr(model, "get_memory_footprint") else 0
