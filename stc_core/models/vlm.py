"""Hold a loaded Video-LLM: model, processor and what a run must know of both."""

from __future__ import annotations

from dataclasses import dataclass, field

from stc_core.models.familiarity import Familiarity
from stc_core.models.families import Family, family_of
from stc_core.models.stock import StockModel, StockProcessor

__all__ = ["DEFAULT_FRAMES", "VLM"]

DEFAULT_FRAMES = 32


@dataclass
class VLM:
    """Hold a Video-LLM that is ready to answer.

    Attributes
    ----------
    model : stock ``...ForConditionalGeneration`` in evaluation mode
    processor : its processor (tokenizer, video processor, chat template)
    name : str
        Hub id, the folder's name, or "embedded".
    device : str
        Where inputs go; of a model on several devices, the first.
    frames : int
        Frames to sample where nobody says otherwise.
    settings : dict
        Options of ``STC`` that suit this checkpoint better than the paper's, chosen on development
        clips and recorded in ``config.stc``; empty where none are. Nothing uses them unasked.
    times : bool
        Whether prompts tell when each frame was, of a family tuned on such a sentence
        (LLaVA-Video); methods that read the question then read it, too.
    vision_batch : int or None
        Frames that the vision tower sees at once; None: as many as it works on in 1 GiB.
    familiarity : Familiarity or None
        What tells a clip of the world that the model was trained on from any other, where the
        checkpoint records it.
    """

    model: StockModel
    processor: StockProcessor
    name: str
    device: str
    frames: int = DEFAULT_FRAMES
    settings: dict[str, float] = field(default_factory=dict)
    times: bool = False
    vision_batch: int | None = None
    familiarity: Familiarity | None = None
    warm: bool = field(default=False, repr=False)  # whether it has run before

    @property
    def family(self) -> Family:
        return family_of(self.model.config)

    @property
    def embedded(self) -> bool:
        """Tell whether this is the small teaching model of this repository."""
        return self.name == "embedded"
