"""Measure whether stated probabilities can be believed: calibration error, Brier score, a diagram.

A model is calibrated if, of all answers that it gives a probability of 0.8, four of five are right.
Confidences are sorted into bins of equal count (equal widths would leave most bins empty, because a
trained model is nearly always sure); the mean confidence of a bin is compared with its accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stc_core.errors import InputError
from stc_core.rates import wilson

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 10
PICTURES = (".png", ".svg")


@dataclass(frozen=True)
class Bin:
    """Hold answers of similar confidence, as counts; probabilities and shares are 0 to 1."""

    low: float  # the least confidence in it
    high: float  # the greatest
    confidence: float  # the mean
    count: int
    right: int

    @property
    def accuracy(self) -> float:
        return self.right / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Return Wilson's 95 % interval of the accuracy."""
        return wilson(self.right, self.count)


@dataclass(frozen=True)
class Calibration:
    """Hold how well confidence and accuracy agree."""

    bins: tuple[Bin, ...]  # by rising confidence
    error: float  # expected calibration error: mean gap of the bins, weighted by their counts
    brier: float  # mean squared distance of the confidence from 1 (right) or 0 (wrong)
    confidences: tuple[float, ...]  # of every answer, sorted

    def as_dict(self) -> dict[str, Any]:
        """Return plain values that go into JSON."""
        return {
            "expected_calibration_error": self.error,
            "brier": self.brier,
            "mean_confidence": float(np.mean(self.confidences)),
            "bins": [
                {
                    "confidence": b.confidence,
                    "accuracy": b.accuracy,
                    "interval95": list(b.interval),
                    "count": b.count,
                    "low": b.low,
                    "high": b.high,
                }
                for b in self.bins
            ],
        }


def calibrate(confidences: Sequence[float], right: Sequence[bool], bins: int = BINS) -> Calibration:
    """Compare stated probabilities with the outcomes.

    Bins hold equally many answers, but equal confidences stay in one bin: the result does not
    depend on the order of the answers, and there are fewer bins where many confidences are equal.

    Parameters
    ----------
    confidences : (n,) float
        Stated probabilities, 0 to 1.
    right : (n,) bool
        Whether each answer was right.
    bins : int
        Number of bins, at least 1.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        There is nothing to compare, the lengths differ, a confidence is not within 0 to 1, or
        there is less than one bin.
    """
    sure, hit = np.asarray(confidences, float), np.asarray(right, bool)
    if sure.ndim != 1 or sure.shape != hit.shape or not len(sure):
        raise ValueError(f"{sure.shape} confidences do not fit {hit.shape} outcomes")
    if not ((sure >= 0) & (sure <= 1)).all():
        raise ValueError("confidences are probabilities, 0 to 1")
    if bins < 1:
        raise ValueError(f"at least one bin is needed, not {bins}")
    order = np.argsort(sure, kind="stable")
    sure, hit = sure[order], hit[order]
    cuts = np.round(np.arange(1, bins) * len(sure) / bins).astype(int)
    # A cut within a run of equal confidences moves to its end.
    cuts = np.unique([np.searchsorted(sure, sure[cut - 1], "right") for cut in cuts if cut])
    groups = zip(np.split(sure, cuts.astype(int)), np.split(hit, cuts.astype(int)), strict=True)
    made = tuple(
        Bin(float(c[0]), float(c[-1]), float(c.mean()), len(c), int(h.sum()))
        for c, h in groups
        if len(c)
    )
    error = sum(b.count * abs(b.confidence - b.accuracy) for b in made) / len(sure)
    brier = float(np.mean((sure - hit) ** 2))
    return Calibration(made, error, brier, tuple(sure.tolist()))


def checked_picture(path: Path) -> Path:
    """Return ``path`` if a picture can be written there.

    Raises
    ------
    InputError
        Another suffix than .png or .svg, or a folder that does not exist.
    """
    if path.suffix.lower() not in PICTURES:
        raise InputError(f"a diagram is written as .png or .svg, not {path.name!r}")
    if not path.parent.is_dir():
        raise InputError(f"the folder {str(path.parent)!r} does not exist; create it")
    return path


def save_picture(figure: Figure, path: Path) -> None:
    """Write a matplotlib figure to a path of `checked_picture`, without a date in an SVG."""
    kind = path.suffix.lower()[1:]
    about = {"Date": None} if kind == "svg" else None
    figure.savefig(path, format=kind, dpi=160, metadata=about, facecolor="white")


def plot(calibration: Calibration, path: Path, title: str = "") -> None:
    """Draw a reliability diagram: accuracy against confidence, above a histogram of confidences.

    Parameters
    ----------
    calibration : Calibration
    path : Path
        ``.png`` or ``.svg``; the same input gives the same SVG.
    title : str
        Plain text above the diagram.

    Raises
    ------
    InputError
        As ``checked_picture`` does.
    """
    path = checked_picture(Path(path))
    import matplotlib
    from matplotlib.figure import Figure

    # The first and third of Okabe and Ito's colors that also differ in brightness.
    blue, orange, ink, quiet = "#0072B2", "#E69F00", "#1B1F24", "#59636E"
    look: dict[Any, Any] = {
        "font.size": 10,
        "text.color": ink,
        "axes.labelcolor": ink,
        "axes.edgecolor": quiet,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.color": quiet,
        "ytick.color": quiet,
        "svg.hashsalt": "stc",
        "text.parse_math": False,  # a title is text, whatever it holds
    }
    bins = calibration.bins
    x = np.array([b.confidence for b in bins])
    y = np.array([b.accuracy for b in bins])
    low, high = np.array([b.interval for b in bins]).T
    with matplotlib.rc_context(look):
        figure = Figure(figsize=(5.0, 6.2), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
        upper.plot([0, 1], [0, 1], "--", color=quiet, linewidth=1, label="perfectly calibrated")
        upper.vlines(x, np.minimum(x, y), np.maximum(x, y), color=orange, linewidth=5, label="gap")
        upper.errorbar(
            x,
            y,
            yerr=(np.maximum(y - low, 0), np.maximum(high - y, 0)),
            fmt="o-",
            color=blue,
            markersize=5,
            linewidth=1.4,
            elinewidth=1,
            capsize=2.5,
            label="answers, with 95 % intervals",
        )
        upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="accuracy")
        upper.grid(color="#D1D9E0", linewidth=0.6)
        upper.set_axisbelow(True)
        upper.legend(loc="lower right", bbox_to_anchor=(1.0, 0.17), frameon=False, fontsize=9)
        upper.text(
            0.98,
            0.03,
            f"calibration error {calibration.error:.3f}\nBrier score {calibration.brier:.3f}\n"
            f"{len(calibration.confidences):,} answers",
            ha="right",
            va="bottom",
            transform=upper.transAxes,
        )
        if title:
            upper.set_title(title, loc="left")
        lower.hist(
            calibration.confidences,
            np.linspace(0, 1, 21),
            color=blue,
            edgecolor="white",
            linewidth=0.6,
        )
        lower.set_yscale("symlog", linthresh=10)  # rare unsure answers stay visible
        lower.yaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
        lower.set(xlabel="probability the model gave its answer", ylabel="answers")
        save_picture(figure, path)
