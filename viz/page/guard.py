"""Guard every event of the page: name its visitor, and turn its errors into sentences."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable

import gradio as gr

from viz.server.runner import failure

# of every event that is no endpoint for scripts and says itself how far it is
QUIET = {"api_visibility": "private", "show_progress": "hidden"}
# A choice must not be lost. By default Gradio drops an event while an earlier one of the same
# listener is under way; what it defers it sends later without the event's own data.
LAST = {"trigger_mode": "always_last", **QUIET}
EACH = {"trigger_mode": "multiple", **QUIET}


def name_of(request: gr.Request | None) -> str:
    """Return the visitor of an event: the hash of the session, or "anybody" without one."""
    hashed = getattr(request, "session_hash", None) or "anybody"
    return "".join(hashed.split())[:64]


def guarded(function: Callable) -> Callable:
    """Return the same function, with exceptions turned into one sentence, never their own text."""
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def steps(*given, **named):
            try:
                yield from function(*given, **named)
            except gr.Error:
                raise
            except Exception as error:
                raise told(error) from error

        return steps

    @functools.wraps(function)
    def call(*given, **named):
        try:
            return function(*given, **named)
        except gr.Error:
            raise
        except Exception as error:
            raise told(error) from error

    return call


def closed(choice: gr.Dropdown) -> gr.Dropdown:
    """Return the same menu, which does not repeat what it refuses.

    Gradio's own sentence does, and with half a character in it the visitor's stream would break.
    """
    stock = choice.preprocess

    def preprocess(payload):
        try:
            return stock(payload)
        except gr.Error:
            words = "There is no such choice on this page; take one of the menu."
            raise gr.Error(words, print_exception=False) from None

    choice.preprocess = preprocess
    return choice


def told(error: Exception) -> gr.Error:
    """Return an error as Gradio shows it."""
    return gr.Error(str(failure(error)), print_exception=False)
