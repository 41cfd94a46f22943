"""Offer compressed models to lmms-eval, which asks the published benchmarks.

The package's entry point in the group ``lmms_eval.models`` is ``manifest``; so ``lmms-eval --model
stc`` works wherever both packages are installed. Nothing here is imported by anything else.
"""

from __future__ import annotations

from typing import Any


def manifest() -> Any:
    """Return the ``ModelManifest`` by which lmms-eval finds the model as "stc"."""
    from lmms_eval.models.registry_v2 import ModelManifest

    place = "stc_core.harness.model"
    return ModelManifest("stc", f"{place}.StcSimpleModel", f"{place}.StcModel")
