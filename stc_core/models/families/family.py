"""Define what a record of a model family holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from stc_core.models.layout import Reader
from stc_core.models.stock import StockClass, StockConfig, StockModel, StockProcessor

Cells = tuple[int, int]
Box = tuple[float, float, float, float]


def _attentions(tower: StockModel) -> list[nn.Module]:
    return [layer.self_attn for layer in tower.encoder.layers]


def _encoder(model: StockModel) -> StockModel:
    return model.get_encoder(modality="image")


def _projection(model: StockModel) -> nn.Module | None:
    return getattr(model.base_model, "multi_modal_projector", None)


@dataclass(frozen=True)
class Card:
    """Describe a family for a reader; no run depends on it.

    Attributes
    ----------
    hub : tuple of str
        Names of checkpoints on the model hub that are of this family.
    tokens : str
        Video tokens of a frame in these checkpoints.
    served : bool
        Whether the tests hold a checkpoint as the hub serves it.
    checked : str
        What else it was tried with, beside the conformance suite.
    about : str
        What is special about it.
    """

    hub: tuple[str, ...] = ()
    tokens: str = ""
    served: bool = True
    checked: str = ""
    about: str = ""


@dataclass(frozen=True)
class FramePixels:
    """Describe how the pixels of a frame are limited where a processor chooses the grid of a video.

    Attributes
    ----------
    usual : int
        The limit with which the models are evaluated.
    least : int
        Pixels of one video token: no limit is lower.
    limit : callable
        (video processor, pixels or None) -> None: sets the limit. None is ``usual``, or the
        published files' own where that is less.
    limited : callable
        video processor -> the limit that is set.
    """

    usual: int
    least: int
    limit: Callable[[StockProcessor, int | None], None]
    limited: Callable[[StockProcessor], int]


@dataclass(frozen=True, kw_only=True)
class Family:
    """Describe how one family of Hugging Face models lays out its video.

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
    video_processor : str
        Name of transformers' class, where its own search in the published files goes astray.
    frame_pixels : FramePixels or None
        How the pixels of a frame are limited; None: by the processor alone.
    chat_template : str
        Jinja, for checkpoints that are published without one.
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
    parts : bool
        Whether a long video may be encoded in parts: its tokens stand in one row, at most one
        newline after them, positions are plain numbers, and the LLM sees nothing else of it.
    projector : callable
        config -> fields of ``VisionShape``: what lies between tower and LLM, where it is not two
        layers over every patch.
    card : Card
        For the reader.
    """

    name: str
    architectures: tuple[str, ...]
    placeholder: Callable[[StockConfig], int]
    layout: Reader
    pool: Callable[[StockModel, Tensor, Cells], Tensor]
    feature_layer: Callable[[StockConfig], int]
    cell_shape: Callable[[StockConfig], Cells] | None = None
    tower: Callable[[StockModel], StockModel] = _encoder
    attentions: Callable[[StockModel], list[nn.Module]] = _attentions
    whole_frames: Callable[[StockConfig, int], bool] = lambda config, layer: True
    class_token: Callable[[StockConfig], bool] = lambda config: False
    head: Callable[[StockModel], nn.Module | None] = lambda tower: None
    step: Callable[[StockConfig], int] = lambda config: 1
    image_token: Callable[[StockConfig], int | None] = lambda config: config.image_token_id
    seen: Callable[[StockProcessor, int, int], Box | None] = lambda processor, height, width: None
    options: Mapping[str, object] = field(default_factory=dict)
    video_processor: str = ""
    frame_pixels: FramePixels | None = None
    chat_template: str = ""
    note: str = ""
    times: Callable[[Sequence[float] | np.ndarray, float], str] | None = None
    classes: Callable[[], tuple[StockClass, StockClass, StockClass]] | None = None
    projection: Callable[[StockModel], nn.Module | None] = _projection
    projector: Callable[[StockConfig], dict] = lambda config: {}
    parts: bool = False
    card: Card = field(default_factory=lambda: Card())
