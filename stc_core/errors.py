"""Define the error that is the user's to correct, and the one that a changed library causes."""

from __future__ import annotations

from stc_core.versions import TESTED

__all__ = ["InputError", "moved"]


class InputError(ValueError):
    """Report input that cannot be used: a file, a question, a number, a model's name.

    The message is one sentence that says what is wrong and what to do instead; the page and the
    command line show it as it is, without a traceback. Every other error is a mistake in the
    program. It is a ``ValueError``, so code that knows nothing of this package can catch it.
    """


def moved(what: str) -> RuntimeError:
    """Build the error for a transformers release that differs from the tested ones.

    Parameters
    ----------
    what
        What this program relies on and did not find.
    """
    import transformers

    low, high = TESTED["transformers"]
    return RuntimeError(
        f"transformers {transformers.__version__} differs from what this program relies on "
        f"({what}); it was tested with {low} to {high}: install one of these, or update this "
        f"program"
    )
