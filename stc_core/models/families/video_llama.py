"""VideoLLaMA3: the processor chooses the grid of each frame."""

from __future__ import annotations

from stc_core.models.families.family import Card, Family
from stc_core.models.families.shared import last_layer, mean_in_turn, video_token
from stc_core.models.layout import measured
from stc_core.models.stock import StockConfig


def _video_llama_merge(config: StockConfig) -> int:
    """Of the published processors; the config does not say. Another one fits no placeholders."""
    return 2


def _video_llama_projector(config: StockConfig) -> dict:
    wide = config.get_text_config().hidden_size
    return {"projector": (config.vision_config.hidden_size, wide, wide), "merged": 4}


VIDEO_LLAMA_3 = Family(
    name="VideoLLaMA3",
    architectures=("VideoLlama3ForConditionalGeneration",),
    placeholder=video_token,
    layout=measured(video_token, _video_llama_merge, split=True),
    pool=mean_in_turn,
    feature_layer=last_layer,
    options={"use_token_compression": False},
    projector=_video_llama_projector,
    note="VideoLLaMA3's own pruning of tokens that do not change is switched off here.",
    card=Card(
        hub=("lkhl/VideoLLaMA3-2B-Image-HF",),
        tokens="one for 28 x 28 pixels",
        about="its own pruning of tokens that do not change is switched off; checkpoints with code "
        "of their own (DAMO-NLP-SG) do not open",
    ),
)
