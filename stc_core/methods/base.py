"""Define what every method shares: the ``Decision`` it returns, its budget, its checks."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from stc_core.errors import InputError
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import SURVIVORS, Fate

FAINTEST = 1e-30  # a weight smaller than this counts as this: who is carried has a share
CARRIED = 1 << 11  # tokens that are averaged at a time
FINE_GRID = 100  # tokens per frame from which the paper's rounding per frame is used


def precise(tensor: Tensor) -> Tensor:
    """Return the tensor in float64, or in float32 on devices that have none (MPS).

    Selection compares numbers, and in half precision equal tokens would not look equal.
    """
    return tensor.to(torch.float32 if tensor.device.type == "mps" else torch.float64)


def frame_means(tokens: Tensor, per_frame: int) -> Tensor:
    """Return (T, d): the mean token of each frame of (T * per_frame, d), as ``precise`` has it."""
    return torch.stack([precise(frame).mean(dim=0) for frame in tokens.split(per_frame)])


def settled(values: Tensor, grain: Tensor | None = None) -> Tensor:
    """Round, so that equal tokens tie exactly and the earlier one goes first.

    Matrix products may give equal columns results that differ in the last bits.

    Parameters
    ----------
    values : tensor
    grain : tensor, optional
        The results are multiples of it (``grain_of``). Default: 1e-12, for numbers that have no
        unit and reach about 1, such as cosines. Numbers in the features' unit need a grain in that
        unit, or the same clip with larger features would be compared otherwise.
    """
    if grain is None:
        return torch.round(values, decimals=12)
    return torch.round(values / grain) * grain


def grain_of(size: Tensor, bits: int) -> Tensor:
    """Return the power of two that is ``bits`` binary digits below the first digit of ``size``.

    Exact, so that features scaled by a power of two have their grain scaled by it.
    """
    mantissa = torch.frexp(size).mantissa
    power = torch.where(size > 0, size / mantissa, 1.0)
    return (power * 2.0**-bits).clamp(min=torch.finfo(size.dtype).tiny)


def round_half_up(value: float) -> int:
    """Return the nearest integer, halves up (Python's ``round`` takes halves to the even side)."""
    return math.floor(value + 0.5)


def paper_budget(retention: float, grid: TokenGrid) -> int:
    """Return B, the number of video tokens that enter the LLM, for a retention ratio.

    On grids as fine as the paper's, ``T * round(retention * tokens_per_frame)``: the only rounding
    under which its FLOPs column comes out (docs/method.md, section 2.1; 128 of 32 x 196 at 2 %).
    On coarse grids that rounding would distort the ratio (25 tokens per frame at 2 % would give
    none), so the whole video is rounded once. Never below one token.
    """
    if grid.per_frame >= FINE_GRID:
        budget = grid.frames * round_half_up(retention * grid.per_frame)
    else:
        budget = round_half_up(retention * grid.size)
    return min(max(budget, 1), grid.size)


def check_number(name: str, value: float, low: float, high: float, *, above: bool = False) -> None:
    """Raise ``InputError`` unless low <= value <= high (low < value with ``above``)."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not (low < value if above else low <= value) or not value <= high:
        raise InputError(
            f"{name} must be a number {'above' if above else 'from'} {low:g} "
            f"{'and at most' if above else 'to'} {high:g}, not {value!r}"
        )


def check_one_of(name: str, value: str, names: tuple[str, ...]) -> None:
    """Raise ``InputError`` unless value is one of two or more names."""
    if value not in names:
        *others, last = map(repr, names)
        raise InputError(f"{name} must be {', '.join(others)} or {last}, not {value!r}")


def check_features(name: str, tensor: Tensor, dims: int) -> None:
    """Raise ``InputError`` unless the tensor has ``dims`` axes and only finite numbers."""
    if tensor.ndim != dims:
        raise InputError(f"{name} must have {dims} dimensions, not the shape {tuple(tensor.shape)}")
    if tensor.numel() and not torch.isfinite(torch.stack(tensor.aminmax())).all():  # nan spreads
        raise InputError(f"{name} hold nan or infinite numbers; check the model's dtype and input")


def check_together(*tensors: Tensor) -> None:
    """Raise ``InputError`` unless all are on one device."""
    places = sorted({str(tensor.device) for tensor in tensors})
    if len(places) > 1:
        raise InputError(
            f"one step got tensors on {' and '.join(places)}; move all of them to one device first"
        )


def check_whole(name: str, value: int, low: int) -> None:
    """Raise ``InputError`` unless value is an integer of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise InputError(f"{name} must be a whole number from {low}, not {value!r}")


def check_outside(tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> None:
    """Raise ``InputError`` unless these are the finite inputs of one ``outside`` step."""
    check_together(tokens, contribution)
    check_features("video tokens", tokens, 2)
    check_features("contributions", contribution, 1)
    if not len(tokens) == len(contribution) == grid.size:
        raise InputError(
            f"{len(tokens)} tokens, {len(contribution)} contributions and a grid of {grid.size} "
            f"do not belong together"
        )


def check_inside(visual: Tensor, text: Tensor, attention: Tensor) -> None:
    """Raise ``InputError`` unless these are the finite inputs of one ``inside`` step."""
    check_together(visual, text, attention)
    for name, tensor in (
        ("hidden states of video tokens", visual),
        ("hidden states of text tokens", text),
        ("attention weights", attention),
    ):
        check_features(name, tensor, 2)
    if attention.shape != (len(text), len(visual)) or not len(text):
        raise InputError(
            f"attention of shape {tuple(attention.shape)} does not join {len(text)} text to "
            f"{len(visual)} video tokens"
        )


def check_layer(layer: int, depth: int) -> int:
    """Return the layer; ``InputError`` where a model of this depth has none after it."""
    if not 0 <= layer <= depth - 2:
        raise InputError(
            f"layer {layer} is outside this model: its {depth} layers allow 0 to {depth - 2}, "
            f"so that at least one layer follows"
        )
    return layer


@dataclass(frozen=True)
class Decision:
    """Hold the outcome of one compression step on N tokens: which go on, and which they carry.

    Attributes
    ----------
    survivors : (B,) int64, ascending
        Indices of the tokens that go on.
    target : (N,) int64
        Index of the survivor that carries token i; itself for a survivor; -1 for a dropped token.
    fate : (N,) uint8
        ``Fate`` of each token.
    notes : dict of str to (N,) tensors
        Numbers worth recording, by the name of a trace's field: floats such as ``similarity`` and
        ``relevance``, nan where not defined; integers such as ``order``, -1 where not defined.
    weight : (N,) float, optional
        Weight of token i, above 0, in the mean that its survivor becomes; ``apply`` scales the
        weights into one survivor to a sum of 1. Not read where the token is dropped. Default: the
        plain mean, each token counting once.
    """

    survivors: Tensor
    target: Tensor
    fate: Tensor
    notes: dict[str, Tensor] = field(default_factory=dict)
    weight: Tensor | None = None

    @classmethod
    def of(
        cls, fate: Tensor, target: Tensor, weight: Tensor | None = None, **notes: Tensor
    ) -> Decision:
        """Make the decision with these fates (N,), targets (N,) and weights (N,)."""
        none = torch.zeros_like(fate, dtype=torch.bool)
        survives = sum((fate == kind for kind in SURVIVORS), start=none)
        return cls(survives.nonzero().flatten(), target, fate.to(torch.uint8), notes, weight)

    @classmethod
    def keeping(
        cls, survivors: Tensor, n: int, gone: Fate = Fate.DROPPED, **notes: Tensor
    ) -> Decision:
        """Make the decision that keeps these of n tokens as they are and drops the others."""
        fate = torch.full((n,), int(gone), dtype=torch.uint8, device=survivors.device)
        fate[survivors] = int(Fate.KEPT)
        target = torch.full((n,), -1, dtype=torch.int64, device=survivors.device)
        target[survivors] = survivors
        return cls.of(fate, target, **notes)

    @classmethod
    def keep_all(cls, n: int, device: torch.device | str = "cpu") -> Decision:
        """Make the decision that changes nothing."""
        every = torch.arange(n, device=device)
        return cls(every, every, torch.full((n,), int(Fate.KEPT), dtype=torch.uint8, device=device))

    @property
    def changes(self) -> bool:
        """Tell whether any token does not go on as it is."""
        return len(self.survivors) < len(self.target)

    def shares(self) -> Tensor:
        """Return (N,) float64 on the CPU: the share of each token in its survivor in ``apply``.

        The shares into one survivor sum to 1; 0 for dropped tokens only. Added up on the CPU,
        because a scatter-add on a GPU differs from run to run.
        """
        carried = (self.target >= 0).cpu()
        target = self.target.cpu()[carried]
        share = carried.double()
        if self.weight is not None:
            share[carried] = self.weight.detach().cpu().double()[carried].clamp(min=FAINTEST)
        share[carried] /= torch.bincount(target, share[carried])[target]
        return share

    def apply(self, tokens: Tensor) -> Tensor:
        """Turn tokens (N, d) into (B, d): each survivor becomes the mean of the tokens it carries.

        A true mean, each token counting once, unless the decision has weights. A survivor that
        carries only itself is copied bit for bit. Means are taken in float32 or better as matrix
        products, which are deterministic where a scatter-add on a GPU is not, of ``CARRIED`` tokens
        at a time.
        """
        if len(tokens) != len(self.target):
            raise InputError(f"the decision is about {len(self.target)} tokens, not {len(tokens)}")
        out = tokens[self.survivors].clone()
        size = torch.bincount(self.target[self.target >= 0], minlength=len(tokens))
        shared = (size[self.survivors] > 1).nonzero().flatten()
        if len(shared):
            centers = self.survivors[shared]
            members = ((self.target >= 0) & (size[self.target.clamp(min=0)] > 1)).nonzero()[:, 0]
            wide = torch.promote_types(tokens.dtype, torch.float32)
            weight = None if self.weight is None else self.shares().to(tokens.device, wide)
            means = torch.zeros(len(shared), tokens.shape[1], dtype=wide, device=tokens.device)
            for part in members.split(CARRIED):
                share = (self.target[part] == centers[:, None]).to(wide)
                if weight is not None:
                    share *= weight[part]
                means += share @ tokens[part].to(wide)
            if weight is None:
                means /= size[centers, None]
            out[shared] = means.to(tokens.dtype)
        return out


SIGNALS = ("received", "cls", "head")


def text_without(method: Method, late: tuple[str, ...]) -> str:
    """Return the ``repr`` of a method in which the options ``late`` stand only where they are set.

    Results and traces from before a method had these options bear the same name then.
    """
    shown = [
        f"{f.name}={value!r}"
        for f in fields(method)
        if f.repr and ((value := getattr(method, f.name)) != f.default or f.name not in late)
    ]
    return f"{type(method).__name__}({', '.join(shown)})"


@dataclass(frozen=True, kw_only=True)
class Method:
    """Compress without training: a frozen dataclass whose ``repr`` reproduces it.

    Parameters
    ----------
    retention : float
        Share of the video tokens that enter the LLM, above 0 and at most 1.
    positions : str
        "original": survivors keep the position ids they had; "compact": the shortened sequence is
        numbered 0, 1, 2 ... at the LLM's door.
    contribution_layer : int, optional
        Vision layer whose attention is the contribution, counted as a list index. Default: what the
        checkpoint records (``config.stc``), else the layer whose output is the feature.
    signal : str
        What the contribution is: "received", the attention that a patch receives from all queries;
        "cls", what it receives from the class token (CLIP); "head", what it receives from the
        probe of the vision tower's pooling head (SigLIP, where the checkpoint holds that head; it
        reads the tower's output, so that ``contribution_layer`` means nothing to it).
    """

    retention: float = 0.02
    positions: str = "original"
    contribution_layer: int | None = None
    signal: str = "received"

    def __post_init__(self) -> None:
        check_number("retention", self.retention, 0, 1, above=True)
        check_one_of("positions", self.positions, ("original", "compact"))
        check_one_of("signal", self.signal, SIGNALS)

    def asked(self, grid: TokenGrid) -> int:
        """Count the tokens that ``retention`` asks to let into the LLM."""
        return paper_budget(self.retention, grid)

    def budget(self, grid: TokenGrid) -> int:
        """Return B, the number of the grid's tokens that enter the LLM.

        What was asked, except for a method that cannot meet every count; a trace of such a run
        says so.
        """
        return self.asked(grid)

    def remarks(self, grid: TokenGrid, entered: int) -> tuple[str, ...]:
        """Return sentences for a trace of which ``entered`` tokens entered the LLM."""
        asked = self.asked(grid)
        if asked == entered:
            return ()
        return (
            f"{type(self).__name__} cannot meet every budget: retention {self.retention:g} asks "
            f"for {asked} of {grid.size} video tokens, {entered} entered the LLM.",
        )

    def at(self, retention: float) -> Method:
        """Return this method at another retention; what is around a method passes it on."""
        return replace(self, retention=retention)

    @property
    def attentive(self) -> bool:
        """Tell whether ``outside`` reads the contribution."""
        return False

    @property
    def divisible(self) -> bool:
        """Tell whether ``outside`` may be asked about some frames of a clip alone."""
        return True

    def first_pass(self, depth: int) -> range | None:
        """Return the decoder layers that are asked about frames before ``outside``; None: none."""
        return None

    def informed(self, weights: Sequence[float]) -> Method:
        """Return the method that knows how much attention each of the T frames got there."""
        return self

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        """Decide before the LLM: tokens (N, d), contribution (N,) -> ``Decision`` on N."""
        return Decision.keep_all(len(tokens), tokens.device)

    def inside_layer(self, depth: int) -> int | None:
        """Return K, the index of the decoder layer after which ``inside`` acts; None: never."""
        return None

    def inside_budget(self, entered: int) -> int:
        """Count how many of the video tokens that entered leave layer K."""
        return entered

    @property
    def inside_heads(self) -> str:
        """Return how heads are joined in the attention that ``inside`` gets: "mean" or "max"."""
        return "mean"

    @property
    def inside_text(self) -> str:
        """Return what stands for the text tokens in ``inside``: "hidden" states or "embeddings"."""
        return "hidden"

    @property
    def inside_visual(self) -> str:
        """Return what stands for the video tokens in ``inside``.

        "hidden": the states that leave layer K; "change": these less the states that entered it.
        """
        return "hidden"

    def inside(self, visual: Tensor, text: Tensor, attention: Tensor) -> Decision:
        """Decide after layer K on the n video tokens there.

        visual (n, d) are what ``inside_visual`` says, text (q, d) what ``inside_text`` says,
        attention (q, n) is the mean or maximum over heads of the weights from the text queries to
        the video tokens.
        """
        check_inside(visual, text, attention)
        return Decision.keep_all(len(visual), visual.device)


def check_method(method: object) -> None:
    """Raise ``InputError`` unless this is a method."""
    if not isinstance(method, Method):
        raise InputError(f"a compression method is needed, such as STC(), not {method!r}")


@dataclass(frozen=True, kw_only=True)
class Late(Method):
    """Let all video tokens in; ``retention`` is the share of them that remains after layer K.

    Parameters
    ----------
    layer : int
        K, the last layer at full length, counted from 0.
    """

    layer: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("layer", self.layer, 0)

    def asked(self, grid: TokenGrid) -> int:
        """Return N: all tokens enter the LLM, ``retention`` is about those that leave layer K."""
        return grid.size

    def inside_layer(self, depth: int) -> int | None:
        """Return K; None where nothing is to be dropped."""
        return None if self.retention == 1 else check_layer(self.layer, depth)


@dataclass(frozen=True)
class Around(Method):
    """Do what another method does; subclasses change some of it.

    Parameters
    ----------
    method : Method

    Raises
    ------
    InputError
        On construction: what is to be wrapped is no method.
    """

    method: Method
    # the method's own, for whoever asks any method for them
    retention: float = field(init=False, repr=False)
    positions: str = field(init=False, repr=False)
    contribution_layer: int | None = field(init=False, repr=False)
    signal: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_method(self.method)
        for each in fields(Method):
            object.__setattr__(self, each.name, getattr(self.method, each.name))

    def asked(self, grid: TokenGrid) -> int:
        return self.method.asked(grid)

    def budget(self, grid: TokenGrid) -> int:
        return self.method.budget(grid)

    def remarks(self, grid: TokenGrid, entered: int) -> tuple[str, ...]:
        return self.method.remarks(grid, entered)

    def at(self, retention: float) -> Method:
        return replace(self, method=self.method.at(retention))

    @property
    def attentive(self) -> bool:
        return self.method.attentive

    @property
    def divisible(self) -> bool:
        return self.method.divisible

    def first_pass(self, depth: int) -> range | None:
        return self.method.first_pass(depth)

    def informed(self, weights: Sequence[float]) -> Method:
        return replace(self, method=self.method.informed(weights))

    def outside(self, tokens: Tensor, contribution: Tensor, grid: TokenGrid) -> Decision:
        return self.method.outside(tokens, contribution, grid)

    def inside_layer(self, depth: int) -> int | None:
        return self.method.inside_layer(depth)

    def inside_budget(self, entered: int) -> int:
        return self.method.inside_budget(entered)

    @property
    def inside_heads(self) -> str:
        return self.method.inside_heads

    @property
    def inside_text(self) -> str:
        return self.method.inside_text

    @property
    def inside_visual(self) -> str:
        return self.method.inside_visual

    def inside(self, visual: Tensor, text: Tensor, attention: Tensor) -> Decision:
        return self.method.inside(visual, text, attention)


def acts_inside(method: Method) -> bool:
    """Tell whether a method, or what it is around, has a stage inside the LLM."""
    if isinstance(method, Around) and type(method).inside is Around.inside:
        return acts_inside(method.method)
    return type(method).inside is not Method.inside


def acts_outside(method: Method) -> bool:
    """Tell whether a method, or what it is around, has a stage before the LLM."""
    if isinstance(method, Around) and type(method).outside is Around.outside:
        return acts_outside(method.method)
    return type(method).outside is not Method.outside
