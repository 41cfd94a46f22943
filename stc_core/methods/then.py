"""Join what one method does before the LLM to what another does inside it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from stc_core.errors import InputError
from stc_core.methods.base import Around, Decision, Method, acts_inside, check_method


@dataclass(frozen=True)
class Then(Around):
    """Decide before the LLM as ``method`` does, and after layer K as ``inner`` does. ::

        Then(VidCom2(retention=0.05), STC(keep_inside=0.5))

    Parameters
    ----------
    method : Method
        Its retention is the share of the video tokens that enter the LLM.
    inner : Method
        One with a stage inside the LLM: STC, HoliTom, FlashVID; FastV, PruneVid and V2Drop, whose
        retention then is the share of the tokens *that entered* which stays.

    Raises
    ------
    InputError
        On construction: ``inner`` is no method, or does nothing inside.
    """

    inner: Method

    def __post_init__(self) -> None:
        super().__post_init__()
        check_method(self.inner)
        if not acts_inside(self.inner):
            raise InputError(
                f"{type(self.inner).__name__} has no stage inside the LLM; give one that has, such "
                f"as STC()"
            )

    def inside_layer(self, depth: int) -> int | None:
        return self.inner.inside_layer(depth)

    def inside_budget(self, entered: int) -> int:
        return self.inner.inside_budget(entered)

    @property
    def inside_heads(self) -> str:
        return self.inner.inside_heads

    @property
    def inside_text(self) -> str:
        return self.inner.inside_text

    @property
    def inside_visual(self) -> str:
        return self.inner.inside_visual

    def inside(self, visual: Tensor, text: Tensor, attention: Tensor) -> Decision:
        return self.inner.inside(visual, text, attention)
