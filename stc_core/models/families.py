"""One record per model family: what differs between stock Video-LLMs, and nothing else does.

A new family is one more ``Family`` here, one more builder of a tiny model in tests/tiny/, and its
line in docs/models.md, which ``python -m stc_core models --write-readme docs/models.md`` writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from stc_core.errors import InputError
from stc_core.models.layout import Layout, Reader, fixed, measured
from stc_core.record.flops import VisionShape

Cells = tuple[int, int]
Box = tuple[float, float, float, float]


def _attentions(tower: nn.Module) -> list[nn.Module]:
    return [layer.self_attn for layer in tower.encoder.layers]


def _encoder(model: nn.Module) -> nn.Module:
    return model.get_encoder(modality="image")


def _projection(model: nn.Module) -> nn.Module | None:
    return getattr(model.base_model, "multi_modal_projector", None)


@dataclass(frozen=True, kw_only=True)
class Family:
    """How one family of Hugging Face models lays out its video.

    Attributes
    ----------
    name : str
    architectures : tuple of str
        Class names, as in a checkpoint's ``config.architectures``.
    placeholder : callable
        config -> id of the token that stands for one video token in ``input_ids``.
    layout : callable
        (config, ids (L,), grid_thw or None) -> ``Layout``: where the video stands in a prompt.
    pool : callable
        (model without head, (T, patches) float, (rows, cols)) -> (T, rows * cols): a map over
        patches, in the order in which the tower holds them, brought to the token grid.
    feature_layer : callable
        config -> list index of the attention module in the layer whose output is the feature.
    cell_shape : callable
        config -> (rows, cols) of every frame; None where the processor chooses them per video.
    tower : callable
        model -> its vision tower.
    attentions : callable
        vision tower -> its self-attention modules, first layer first.
    whole_frames : callable
        (config, layer >= 0) -> whether that layer of the tower attends within whole frames.
    class_token : callable
        config -> whether the tower puts a class token before the patches.
    head : callable
        vision tower -> the ``torch.nn.MultiheadAttention`` of its pooling head, None without one.
    step : callable
        config -> frames that one time step of the grid holds.
    image_token : callable
        config -> id of the placeholder of ordinary images; None where frames are images to the
        family, so that an image, or a second video, in a prompt is more frames of the one.
    seen : callable
        (processor, height, width) -> (top, left, bottom, right), the part of a frame that reaches
        the tower, in pixels of the frame; None: all of it.
    options : mapping
        For the processor, with each video.
    note : str
        A sentence for every trace.
    times : callable
        (seconds (T,), duration) -> the sentence on frame times that the model was tuned to read
        between video and question; None: it was not. ``VLM.times`` asks for it.
    classes : callable
        () -> this package's own (config, model, processor); None: transformers' are used.
    projection : callable
        model -> the module that brings patches to the LLM's width one by one, None where that is
        part of the tower or patches are joined first.
    projector : callable
        config -> fields of ``VisionShape``: what lies between tower and LLM, where it is not two
        layers over every patch.
    hub : tuple of str
        Names of checkpoints on the model hub that are of this family.
    tokens : str
        Video tokens of a frame in these checkpoints, for the reader.
    checked, about : str
        For the reader: with what beside the conformance suite it was tried, and what is special.
    """

    name: str
    architectures: tuple[str, ...]
    placeholder: Callable[[object], int]
    layout: Reader
    pool: Callable[[nn.Module, Tensor, Cells], Tensor]
    feature_layer: Callable[[object], int]
    cell_shape: Callable[[object], Cells] | None = None
    tower: Callable[[nn.Module], nn.Module] = _encoder
    attentions: Callable[[nn.Module], list[nn.Module]] = _attentions
    whole_frames: Callable[[object, int], bool] = lambda config, layer: True
    class_token: Callable[[object], bool] = lambda config: False
    head: Callable[[nn.Module], nn.Module | None] = lambda tower: None
    step: Callable[[object], int] = lambda config: 1
    image_token: Callable[[object], int | None] = lambda config: config.image_token_id
    seen: Callable[[object, int, int], Box | None] = lambda processor, height, width: None
    options: Mapping[str, object] = field(default_factory=dict)
    note: str = ""
    times: Callable[[Sequence[float], float], str] | None = None
    classes: Callable[[], tuple[type, type, type]] | None = None
    projection: Callable[[nn.Module], nn.Module | None] = _projection
    projector: Callable[[object], dict] = lambda config: {}
    hub: tuple[str, ...] = ()
    tokens: str = ""
    checked: str = ""
    about: str = ""


# --- what several families share -----------------------------------------------------------------


def _video_token(config) -> int:
    return config.video_token_id


def _image_token(config) -> int:
    return config.image_token_id


def patch_grid(config, grid_thw: Tensor | None = None) -> Cells:
    """(rows, cols) of patches of one time step, in a tower of one image size or as it was told."""
    if grid_thw is not None:
        return tuple(grid_thw[0, 1:].tolist())
    vision = config.vision_config
    sides = vision.image_size, vision.patch_size
    (tall, wide), (high, broad) = [(s, s) if isinstance(s, int) else tuple(s) for s in sides]
    return tall // high, wide // broad


def _hidden_state_layer(config) -> int:
    """``hidden_states[v]`` is the output of layer v - 1 (v >= 0) or of layer v (v < 0)."""
    layer = config.vision_feature_layer
    if not isinstance(layer, int):  # several layers side by side: the deepest speaks for all
        depth = config.vision_config.num_hidden_layers
        layer = max(value % (depth + 1) for value in layer)
    return layer - 1 if layer >= 0 else layer


def _last_layer(config) -> int:
    return -1


def _clip(config) -> bool:
    return config.vision_config.model_type == "clip_vision_model"


def _blocks(body: nn.Module, scores: Tensor, cells: Cells) -> Tensor:
    """Patches in raster order; a token is the mean of its block of them (pixel shuffle)."""
    rows, cols = cells
    side = int((scores.shape[1] / (rows * cols)) ** 0.5)
    return scores.view(len(scores), rows, side, cols, side).mean(dim=(2, 4)).flatten(1)


def _in_turn(body: nn.Module, scores: Tensor, cells: Cells) -> Tensor:
    """Patches in the order of the tokens they become, one block after the other."""
    return scores.view(len(scores), cells[0] * cells[1], -1).mean(dim=2)


def _merge(config) -> int:
    return config.vision_config.spatial_merge_size


def _qwen_step(config) -> int:
    return config.vision_config.temporal_patch_size


def _blocks_of_tower(tower: nn.Module) -> list[nn.Module]:
    return [block.attn for block in tower.blocks]


# --- LLaVA ---------------------------------------------------------------------------------------


def _llava_onevision_cells(config) -> Cells:
    """27 x 27 patches become 14 x 14 tokens: half, rounded up, as ``apply_pooling`` does."""
    return tuple((side + 1) // 2 for side in patch_grid(config))


def _llava_onevision_pool(body: nn.Module, scores: Tensor, cells: Cells) -> Tensor:
    # channels-last with one channel, through the very function that pools the features
    return body.apply_pooling(scores[..., None])[..., 0]


def _llava_video_cells(config) -> Cells:
    return config.tokens_per_side, config.tokens_per_side


def _upper_left(processor, height: int, width: int) -> Box:
    """Rows and columns of pixels beyond the last whole pooling window are in no token."""
    return 0.0, 0.0, height * processor.covered, width * processor.covered


def _llava_video_times(seconds: Sequence[float], duration: float) -> str:
    from stc_core.models.llava_video import time_instruction

    return time_instruction(seconds, duration)


def _llava_video_classes() -> tuple[type, type, type]:
    from stc_core.models.llava_video import classes

    return classes()


def _next_video_cells(config) -> Cells:
    return tuple(side // config.spatial_pool_stride for side in patch_grid(config))


def _next_video_projector(config) -> dict:
    return {"merged": config.spatial_pool_stride**2}  # pooled before they are projected


def _next_video_pool(body: nn.Module, scores: Tensor, cells: Cells) -> Tensor:
    return nn.functional.avg_pool2d(
        scores.view(len(scores), *patch_grid(body.config)), body.config.spatial_pool_stride
    ).flatten(1)


def _center_crop(processor, height: int, width: int) -> Box:
    """CLIP's processor resizes the shorter side and cuts the middle out, both in whole pixels."""
    video, sides = processor.video_processor, []
    for side, cut in ((height, video.crop_size["height"]), (width, video.crop_size["width"])):
        resized = int(video.size["shortest_edge"] * side / min(height, width))
        first = int((resized - cut) / 2)
        sides.append((first * side / resized, (first + cut) * side / resized))
    (top, bottom), (left, right) = sides
    return top, left, bottom, right


# --- Qwen ----------------------------------------------------------------------------------------


def _mergers(config) -> dict:
    """Blocks of patches side by side through two layers; one more of them a deepstack level."""
    vision = config.vision_config
    block = vision.spatial_merge_size**2
    wide = VisionShape.from_config(config).hidden * block
    levels = getattr(vision, "deepstack_visual_indexes", None) or ()
    out = config.get_text_config().hidden_size
    return {"projector": (wide, wide, out), "merged": block, "projectors": 1 + len(levels)}


def _windows_pool(body: nn.Module, scores: Tensor, cells: Cells) -> Tensor:
    """Qwen2.5-VL sorts the blocks of patches by attention window, the same way in every frame."""
    from transformers.vision_utils import get_vision_window_index

    vision, (rows, cols) = body.config.vision_config, cells
    merge = vision.spatial_merge_size
    grid = torch.tensor([[1, rows * merge, cols * merge]])
    order, _ = get_vision_window_index(grid, merge, vision.window_size, vision.patch_size)
    sorted_tokens = _in_turn(body, scores, cells)
    return torch.empty_like(sorted_tokens).index_copy_(1, order.to(scores.device), sorted_tokens)


# --- frames as images ----------------------------------------------------------------------------


def _internvl_cells(config) -> Cells:
    return tuple(int(side * config.downsample_ratio) for side in patch_grid(config))


def _internvl_projector(config) -> dict:
    block, wide = round(1 / config.downsample_ratio) ** 2, config.get_text_config().hidden_size
    return {"projector": (block * config.vision_config.hidden_size, wide, wide), "merged": block}


def _smolvlm_projector(config) -> dict:
    block, wide = config.scale_factor**2, config.get_text_config().hidden_size
    return {"projector": (block * config.vision_config.hidden_size, wide), "merged": block}


def _smolvlm_cells(config) -> Cells:
    return tuple(side // config.scale_factor for side in patch_grid(config))


def _video_llama_merge(config) -> int:
    """Of the published processors; the config does not say. Another one fits no placeholders."""
    return 2


def _video_llama_projector(config) -> dict:
    wide = config.get_text_config().hidden_size
    return {"projector": (config.vision_config.hidden_size, wide, wide), "merged": 4}


FAMILIES: dict[str, Family] = {
    "llava_onevision": Family(
        name="LLaVA-OneVision",
        architectures=("LlavaOnevisionForConditionalGeneration",),
        placeholder=_video_token,
        cell_shape=_llava_onevision_cells,
        layout=fixed(_video_token, _llava_onevision_cells, after=1),
        pool=_llava_onevision_pool,
        class_token=_clip,
        head=lambda tower: getattr(getattr(tower, "head", None), "attention", None),
        feature_layer=_hidden_state_layer,
        hub=(
            "llava-hf/llava-onevision-qwen2-0.5b-ov-hf",
            "llava-hf/llava-onevision-qwen2-7b-ov-hf",
            "llava-hf/llava-onevision-qwen2-72b-ov-hf",
        ),
        tokens="14 x 14, and a newline after the video",
        checked="the embedded model",
    ),
    "llava_video": Family(
        name="LLaVA-Video",
        architectures=("LlavaVideoForConditionalGeneration",),
        placeholder=_video_token,
        cell_shape=_llava_video_cells,
        layout=fixed(_video_token, _llava_video_cells, newline=1),
        pool=_llava_onevision_pool,
        feature_layer=_hidden_state_layer,
        seen=_upper_left,
        times=_llava_video_times,
        classes=_llava_video_classes,
        hub=("lmms-lab/LLaVA-Video-7B-Qwen2", "lmms-lab/LLaVA-Video-72B-Qwen2"),
        tokens="13 x 13, and a newline after each row",
        checked="a converted checkpoint",
        about="no stock class computes its features: first `python -m stc_core convert`; a newline "
        "stays where its row keeps a token",
    ),
    "llava_next_video": Family(
        name="LLaVA-NeXT-Video",
        architectures=("LlavaNextVideoForConditionalGeneration",),
        placeholder=_video_token,
        cell_shape=_next_video_cells,
        layout=fixed(_video_token, _next_video_cells),
        pool=_next_video_pool,
        class_token=_clip,
        feature_layer=_hidden_state_layer,
        seen=_center_crop,
        projector=_next_video_projector,
        hub=(
            "llava-hf/LLaVA-NeXT-Video-7B-hf",
            "llava-hf/LLaVA-NeXT-Video-7B-DPO-hf",
            "llava-hf/LLaVA-NeXT-Video-34B-hf",
        ),
        tokens="12 x 12",
        about="sees the middle square of a frame",
    ),
    "qwen2_vl": Family(
        name="Qwen2-VL",
        architectures=("Qwen2VLForConditionalGeneration",),
        placeholder=_video_token,
        layout=measured(_video_token, _merge),
        pool=_in_turn,
        attentions=_blocks_of_tower,
        feature_layer=_last_layer,
        step=_qwen_step,
        projector=_mergers,
        hub=(
            "Qwen/Qwen2-VL-2B-Instruct",
            "Qwen/Qwen2-VL-7B-Instruct",
            "Qwen/Qwen2-VL-72B-Instruct",
        ),
        tokens="one for 28 x 28 pixels of two frames",
    ),
    "qwen2_5_vl": Family(
        name="Qwen2.5-VL",
        architectures=("Qwen2_5_VLForConditionalGeneration",),
        placeholder=_video_token,
        layout=measured(_video_token, _merge),
        pool=_windows_pool,
        attentions=_blocks_of_tower,
        whole_frames=lambda config, layer: layer in config.vision_config.fullatt_block_indexes,
        feature_layer=lambda config: max(config.vision_config.fullatt_block_indexes),
        step=_qwen_step,
        projector=_mergers,
        hub=(
            "Qwen/Qwen2.5-VL-3B-Instruct",
            "Qwen/Qwen2.5-VL-7B-Instruct",
            "Qwen/Qwen2.5-VL-32B-Instruct",
            "Qwen/Qwen2.5-VL-72B-Instruct",
        ),
        tokens="one for 28 x 28 pixels of two frames",
        about="contribution from the last layer that sees whole frames; the others see windows",
    ),
    "qwen3_vl": Family(
        name="Qwen3-VL",
        architectures=("Qwen3VLForConditionalGeneration",),
        placeholder=_video_token,
        layout=measured(_video_token, _merge, split=True),
        pool=_in_turn,
        attentions=_blocks_of_tower,
        feature_layer=_last_layer,
        step=_qwen_step,
        projector=_mergers,
        hub=(
            "Qwen/Qwen3-VL-2B-Instruct",
            "Qwen/Qwen3-VL-4B-Instruct",
            "Qwen/Qwen3-VL-8B-Instruct",
            "Qwen/Qwen3-VL-32B-Instruct",
        ),
        tokens="one for 32 x 32 pixels of two frames",
        about="deepstack features are merged as their tokens are; K >= 2",
    ),
    "internvl": Family(
        name="InternVL3",
        architectures=("InternVLForConditionalGeneration",),
        placeholder=_image_token,
        cell_shape=_internvl_cells,
        layout=fixed(_image_token, _internvl_cells, split=True),
        projector=_internvl_projector,
        pool=_blocks,
        attentions=lambda tower: [layer.attention for layer in tower.encoder.layer],
        class_token=lambda config: True,
        feature_layer=_hidden_state_layer,
        image_token=lambda config: None,
        hub=(
            "OpenGVLab/InternVL3-1B-hf",
            "OpenGVLab/InternVL3-2B-hf",
            "OpenGVLab/InternVL3-8B-hf",
            "OpenGVLab/InternVL3-14B-hf",
            "OpenGVLab/InternVL3-38B-hf",
            "OpenGVLab/InternVL3-78B-hf",
        ),
        tokens="16 x 16",
        about="frames are images with their number before them; an image of one tile beside the "
        "video is taken for one more frame, larger ones are refused",
    ),
    "smolvlm": Family(
        name="SmolVLM2",
        architectures=("SmolVLMForConditionalGeneration",),
        placeholder=_image_token,
        cell_shape=_smolvlm_cells,
        layout=fixed(_image_token, _smolvlm_cells, split=True),
        projector=_smolvlm_projector,
        pool=_blocks,
        feature_layer=_last_layer,
        image_token=lambda config: None,
        hub=(
            "HuggingFaceTB/SmolVLM2-256M-Video-Instruct",
            "HuggingFaceTB/SmolVLM2-500M-Video-Instruct",
            "HuggingFaceTB/SmolVLM2-2.2B-Instruct",
        ),
        tokens="8 x 8; 9 x 9 in the 2.2B",
        about="frames are images with their time before them, squeezed to a square",
    ),
    "video_llama_3": Family(
        name="VideoLLaMA3",
        architectures=("VideoLlama3ForConditionalGeneration",),
        placeholder=_video_token,
        layout=measured(_video_token, _video_llama_merge, split=True),
        pool=_in_turn,
        feature_layer=_last_layer,
        options={"use_token_compression": False},
        projector=_video_llama_projector,
        note="VideoLLaMA3's own pruning of tokens that do not change is switched off here.",
        hub=("lkhl/VideoLLaMA3-2B-Image-HF",),
        tokens="one for 28 x 28 pixels",
        about="its own pruning of tokens that do not change is switched off; checkpoints with code "
        "of their own (DAMO-NLP-SG) do not open",
    ),
    "video_llava": Family(
        name="Video-LLaVA",
        architectures=("VideoLlavaForConditionalGeneration",),
        placeholder=_video_token,
        cell_shape=patch_grid,
        layout=fixed(_video_token, patch_grid, before=1),
        pool=lambda body, scores, cells: scores,
        tower=lambda model: model.base_model.video_tower,
        class_token=lambda config: True,
        feature_layer=_hidden_state_layer,
        seen=_center_crop,
        projector=lambda config: {"projects_class": True},
        hub=("LanguageBind/Video-LLaVA-7B-hf",),
        tokens="16 x 16, after a class token",
        about="sees the middle square of a frame; a frame's class token stays where one of its "
        "tokens does",
    ),
}


def family_of(config) -> Family:
    """The record for a model's config. ``InputError`` names the known ones where there is none."""
    family = FAMILIES.get(getattr(config, "model_type", ""))
    if family is None:
        known = ", ".join(record.name for record in FAMILIES.values())
        raise InputError(
            f"{getattr(config, 'model_type', type(config).__name__)!r} is not a Video-LLM this "
            f"program knows; use one of {known}, or add a record to stc_core/families.py"
        )
    return family


def vision_shape(config) -> VisionShape:
    """What the arithmetic of a model's vision tower and projector depends on."""
    family = family_of(config)
    return replace(
        VisionShape.from_config(config),
        class_tokens=int(family.class_token(config)),
        **family.projector(config),
    )


def layout_of(config, ids: Tensor, grid_thw: Tensor | None) -> Layout | None:
    """Where the one video of a prompt stands; None where it holds none.

    Parameters
    ----------
    ids : Tensor (L,) int64
        Tokens of the prompt.
    grid_thw : Tensor (videos, 3) or None
        Time steps, rows and columns of patches, where the processor chooses them.

    Raises
    ------
    InputError
        Several videos, or ordinary images beside the video.
    """
    family = family_of(config)
    if not (ids == family.placeholder(config)).any():
        return None
    image = family.image_token(config)
    if image is not None and (ids == image).any():
        raise InputError(
            "this prompt holds images beside the video; compress a prompt with one video alone"
        )
    return family.layout(config, ids, grid_thw)


def contribution_module(model: nn.Module, family: Family, layer: int | None) -> nn.Module:
    """The vision attention whose weights are the contribution.

    layer: a list index; None for what the checkpoint records in ``config.stc`` or, where it records
    nothing, the layer whose output is the feature.
    """
    modules = family.attentions(family.tower(model))
    if layer is None:
        recorded = (getattr(model.config, "stc", None) or {}).get("contribution_layer")
        layer = family.feature_layer(model.config) if recorded is None else recorded
    if not -len(modules) <= layer < len(modules):
        raise InputError(
            f"contribution layer {layer} is outside this vision tower of {len(modules)} layers"
        )
    if not family.whole_frames(model.config, layer % len(modules)):
        whole = [i for i in range(len(modules)) if family.whole_frames(model.config, i)]
        raise InputError(
            f"contribution layer {layer} of this {family.name} attends within small windows only; "
            f"use one of {', '.join(map(str, whole))}"
        )
    return modules[layer]


def class_token(model: nn.Module, family: Family) -> None:
    """Raise ``InputError`` where the vision tower has no class token."""
    if not family.class_token(model.config):
        raise InputError(
            f"the vision tower of this {family.name} has no class token; use signal='received'"
        )


def pooling_head(model: nn.Module, family: Family) -> nn.Module:
    """The attention of the vision tower's pooling head; ``InputError`` where there is none."""
    head = family.head(family.tower(model))
    if head is None:
        raise InputError(
            f"the vision tower of this {family.name} has no pooling head; use signal='received'"
        )
    return head


def to_grid(model: nn.Module, family: Family, scores: Tensor, cells: Cells) -> Tensor:
    """(T, patches) scores -> (T, rows * cols) on the token grid, in float32."""
    with torch.no_grad():
        return family.pool(model.base_model, scores.float(), cells)
