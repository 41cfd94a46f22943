"""Training-free video-token compression on stock Hugging Face models, with every token's fate.

Importing this changes nothing elsewhere and loads neither torch nor transformers: names are fetched
when they are first used.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "Trace": "trace",
    "Stage": "trace",
    "Word": "trace",
    "Fate": "trace",
    "TokenGrid": "grid",
    "InputError": "errors",
    "Video": "video",
    "read_video": "video",
    "METHODS": "methods",
    "STC": "methods",
    "Decision": "methods",
    "Edited": "methods",
    "Method": "methods",
    "compress": "compression",
    "VLM": "loading",
    "load": "loading",
    "fit": "fitting",
    "VisionCache": "vision",
    "answer": "answering",
    "Answer": "answering",
    "Conversation": "conversation",
}

__all__ = ["costs", *_HOMES]


def __getattr__(name: str):
    if name == "costs":
        return import_module(".costs", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
