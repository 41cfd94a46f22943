"""Claim a stock model for one ``with`` at a time."""

from __future__ import annotations

from contextlib import ExitStack
from weakref import WeakKeyDictionary

from torch import nn

from stc_core.errors import InputError
from stc_core.models.stock import StockModel

_BUSY: WeakKeyDictionary[nn.Module, object] = WeakKeyDictionary()  # model -> its ``with``


def unwrapped(model: nn.Module) -> StockModel:
    """Return the stock model inside an adapter's wrapper (PEFT), any other model as it is.

    The adapter's layers sit within the stock model, so its hooks see what the adapter computes.

    Raises
    ------
    InputError
        The model or a part of it is compiled.
    """
    if isinstance(model, nn.Module) and any(map(_compiled, model.modules())):
        raise InputError(
            "this model is compiled, and compiled code passes over the hooks of compression; give "
            "it as it was loaded, without torch.compile"
        )
    inner = getattr(model, "get_base_model", None)
    return inner() if callable(inner) else model


def _compiled(module: nn.Module) -> bool:
    """Tell whether ``torch.compile`` or ``Module.compile`` made code of a module's forward."""
    own = vars(module).get("forward")
    return (
        "_orig_mod" in module._modules  # what torch.compile wraps
        or getattr(module, "_compiled_call_impl", None) is not None
        or hasattr(own, "_torchdynamo_orig_callable")
    )


def occupy(model: StockModel, stack: ExitStack) -> None:
    """Take the model for one ``with`` until the stack is left; refuse where another has it."""
    claim = object()

    def release() -> None:
        if _BUSY.get(model) is claim:
            del _BUSY[model]

    stack.callback(release)
    # one step for all threads, and no lock that an interrupt could leave locked
    if _BUSY.setdefault(model, claim) is not claim:
        raise InputError("this model is being compressed already; leave the outer `with` first")
