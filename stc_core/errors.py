"""The one kind of error that is the user's to fix."""

from __future__ import annotations

__all__ = ["InputError"]


class InputError(ValueError):
    """What a person gave cannot be used: a file, a question, a number, a model's name.

    The message is one sentence that says what is wrong and what to do instead; the page and the
    command line show it as it is, without a traceback. Whatever else is raised is a mistake in
    the program. It is a `ValueError`, so code that knows nothing of this package can catch it.
    """
