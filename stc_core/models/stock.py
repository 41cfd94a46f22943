"""Name the types of what transformers makes and does not type.

Every family has classes of its own for model, config and processor, and ``torch.nn.Module`` says of
any attribute that it is a tensor or a module. A type checker therefore learns nothing from either;
these names tell the reader what is meant, and the checker not to ask. What a family must have is
held by the conformance suite.
"""

from __future__ import annotations

from typing import Any, TypeAlias

StockModel: TypeAlias = Any  # a ``torch.nn.Module``: a model, or a part of one such as its tower
StockConfig: TypeAlias = Any  # a ``transformers.PreTrainedConfig``, of a model or of a part
StockProcessor: TypeAlias = Any  # a ``transformers.ProcessorMixin``
StockClass: TypeAlias = Any  # a class of one of these
