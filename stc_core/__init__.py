"""Training-free video-token compression on stock Hugging Face models, with every token's fate.

Importing this changes nothing elsewhere and loads neither torch nor transformers: names are fetched
when they are first used.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOMES = {
    "Trace": "record.trace",
    "Stage": "record.stages",
    "Word": "record.stages",
    "Fate": "record.stages",
    "TokenGrid": "record.grid",
    "InputError": "errors",
    "Video": "answering.video",
    "read_video": "answering.video",
    "downloaded": "answering.download",
    "METHODS": "methods",
    "STC": "methods",
    "Decision": "methods",
    "Edited": "methods",
    "Method": "methods",
    "compress": "hooks.compression",
    "VLM": "models.loading",
    "load": "models.loading",
    "fit": "models.fitting",
    "RunCache": "hooks.run_cache",
    "VisionCache": "hooks.run_cache",
    "answer": "answering.answer",
    "Answer": "answering.answer",
    "Conversation": "answering.conversation",
    "Stream": "answering.video_stream",
    "load_conversation": "answering.cached",
    "resume": "hooks.kept_cache",
    "load_cache": "hooks.kept_cache",
    "sweep": "answering.sweep",
    "Sweep": "record.sweep",
}

__all__ = ["costs", *_HOMES]


def __getattr__(name: str):
    if name == "costs":
        return import_module(".record.costs", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
