"""Compare the installed releases of other packages with those this program was tested with."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib import metadata

__all__ = ["TESTED", "Installed", "installed", "warn_once"]

# Package: oldest and newest release the suite has run on. requirements-oldest.txt pins the first
# ones; the second ones bound requirements.txt where internals are relied on.
TESTED = {
    "transformers": ("5.21.1", "5.24"),
    "torch": ("2.9", "2.15"),
    "torchvision": ("0.24", "0.29"),
    "gradio": ("6.31", "6.31"),
    "numpy": ("2.0", "2.4"),
    "opencv-python-headless": ("4.10", "5.0"),
    "av": ("17.0", "18.1"),
    "matplotlib": ("3.9", "3.11"),
    "umap-learn": ("0.5.12", "0.5.12"),
    "numba": ("0.61", "0.68"),
}
_warned = False


@dataclass(frozen=True)
class Installed:
    """Describe one package as it is installed.

    Attributes
    ----------
    package : str
    version : str or None
        None where it is not installed.
    oldest, newest : str
        The tested releases, both included with all their patch releases.
    """

    package: str
    version: str | None
    oldest: str
    newest: str

    @property
    def tested(self) -> bool:
        """Tell whether this release lies between the tested ones."""
        if self.version is None:
            return False
        mine, low, high = map(_numbers, (self.version, self.oldest, self.newest))
        return low <= mine and mine[: len(high)] <= high

    def __str__(self) -> str:
        verdict = "tested" if self.tested else "not tested" if self.version else "missing"
        return (
            f"{self.package:<24} {self.version or '-':<12} {verdict:<11} "
            f"({self.oldest} to {self.newest})"
        )


def installed() -> list[Installed]:
    """Look up every package of ``TESTED`` in this environment, without importing any."""
    found = []
    for package, (oldest, newest) in TESTED.items():
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            version = None
        found.append(Installed(package, version, oldest, newest))
    return found


def warn_once(*packages: str) -> None:
    """Warn, once in a process, where one of these packages is outside the tested releases."""
    global _warned
    strange = [one for one in installed() if one.package in packages and not one.tested]
    if strange and not _warned:
        _warned = True
        names = ", ".join(f"{one.package} {one.version}" for one in strange)
        warnings.warn(
            f"this program was not tested with {names}; `python -m stc_core versions` lists what "
            "it was tested with",
            stacklevel=3,
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the release's numbers: "2.15.0+cpu" -> (2, 15, 0)."""
    numbers = []
    for part in version.split("+")[0].split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
