"""Add forward hooks that always come off again and refuse to be copied with their module."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NoReturn

from torch import nn

from stc_core.errors import InputError


class Hook:
    """Call a function as a forward hook, and refuse to be copied.

    ``copy.deepcopy`` and ``pickle`` of a module take its hooks along, where nobody could remove
    them, so a module that carries one refuses to be copied or saved whole.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def _refuse(self, *_: Any) -> NoReturn:
        raise InputError(
            "a model cannot be copied or pickled inside `with compress(...)`; leave the `with` "
            "first (its state_dict can be saved at any time)"
        )

    __deepcopy__ = __reduce_ex__ = _refuse


def attach(
    stack: ExitStack,
    module: nn.Module,
    function: Callable[..., Any],
    *,
    after: bool = False,
    with_kwargs: bool = False,
) -> None:
    """Add a forward hook to a module until the stack is left.

    Parameters
    ----------
    stack
        Removes the hook. It is told before the hook is added, so that an interrupt at any moment
        leaves none.
    module, function, with_kwargs
        As for ``torch.nn.Module.register_forward_pre_hook``.
    after
        Call the function after ``forward`` instead of before it.
    """
    hook = Hook(function)
    stack.callback(_detach, module, hook)
    if after:
        module.register_forward_hook(hook, with_kwargs=with_kwargs)
    else:
        module.register_forward_pre_hook(hook, with_kwargs=with_kwargs)


def _detach(module: nn.Module, hook: Hook) -> None:
    """Remove a hook from torch's tables, as its handle would if there is one already."""
    for when in ("_forward_pre_hooks", "_forward_hooks"):
        table = getattr(module, when)
        for number in [number for number, found in table.items() if found is hook]:
            getattr(module, f"{when}_with_kwargs").pop(number, None)
            del table[number]
