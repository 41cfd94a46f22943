"""Count the real arithmetic of one answer from the shapes of the model, without running it.

2 operations per multiply-add, grouped queries, the FFN's real matrices, text tokens, vision tower,
projector, compression, head. Matrix products only, as in torch's own counter (with which the
tests compare): norms, softmax, rotary embeddings, pooling and sorting are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["LLMShape", "VisionShape", "inside_flops", "outside_flops", "real_flops"]

Patches = int | tuple[int, int]  # of a frame: how many, or (rows, cols)


@dataclass(frozen=True)
class LLMShape:
    """Hold the sizes of a decoder that its matrix products depend on.

    Parameters
    ----------
    layers, hidden, ffn, vocab : depth, residual width, FFN width, rows of the head.
    heads, kv_heads, head_dim : query heads, key/value heads (grouped queries), width of each.
    ffn_matrices : 3 for gated FFNs (SwiGLU: every supported family), 2 for plain ones.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    ffn_matrices: int = 3

    @classmethod
    def from_config(cls, config: Any) -> LLMShape:
        """Read a transformers config, composite (its `text_config`) or of the decoder itself."""
        text = getattr(config, "text_config", None) or config
        heads = text.num_attention_heads
        return cls(
            layers=text.num_hidden_layers,
            hidden=text.hidden_size,
            heads=heads,
            kv_heads=getattr(text, "num_key_value_heads", None) or heads,
            head_dim=getattr(text, "head_dim", None) or text.hidden_size // heads,
            ffn=text.intermediate_size,
            vocab=text.vocab_size,
        )

    @property
    def linear_flops(self) -> int:
        """Count the FLOPs of one layer's projections and FFN for one token."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return 2 * self.hidden * (2 * queries + 2 * keys + self.ffn_matrices * self.ffn)

    def prefill_flops(self, tokens_per_layer: Sequence[int], *, causal_half: bool = False) -> int:
        """Count the FLOPs of reading the prompt; n tokens, text included, in each layer.

        Attention counts all n x n scores, which is what torch's counter and dense kernels do;
        `causal_half` counts the n (n + 1) / 2 that a causal kernel needs.
        """
        total = 0
        for n in tokens_per_layer:
            scores = n * (n + 1) // 2 if causal_half else n * n
            total += n * self.linear_flops + 4 * scores * self.heads * self.head_dim
        return total

    def decode_flops(self, tokens_per_layer: Sequence[int], generated: int) -> int:
        """Count the FLOPs of the passes after the prefill, one token each.

        The prefill gives the first token, so G tokens take G - 1 passes; in pass t a layer that
        kept n tokens attends to n + t keys, the new one included.
        """
        passes = max(0, generated - 1)
        total = 0
        for n in tokens_per_layer:
            keys = passes * n + passes * (passes + 1) // 2
            total += passes * self.linear_flops + 4 * keys * self.heads * self.head_dim
        return total

    def head_flops(self, generated: int) -> int:
        """Count the FLOPs of the output head, once per generated token.

        Stock VideoLLaMA3 computes it at every place of the prompt; that is not counted.
        """
        return 2 * self.hidden * self.vocab * generated


@dataclass(frozen=True)
class VisionShape:
    """Hold the sizes of a vision tower that attends within each frame, and of its projector.

    Parameters
    ----------
    layers, hidden, ffn, heads : depth, width, FFN width, attention heads.
    patch_values : numbers that one patch embeds: channels x height x width (x frames).
    patches : per frame, from the config's image size and without a class token.
    ffn_matrices : 2, or 3 where the FFN is gated.
    projector : widths of the projector's layers, (input, ..., output); () where not known.
    class_tokens : of each frame, beside its patches.
    window, whole : side in patches of the windows in which all but ``whole`` layers attend (the
        windows of Qwen2.5-VL, arXiv 2502.13923 section 2.1); 0: every layer sees whole frames.
    merged : patches that go into one row of the projector.
    projectors : how many there are, of one shape, each over all rows (Qwen3-VL has deepstack's).
    projects_class : whether the class token goes through the projector, too.
    """

    layers: int
    hidden: int
    ffn: int
    heads: int
    patch_values: int
    patches: int
    ffn_matrices: int = 2
    projector: tuple[int, ...] = ()
    class_tokens: int = 0
    window: int = 0
    whole: int = 0
    merged: int = 1
    projectors: int = 1
    projects_class: bool = False

    @classmethod
    def from_config(cls, config: Any) -> VisionShape:
        """Read a transformers config, composite (its `vision_config`) or of the tower itself.

        LLaVA's projector, two layers over the unpooled patches, is recognized by
        `projector_hidden_act`; `families.vision_shape` knows the others. A config without an
        `image_size` (Qwen's dynamic resolution) gives `patches` 0: then pass them to the count.
        """
        vision = getattr(config, "vision_config", None) or config
        hidden = _first(vision, "embed_dim", "hidden_size")
        ffn = getattr(vision, "intermediate_size", None) or int(hidden * vision.mlp_ratio)
        patch = _side(vision.patch_size)
        image = _side(getattr(vision, "image_size", None) or 0)
        projector: tuple[int, ...] = ()
        if hasattr(config, "projector_hidden_act") and not hasattr(config, "downsample_ratio"):
            wide = config.text_config.hidden_size
            projector = (hidden, wide, wide)
        return cls(
            layers=_first(vision, "num_hidden_layers", "depth"),
            hidden=hidden,
            ffn=ffn,
            heads=_first(vision, "num_attention_heads", "num_heads"),
            patch_values=_first(vision, "num_channels", "in_channels", "in_chans")
            * patch**2
            * (getattr(vision, "temporal_patch_size", None) or 1),
            patches=(image // patch) ** 2,
            # Qwen2.5-VL: the towers that use SiLU gate their FFN
            ffn_matrices=3 if getattr(vision, "hidden_act", "") == "silu" else 2,
            projector=projector,
            window=(getattr(vision, "window_size", None) or 0) // patch,
            whole=len(getattr(vision, "fullatt_block_indexes", None) or ()),
        )

    def tower_flops(self, frames: int, patches: Patches | None = None) -> int:
        """Count the FLOPs of the tower over `frames` frames of `patches` (default: the config's).

        A mere number of patches is taken for that of whole windows.
        """
        patches = self.patches if patches is None else patches
        n = _count(patches) + self.class_tokens
        embed = 2 * _count(patches) * self.patch_values * self.hidden
        linear = 2 * n * self.hidden * (4 * self.hidden + self.ffn_matrices * self.ffn)
        whole = self.whole if self.window else self.layers
        pairs = whole * n * n + (self.layers - whole) * self._window_pairs(patches)
        return frames * (embed + self.layers * linear + 4 * pairs * self.hidden)

    def _window_pairs(self, patches: Patches) -> int:
        """Count the pairs of patches that share a window; windows at two borders are cut."""
        if not isinstance(patches, tuple):
            return patches * self.window**2
        sides = [divmod(length, self.window or length) for length in patches]
        return math.prod(full * self.window**2 + rest**2 for full, rest in sides)

    def projector_rows(self, frames: int, patches: Patches | None = None) -> int:
        """Count the vectors that go through the projector."""
        per_frame = _count(self.patches if patches is None else patches) // self.merged
        return frames * (per_frame + self.class_tokens * self.projects_class)

    def projector_flops(self, rows: int) -> int:
        """Count the FLOPs of the projectors over `rows` vectors; 0 where their shape is unknown."""
        pairs = zip(self.projector, self.projector[1:], strict=False)
        return self.projectors * 2 * rows * sum(a * b for a, b in pairs)


def outside_flops(
    tokens: int,
    hidden: int,
    pool: int,
    clusters: int,
    *,
    vision: VisionShape | None = None,
    frames: int = 0,
    patches: Patches | None = None,
) -> dict[str, int]:
    """Count the FLOPs of the stage before the LLM, as specified (upper bound for the pool).

    Parameters
    ----------
    tokens, hidden : N video tokens of width d.
    pool, clusters : capacity of the retention pool, number of cluster tokens.
    vision, frames, patches : where attention scores are computed again for the contribution.

    Returns
    -------
    contribution : all q k^T scores of one vision layer, frame by frame, 2 P^2 d_v each.
    selection : cosines of at most N candidates to at most `pool` members, 2 N pool d.
    clustering : DPC-KNN's distances among M = N - pool tokens, 2 M^2 d, and of each to the
        centers, 2 M clusters d. The term that grows with the square of the video.
    """
    not_negative(tokens=tokens, pool=pool, clusters=clusters, frames=frames)
    recycled = max(0, tokens - pool)
    contribution = 0
    if vision is not None:
        n = _count(vision.patches if patches is None else patches) + vision.class_tokens
        contribution = frames * 2 * n * n * vision.hidden
    clustering = 2 * recycled * hidden * (recycled + clusters) if clusters else 0
    return {
        "contribution": contribution,
        "selection": 2 * tokens * pool * hidden,
        "clustering": clustering,
    }


def inside_flops(llm: LLMShape, visual: int, kept: int, text_tokens: int) -> int:
    """Count the FLOPs of the stage after layer K: scores, cosines and merge targets.

    2 q n (H d_h) for the attention rows, 2 q n d for the cosines of hidden states, 2 n kept d for
    each token's most similar survivor; n = visual, q = text_tokens.
    """
    not_negative(visual=visual, kept=kept, text_tokens=text_tokens)
    if kept >= visual:
        return 0
    relevance = 2 * text_tokens * visual * (llm.heads * llm.head_dim + llm.hidden)
    return relevance + 2 * visual * kept * llm.hidden


def real_flops(
    llm: LLMShape,
    tokens_per_layer: Sequence[int],
    text_tokens: int,
    generated: int,
    *,
    vision: VisionShape | None = None,
    frames: int = 0,
    patches: Patches | None = None,
    projector_rows: int | None = None,
    compression: int = 0,
    causal_half: bool = False,
) -> dict[str, float]:
    """Count the FLOPs of one answer, by part.

    Parameters
    ----------
    llm, tokens_per_layer : the decoder and the visual tokens in each of its layers.
    text_tokens : tokens of the prompt that are not visual, in every layer.
    generated : tokens generated, the end token included.
    vision, frames, patches : the tower (None: features were given), how many frames it saw, and
        its patches per frame where they differ from the config's.
    projector_rows : vectors through the projector; default: as `vision` says.
    compression : FLOPs of the method, from `outside_flops` and `inside_flops`.
    causal_half : see `LLMShape.prefill_flops`.

    Returns
    -------
    dict with vision, projector, compression, prefill, decode, lm_head and their total, in FLOPs.
    """
    not_negative(text_tokens=text_tokens, generated=generated, compression=compression)
    if len(tokens_per_layer) != llm.layers:
        raise ValueError(
            f"tokens_per_layer has {len(tokens_per_layer)} entries, the model {llm.layers} layers"
        )
    lengths = [n + text_tokens for n in tokens_per_layer]
    tower = projector = 0
    if vision is not None:
        tower = vision.tower_flops(frames, patches)
        rows = vision.projector_rows(frames, patches) if projector_rows is None else projector_rows
        projector = vision.projector_flops(rows)
    parts = {
        "vision": tower,
        "projector": projector,
        "compression": compression,
        "prefill": llm.prefill_flops(lengths, causal_half=causal_half),
        "decode": llm.decode_flops(lengths, generated),
        "lm_head": llm.head_flops(generated),
    }
    parts["total"] = sum(parts.values())
    return {part: float(value) for part, value in parts.items()}


def not_negative(**numbers: float) -> None:
    """Refuse negative counts by name."""
    for name, number in numbers.items():
        if number < 0:
            raise ValueError(f"{name} must not be negative, got {number}")


def _count(patches: Patches) -> int:
    return math.prod(patches) if isinstance(patches, tuple) else patches


def _first(config: Any, *names: str) -> int:
    """Return the first of these attributes that the config has; families differ in their names."""
    for name in names:
        if getattr(config, name, None) is not None:
            return getattr(config, name)
    raise ValueError(f"{type(config).__name__} has none of {', '.join(names)}")


def _side(size: Any) -> int:
    """Return a side in pixels from a number or from (height, width); square images are assumed."""
    return int(size[0]) if isinstance(size, (list, tuple)) else int(size)
