"""Join a method, a stock model and a trace for one ``with``: ``compress(model, method)``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from stc_core.errors import InputError, moved
from stc_core.hooks.attention import attention_of_first, attention_received
from stc_core.hooks.claiming import occupy, unwrapped
from stc_core.hooks.kept_cache import KeptCache
from stc_core.hooks.probes import probe, probe_head, tower_calls
from stc_core.hooks.recording import leading_components
from stc_core.hooks.shortening import Door, Seam, Shortened
from stc_core.methods import Decision, Method
from stc_core.methods.base import check_method
from stc_core.methods.decided import Decided
from stc_core.models.contribution import (
    check_class_token,
    contribution_module,
    pooling_head,
    to_grid,
)
from stc_core.models.families import Family, family_of, layout_of, patch_grid
from stc_core.models.layout import ONE_VIDEO, Layout
from stc_core.models.stock import StockModel
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Stage
from stc_core.record.stopwatch import Stopwatch
from stc_core.record.trace import Trace
from stc_core.text import checked_text, readable


class LiveTrace(Trace):
    """Hold the trace of the last prefill inside a ``with compress``; empty until there was one."""

    def __init__(self) -> None:
        pass  # no fields yet: they come with the first prompt that holds a video

    def become(self, trace: Trace) -> None:
        """Take over every field of ``trace``."""
        self.__dict__.update(trace.__dict__)

    def freeze(self) -> Trace:
        """Return a plain ``Trace`` of what is here now."""
        return Trace(**{name: getattr(self, name) for name in Trace.__dataclass_fields__})

    def keep(self, cache: Any) -> KeptCache:
        """Keep the KV cache of the last prompt, to go on with it after the ``with``.

        Parameters
        ----------
        cache
            What ``generate`` handed back: ``output.past_key_values``, or ``output.cache`` since
            transformers 5.24. It is copied.

        Raises
        ------
        InputError
            It is not the cache of the last prompt, holds several rows or padding, or the ``with``
            has been left.
        """
        keep = self.__dict__.get("_keep")
        if keep is None:
            raise InputError("keep a cache inside the `with compress(...)` that filled it")
        return keep(cache, self.freeze())

    def __getattr__(self, name: str):
        if name in Trace.__dataclass_fields__:
            raise RuntimeError(
                "no video has passed through the model yet; call model.generate(**inputs) "
                "inside the `with compress(...)` first"
            )
        raise AttributeError(name)

    def __repr__(self) -> str:
        return super().__repr__() if "fate" in self.__dict__ else "LiveTrace(empty)"

    def _repr_html_(self) -> str | None:
        return super()._repr_html_() if "fate" in self.__dict__ else None  # then by ``repr``


@contextmanager
def compress(
    model: nn.Module,
    method: Method,
    *,
    watch: Stopwatch | None = None,
    seconds: np.ndarray | None = None,
    size: tuple[int, int] | None = None,
    seen: tuple[float, float, float, float] | None = None,
    frames: np.ndarray | None = None,
    question: str = "",
    record: bool = False,
) -> Iterator[LiveTrace]:
    """Compress the video tokens of every prompt that ``model`` sees inside the ``with``.

    ::

        with compress(model, STC(retention=0.02)) as trace:
            model.generate(**inputs)

    The stock model is hooked, not changed: afterwards, and after an exception, no hook, config or
    tensor is left. One prompt with one video at a time; rows that generation itself repeats
    (beams, several samples) are fine. One thread at a time per model.

    Parameters
    ----------
    model
        A stock Video-LLM of a family in ``stc_core.models.families``, in evaluation mode.
    method
        What decides; ``METHODS`` lists them.
    watch
        Adds up wall time under "compression".
    seconds, size, seen, frames, question
        For the trace: (T,) times of the grid's time steps in seconds, (height, width) of the source
        in pixels, (top, left, bottom, right) of what the encoder saw of it (default: all),
        (T, h, w, 3) uint8 pictures, the question.
    record
        Also keep the ``features`` of the trace; the watch is paused meanwhile. Its words and their
        attention need a tokenizer and come with ``answer(..., record=True)``.

    Yields
    ------
    LiveTrace
        A ``Trace`` that fills during prefill; each prompt with a video overwrites it.

    Raises
    ------
    InputError
        Unknown family, settings that do not fit the model, a static cache, several videos or
        prompts in one call, a wrong continuation of a compressed cache, a compiled model,
        ``compress`` within ``compress``.
    """
    check_method(method)
    stock = unwrapped(model)
    checked_text(question, "the question")
    family = family_of(stock.config)
    run = Run(stock, family, method, watch or Stopwatch())
    run.about = {"seconds": seconds, "frames": frames, "question": question}
    run.size, run.seen, run.record = size, seen, record
    with opened(run) as trace:
        yield trace


@contextmanager
def opened(run: Run) -> Iterator[LiveTrace]:
    """Hook a run into its model inside the ``with``; yield the trace that it fills."""
    stock, method = run.model, run.method
    compact = method.positions == "compact"
    entering = method.inside_visual == "change"
    seam = Seam(stock, run.at_door, run.layer, run.after_layer, run.later, compact, entering)
    with ExitStack() as stack:
        occupy(stock, stack)
        stack.enter_context(tower_calls(run.family.tower(stock), run.begin))
        stack.enter_context(run.signal())
        stack.enter_context(seam.open())
        stack.callback(run.trace.__dict__.pop, "_keep", None)
        run.trace.__dict__["_keep"] = partial(KeptCache.of, stock, seam)
        yield run.trace


class Run:
    """Do what happens between a prompt's vision tower and its last compressed layer."""

    def __init__(self, model: StockModel, family: Family, method: Method, watch: Stopwatch) -> None:
        self.model, self.family, self.method, self.watch = model, family, method, watch
        self.layer = method.inside_layer(len(model.get_decoder().layers))
        self.trace = LiveTrace()
        self.about: dict = {}
        self.size: tuple[int, int] | None = None
        self.seen: tuple[float, float, float, float] | None = None
        self.record = False
        self.features: np.ndarray | None = None
        self.scores: list[Tensor] = []  # (frames, patches) of the prompt under way, in turn
        self.grid_thw: Tensor | None = None  # where the tower was told the grid of patches
        self.encoded = False  # whether the tower ran since the last prompt
        self.layout: Layout  # of the shortened sequence; like all without a value, from a prompt on
        self.extras: list[int] = []  # placeholders on no cell, as the prompt gets shorter
        self.outside: Decision
        self.inside: Decision
        self.tokens: Tensor | None = None  # of the last prompt's video, where no cache keeps it
        self.again = False  # whether the decisions on the last prompt hold for this one
        self.grid: TokenGrid
        self.contribution: Tensor
        self.words: Tensor  # (q, d) embeddings of what follows the video, where a method asks

    def signal(self) -> AbstractContextManager[None]:
        """Return the probe in the vision tower that reads the method's contribution."""
        if isinstance(self.method, Decided):
            return nullcontext()
        if self.method.signal == "head":
            return probe_head(pooling_head(self.model, self.family), self.look_at_head)
        if self.method.signal == "cls":
            check_class_token(self.model, self.family)
        layer = self.method.contribution_layer
        return probe(contribution_module(self.model, self.family, layer), self.look)

    def begin(self, grid_thw: Tensor | None) -> None:
        """Note that the vision tower starts on a prompt."""
        self.scores, self.grid_thw, self.encoded = [], grid_thw, True

    @torch.no_grad()
    def look(self, query: Tensor, key: Tensor, scaling: float) -> None:
        """Keep what each patch of the vision tower receives, from all or from the class token."""
        with self.watch("compression"):
            read = attention_of_first if self.method.signal == "cls" else attention_received
            scores = read(query, key, scaling)
            first = int(self.family.class_token(self.model.config))
            self.scores.append(scores[:, first:])

    def look_at_head(self, weights: Tensor) -> None:
        """Keep what the probe of the pooling head pays to each patch."""
        self.scores.append(weights)

    def at_door(self, door: Door) -> Shortened | None:
        """Decide before the LLM and shorten the prompt. Gradients pass through the means."""
        grid_thw, self.encoded = self.grid_thw, False
        if grid_thw is not None and len(grid_thw) == len(door.embeds):
            grid_thw = grid_thw[:1]  # beams may repeat the video before the tower sees it
        layout = layout_of(self.model.config, door.ids, grid_thw)
        if layout is None:
            return None
        with self.watch("compression"):
            tokens = door.embeds[0, layout.tokens]
            self.again = door.again and self._shows_the_same(tokens.detach())
            self.tokens = None if door.cached else tokens.detach()
            if not self.again:
                with torch.no_grad():
                    self.outside = self._decide(layout, door, grid_thw, tokens)
            decision, self.scores = self.outside, []
            kept = layout.going(door.embeds.shape[1], decision.survivors).nonzero().flatten()
            embeds, deepstack = door.embeds, door.deepstack
            self.layout = layout
            if decision.changes:
                embeds = embeds[:, kept]
                self.layout = layout.after(kept, decision.survivors)
                embeds[:, self.layout.tokens] = decision.apply(tokens)
                rows = len(embeds)
                deepstack = tuple(
                    torch.cat([decision.apply(part) for part in added.chunk(rows)])
                    for added in deepstack
                )
            self.extras = [len(layout.extras), len(self.layout.extras)]
            if self.method.inside_text == "embeddings":
                # a copy: a view would hold on to the embeddings of all tokens
                self.words = door.embeds[0, layout.last + 1 :].detach().clone()
        if self.record and not self.again:
            with self.watch.paused():
                self.features = leading_components(tokens.detach())
        if self.layer is None and not self.again:
            self._write(None)
        return Shortened(kept, embeds, deepstack)

    def _shows_the_same(self, tokens: Tensor) -> bool:
        """Tell whether these are the last prompt's video tokens, not others with the same text."""
        before = self.tokens
        return before is not None and before.shape == tokens.shape and not _differ(tokens, before)

    def _decide(
        self, layout: Layout, door: Door, grid_thw: Tensor | None, tokens: Tensor
    ) -> Decision:
        """The method's decision about the tokens (N, d) of the video, by what the tower showed."""
        self.grid = self.grid_of(layout, door)
        if isinstance(self.method, Decided):
            self.contribution = self.method.contribution
            return self.method.outside(tokens, self.contribution, self.grid)
        self.contribution = self.heard(layout, grid_thw).to(door.embeds.device)
        return self._informed(layout, door).outside(tokens, self.contribution, self.grid)

    def heard(self, layout: Layout, grid_thw: Tensor | None) -> Tensor:
        """Return the contribution (N,) that the probe in the vision tower has read."""
        scores = torch.cat(self.scores)[: layout.frames]
        self._check(scores, patch_grid(self.model.config, grid_thw))
        return to_grid(self.model, self.family, scores, (layout.rows, layout.cols)).flatten()

    def _informed(self, layout: Layout, door: Door) -> Method:
        """Return the method, with the weights of frames where it asks for them."""
        layers = self.method.first_pass(len(self.model.get_decoder().layers))
        if layers is None:
            return self.method
        paid = door.first_pass(layers, layout.tokens).view(self.grid.frames, -1).sum(dim=1)
        return self.method.informed((paid / paid.sum()).tolist())

    def after_layer(
        self, hidden: Tensor, attention, entered: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Decide after layer K by the question, and shorten once more."""
        with self.watch("compression"):
            self.layout = self.layout.to(hidden.device)  # layers may be spread over several
            visual = self.layout.tokens
            text = torch.arange(self.layout.last + 1, hidden.shape[1], device=visual.device)
            if not self.again:
                with torch.no_grad():
                    read = attention(text, visual, self.method.inside_heads)
                    asked = hidden[0, text]
                    if self.method.inside_text == "embeddings":
                        asked = self.words[-len(text) :].to(hidden.device)
                    shown = hidden[0, visual]
                    if entered is not None:
                        wide = torch.promote_types(hidden.dtype, torch.float32)
                        shown = shown.to(wide) - entered[0, visual.to(entered.device)].to(shown)
                    self.inside = self.method.inside(shown, asked, read)
            decision = self.inside
            going = self.layout.going(hidden.shape[1], decision.survivors)
            kept = going.nonzero().flatten()
            self.extras.append(int(going[self.layout.extras].sum()))
            if decision.changes:
                merged = torch.stack([decision.apply(row[visual]) for row in hidden])
                hidden = hidden.clone()
                hidden[:, visual[decision.survivors]] = merged
            if not self.again:
                self._write(decision)
        return kept, hidden[:, kept]

    def later(self, ids: Tensor | None, compressed: bool) -> None:
        """Refuse a video among tokens that follow on a prompt.

        After a compressed prompt its tokens alone are none: a guess of assisted decoding may
        repeat them.
        """
        if compressed and not self.encoded:
            return
        if ids is not None and (ids == self.family.placeholder(self.model.config)).any():
            raise InputError(
                "this video does not stand in the first part of the prompt; call generate() once "
                "with all of it, without an earlier cache and without prefill_chunk_size"
            )

    def _check(self, scores: Tensor, patches: tuple[int, int]) -> None:
        """A map over anything but the patches would be drawn in the wrong places."""
        if scores.shape[1] != patches[0] * patches[1]:
            raise moved(
                f"the vision tower of this {self.family.name} holds {scores.shape[1]} places a "
                f"frame beside its class token where {patches[0]} x {patches[1]} patches belong"
            )

    def grid_of(self, layout: Layout, door: Door) -> TokenGrid:
        """Return the token grid of the one video in this prompt; refuses anything else."""
        first, others = door.embeds[:1], door.embeds[1:]
        if _differ(others, first):
            raise InputError(f"this call holds several prompts; {ONE_VIDEO}")
        seen = sum(map(len, self.scores))
        known = isinstance(self.method, Decided)
        if not known and seen not in (layout.frames, layout.frames * len(door.embeds)):
            raise InputError(
                f"the vision tower did not see the {layout.frames} frames of this prompt; give the "
                f"video's pixels with it, and {ONE_VIDEO}"
            )
        height, width = self.size or (0, 0)
        return TokenGrid(layout.frames, layout.rows, layout.cols, height, width, self.seen)

    def _write(self, inside: Decision | None) -> None:
        """Put this prompt into the trace."""
        n = self.grid.size
        stages = [Stage("outside", None, _numpy(self.outside.target), _numpy(self.outside.fate))]
        notes = {name: _numpy(values) for name, values in self.outside.notes.items()}
        if inside is not None:
            stage, found = _inside_stage(self.outside, inside, self.layer, n)
            stages.append(stage)
            notes |= found
        weight = _weight(self.outside, inside)
        about = dict(self.about)
        if about["seconds"] is not None and len(about["seconds"]) != self.grid.frames:
            raise InputError(
                f"{len(about['seconds'])} frame times were given for {self.grid.frames} frames"
            )
        self.trace.become(
            Trace.from_stages(
                self.grid,
                tuple(stages),
                weight=weight,
                contribution=_numpy(self.contribution),
                method=repr(self.method),
                model=_name(self.model),
                positions=self.method.positions,
                notes=(
                    *self.method.remarks(self.grid, len(self.outside.survivors)),
                    *self._notes(),
                ),
                features=self.features,
                **notes,
                **about,
            )
        )

    def _notes(self) -> tuple[str, ...]:
        notes = (self.family.note,) if self.family.note else ()
        if max(self.extras) < 2:  # none, or the one newline after a video
            return notes
        counts = " -> ".join(map(str, self.extras))
        return (
            *notes,
            f"Placeholders beside the video tokens (newlines, class tokens): {counts}; each stays "
            f"as long as one of its tokens does.",
        )


def _weight(outside: Decision, inside: Decision | None) -> np.ndarray:
    """Return (N,) float32: the share of each token in the one that carries it at the end."""
    weight, place = outside.shares(), outside.target.cpu()
    if inside is not None:
        later = torch.zeros_like(weight)
        later[outside.survivors.cpu()] = inside.shares()
        weight = torch.where(place >= 0, weight * later[place], 0.0)
    tiny = float(np.finfo(np.float32).tiny)  # a product of two faint shares would become none
    return torch.where(weight > 0, weight.clamp(min=tiny), 0.0).float().numpy()


def _inside_stage(
    outside: Decision, inside: Decision, layer: int | None, n: int
) -> tuple[Stage, dict[str, np.ndarray]]:
    """Return the decision inside the LLM in indices of the N tokens."""
    alive = _numpy(outside.survivors)
    target = np.full(n, -1, np.int64)
    carrier = _numpy(inside.target)
    target[alive] = np.where(carrier >= 0, alive[carrier], -1)
    fate = _numpy(outside.fate).copy()
    ended = np.setdiff1d(np.arange(len(alive)), _numpy(inside.survivors))
    fate[alive[ended]] = _numpy(inside.fate)[ended]
    notes = {}
    for name, values in inside.notes.items():
        missing = np.nan if values.is_floating_point() else -1
        notes[name] = np.full(n, missing, _numpy(values).dtype)
        notes[name][alive] = _numpy(values)
    return Stage("inside", layer, target, fate), notes


def _differ(tokens: Tensor, others: Tensor) -> bool:
    """Tell whether any (..., d) differ by more than what computing the same anew may change."""
    return bool(((tokens - others).norm(dim=-1) > 0.1 * others.norm(dim=-1)).any())


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def _name(model: StockModel) -> str:
    """Return the hub id of the model, or its folder's name; never a path."""
    name = getattr(model, "name_or_path", "") or type(model).__name__
    return readable(Path(name).name if Path(name).is_dir() else name)
