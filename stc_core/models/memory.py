"""Estimate how much memory a model takes, from its config alone, and how much there is.

Weights are counted on a model without storage, exactly. Cache and activations are estimates for a
sentence, not a measurement: those of the uncompressed run, since that is the largest.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from stc_core.models.checkpoint import classes_of
from stc_core.models.families import family_of
from stc_core.models.stock import StockConfig, StockModel
from stc_core.models.vlm import VLM
from stc_core.record.flops import LLMShape, VisionShape

WORKING = 1 << 30  # bytes that the tower may work in, where nobody says how many frames at once
FRAME = (360, 640)  # pixels: the video of an estimate where the grid depends on the video
# Bytes per weight of bitsandbytes: NF4 in blocks of 64 with a float32 scale each (QLoRA,
# arXiv 2305.14314), LLM.int8() with a scale per row, which is nothing (arXiv 2208.07339).
_QUANTIZED = {"4bit": 0.5 + 4 / 64, "8bit": 1.0}


@dataclass(frozen=True)
class Memory:
    """Hold what one run takes.

    Attributes
    ----------
    parameters : int
    weights, cache, activations : int
        Bytes; the KV cache holds every video token in every layer.
    """

    parameters: int
    weights: int
    cache: int
    activations: int

    @property
    def total(self) -> int:
        """Return the bytes of all."""
        return self.weights + self.cache + self.activations


def estimate(
    config,
    frames: int = 32,
    dtype: torch.dtype = torch.bfloat16,
    quantization: str | None = None,
    *,
    stored: int = 0,
    visual: tuple[int, int] | None = None,
) -> Memory:
    """Estimate the memory of an answer about ``frames`` frames, without a weight being there.

    Parameters
    ----------
    config
        As ``checkpoint.full_config`` gives it.
    dtype
        Of weights that are not quantized, activations and cache.
    quantization
        None, "4bit" or "8bit": the weights of the LLM's layers.
    stored
        Bytes of the checkpoint's weight files, where they are known. Those of a quantized
        checkpoint (FP8, AWQ) say what its weights take; those of others whether they hold an output
        head that the config would tie to the embeddings.
    visual
        (video tokens, patches), where they are known; default: ``tokens_of``.
    """
    model = skeleton(config)
    parameters, weights = _weights(model, dtype.itemsize, quantization)
    if stored and getattr(config, "quantization_config", None):
        weights = stored
    elif head := _head_apart(config, model, stored):
        parameters, weights = parameters + head, weights + head * dtype.itemsize
    cache, activations = _working(config, visual or tokens_of(config, frames), dtype.itemsize)
    return Memory(parameters, weights, cache, activations)


def _head_apart(config: StockConfig, model: StockModel, stored: int) -> int:
    """Return the weights of an output head that only the files know of, else 0.

    transformers unties a head that the config ties where the files hold both and they differ, as
    those of InternVL3-8B do.
    """
    head, embeddings = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or embeddings is None or head.weight is not embeddings.weight:
        return 0
    dtype = config.dtype or getattr(config.get_text_config(), "dtype", None) or torch.float32
    held, count = stored / dtype.itemsize, head.weight.numel()
    without = model.num_parameters()
    # and not weights of a wider dtype than the config says
    return count if without + 0.95 * count < held < 1.1 * (without + count) else 0


def skeleton(config: StockConfig) -> StockModel:
    """Build the stock model of a config on torch's meta device: every shape, no memory.

    Without the config's dtypes, for which transformers would change torch's default dtype in all
    threads meanwhile.
    """
    config = copy.deepcopy(config)
    _forget_dtypes(config)
    with torch.device("meta"):
        return classes_of(config.model_type)[1]._from_config(config)


def _forget_dtypes(config: StockConfig) -> None:
    config.dtype = None
    for name in config.sub_configs:
        if getattr(config, name, None) is not None:
            _forget_dtypes(getattr(config, name))


def tower_name(model: StockModel) -> str:
    """Return the name of the vision tower among the model's modules."""
    tower = family_of(model.config).tower(model)
    return next(name for name, module in model.named_modules() if module is tower)


def available(device: str) -> int:
    """Return the free bytes on a device such as "cuda:1" or "cpu"; "auto": of all together."""
    import psutil

    if device == "auto":
        gpus = sum(available(f"cuda:{index}") for index in range(torch.cuda.device_count()))
        return gpus + available("cpu")
    kind = torch.device(device)
    if kind.type == "cuda":
        return torch.cuda.mem_get_info(kind)[0]
    free = psutil.virtual_memory().available
    if kind.type == "mps":  # shares the machine's memory, up to what Metal recommends
        return min(free, torch.mps.recommended_max_memory())
    return free


def context_of(config: StockConfig) -> int:
    """Return how many tokens the LLM reads: its positions, times the factor that stretches them.

    Linear and YaRN factors count from the positions before stretching; other ways of scaling
    stand in the number of positions already.
    """
    text = config.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    positions = text.max_position_embeddings
    if rope.get("rope_type") not in ("linear", "yarn"):
        return positions
    before = rope.get("original_max_position_embeddings") or positions
    return max(positions, int(before * rope.get("factor", 1.0)))


def tokens_of(config: StockConfig, frames: int) -> tuple[int, int]:
    """Return (video tokens, patches in the vision tower) for some frames.

    Where the processor chooses the grid it is that of frames of 360 x 640 pixels that are not
    resized; ``processors.grid_of_video`` asks the processor.
    """
    family = family_of(config)
    if family.cell_shape is not None:
        rows, cols = family.cell_shape(config)
        return frames * rows * cols, frames * VisionShape.from_config(config).patches
    merge = merge_of(config)
    rows, cols = (round(side / (config.vision_config.patch_size * merge)) for side in FRAME)
    tokens = -(-frames // family.step(config)) * rows * cols
    return tokens, tokens * merge**2


def merge_of(config: StockConfig) -> int:
    """Return how many patches a side become one token, where the processor chooses the grid."""
    return getattr(config.vision_config, "spatial_merge_size", None) or 2


def working_bytes(vlm: VLM, frames: int) -> int:
    """Estimate the peak of a run beside the weights, in bytes."""
    config = vlm.model.config
    return sum(_working(config, tokens_of(config, frames), vlm.model.dtype.itemsize))


def frames_that_fit(vlm: VLM, frames: int) -> str:
    """Say what to do about a run of ``frames`` frames that did not fit."""
    total = torch.cuda.get_device_properties(vlm.device).total_memory
    free = total - vlm.model.get_memory_footprint()
    # what failed needed more than was free, whatever the estimate says: scale to that
    scale = max(1.0, free / working_bytes(vlm, frames))
    fit = next(
        (count for count in range(frames - 1, 0, -1) if scale * working_bytes(vlm, count) < free),
        0,
    )
    advice = f"about {fit} frames would fit" if fit else "use a smaller model or the device 'cpu'"
    return (
        f"the GPU's {total / 2**30:.0f} GiB are too little for {frames} frames with "
        f"{vlm.name!r}; {advice}"
    )


def _weights(model: StockModel, size: int, quantization: str | None) -> tuple[int, int]:
    """Return (parameters, bytes); tied ones count once."""
    parameters = model.num_parameters()
    if quantization is None:
        return parameters, parameters * size
    tower = tower_name(model)
    head = model.get_output_embeddings()
    small = sum(
        module.weight.numel()
        for name, module in model.named_modules()
        if type(module) is nn.Linear and module is not head and not name.startswith(tower)
    )
    return parameters, round((parameters - small) * size + small * _QUANTIZED[quantization])


def _working(config: StockConfig, visual: tuple[int, int], size: int) -> tuple[int, int]:
    """Estimate (KV cache, activations) in bytes; visual: (video tokens, patches).

    The tower holds about eight vectors of its width and two of its FFN for every patch of the
    frames that it sees at once, the LLM eight and three for every token; one runs after the other.
    """
    llm, vision = LLMShape.from_config(config), VisionShape.from_config(config)
    tokens, patches = visual
    tower = min(tower_bytes(vision, patches, size), WORKING)
    prefill = tokens * (8 * llm.hidden + 3 * llm.ffn) * size
    cache = 2 * llm.layers * llm.kv_heads * llm.head_dim * tokens * size
    return cache, max(tower, prefill)


def tower_bytes(shape: VisionShape, patches: int, size: int) -> int:
    """Estimate the bytes that a vision tower needs for some patches at ``size`` bytes a number.

    About eight vectors of its width and two of its FFN are held for each patch.
    """
    return patches * (8 * shape.hidden + 2 * shape.ffn) * size
