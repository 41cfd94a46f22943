"""One published method per file; ``METHODS`` lists them by name.

A method decides and nothing else: which video tokens go on and who carries the others. It sees bare
tensors, never a model, so every method can be tried on features from anywhere.
"""

from .base import Decision, Method
from .stc import STC

METHODS: dict[str, type[Method]] = {
    "stc": STC,
}

__all__ = ["METHODS", "STC", "Decision", "Method"]
