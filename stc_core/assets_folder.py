"""Find the embedded model, the example clips, the saved traces and the results."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent


def assets_folder() -> Path:
    """Find the folder with ``model``, ``clips``, ``traces`` and ``results``.

    Returns
    -------
    Path
        ``stc_core/assets`` where the package is installed, the top-level ``assets`` of a checkout.
    """
    installed = HERE / "assets"  # setup.py puts it there
    return installed if installed.is_dir() else HERE.parent / "assets"
