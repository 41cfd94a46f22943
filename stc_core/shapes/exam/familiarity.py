"""Measure how surely the embedded model tells clips and questions of its world from others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stc_core.answering.video import read_video
from stc_core.errors import InputError
from stc_core.models.familiarity import FRAMES
from stc_core.rates import wilson
from stc_core.shapes.exam.asking import search_questions
from stc_core.shapes.exam.grids import checked_frames
from stc_core.shapes.model.familiar_pictures import recordings, seen_of
from stc_core.shapes.model.opened import open_model
from stc_core.shapes.world.foreign import FOREIGN_SEEDS, foreign_clip
from stc_core.shapes.world.outside_questions import OUTSIDE
from stc_core.shapes.world.question_forms import has_known_form
from stc_core.shapes.world.scenes import HELD_OUT_SEEDS, WORLD

PICTURES = (".png", ".jpg", ".jpeg")
VIDEOS = (".mp4", ".webm", ".mov", ".mkv", ".avi", ".gif")
SHARE = 0.7  # of a picture's shorter side, that a camera shows of it


@dataclass(frozen=True)
class Flagged:
    """Hold how many of one kind of thing were called foreign, and which were not."""

    name: str
    count: int
    flagged: int
    others: tuple[str, ...] = ()  # names of those that were not, where they have names

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "name": self.name,
            "count": self.count,
            "flagged": self.flagged,
            "interval95": list(wilson(self.flagged, self.count)),
            "others": list(self.others),
        }


@dataclass(frozen=True)
class FamiliarityReport:
    """Hold what ``examine_familiarity`` found; ``str`` is a table."""

    rows: tuple[Flagged, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"rows": [row.as_dict() for row in self.rows]}

    def __str__(self) -> str:
        lines = [f"{'called foreign':<44} {'share':>7} {'95 % interval':>16} {'count':>7}"]
        for row in self.rows:
            low, high = wilson(row.flagged, row.count)
            share = f"{row.flagged / row.count:.1%}"
            interval = f"{low:.1%} - {high:.1%}"
            lines.append(f"{row.name:<44} {share:>7} {interval:>16} {row.count:>7}")
            if row.others:
                lines.append(f"    not: {', '.join(row.others)}")
        return "\n".join(lines)


def examine_familiarity(
    source: Any = None,
    clips: int = 200,
    folder: Path | None = None,
    *,
    seeds: range = HELD_OUT_SEEDS,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> FamiliarityReport:
    """Count what is called foreign: clips and questions of the world, and others.

    Parameters
    ----------
    source
        A checkpoint folder, what ``stc_core.load`` returns, or None for the embedded model.
    clips : int
        How many of the world and how many generated ones from outside; as many questions.
    folder : Path, optional
        Real videos and pictures; a camera moves over a picture.
    seeds : range
        Where clips and questions of the world come from.
    on_progress : callable
        Called with (clips scored, clips).

    Raises
    ------
    InputError
        No such folder, nothing in it, or a checkpoint that records no ``stc.familiarity``.
    """
    if clips < 1:
        raise InputError(f"at least one clip is needed, not {clips}; try 200")
    vlm = open_model(source)
    known = getattr(vlm, "familiarity", None)
    if known is None:
        raise InputError(
            f"the model {vlm.name!r} records no world of its own; the embedded model does"
        )
    files = real_files(folder) if folder is not None else []
    grid, side = checked_frames(FRAMES, vlm.model.config), vlm.model.config.vision_config.image_size
    done, total = 0, 2 * clips + len(files)

    def foreign(frames: np.ndarray) -> bool:
        nonlocal done
        score = known.score(seen_of(vlm, frames))
        done += 1
        on_progress(done, total)
        return score > 0

    rows = [
        Flagged("clips of the world", clips, sum(map(foreign, recordings(seeds, clips)))),
        # Those that were fitted come first in the range.
        Flagged(
            "generated clips from outside",
            clips,
            sum(foreign(foreign_clip(seed, FRAMES, side)) for seed in FOREIGN_SEEDS[-clips:]),
        ),
    ]
    if files:
        missed = [path.name for path in files if not foreign(frames_of(path))]
        rows.append(
            Flagged("real videos and pictures", len(files), len(files) - len(missed), (*missed,))
        )
    asked = search_questions(clips, FRAMES, grid, seeds, WORLD, None)
    texts = [question.text for _, question in asked]
    rows.append(_questions("questions of the world", texts))
    rows += [_questions(f"questions, {name}", group) for name, group in OUTSIDE.items()]
    return FamiliarityReport(tuple(rows))


def _questions(name: str, texts: Sequence[str]) -> Flagged:
    return Flagged(name, len(texts), sum(not has_known_form(text) for text in texts))


def real_files(folder: Path) -> list[Path]:
    """Return the videos and pictures in a folder and those below it, by name."""
    if not folder.is_dir():
        raise InputError(f"there is no folder {str(folder)!r}; check the path")
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (*PICTURES, *VIDEOS))
    if not found:
        raise InputError(f"there is no video and no picture in {str(folder)!r}")
    return found


def frames_of(path: Path) -> np.ndarray:
    """Return (T, H, W, 3) uint8 of a video, or of a camera that moves across a picture."""
    if path.suffix.lower() in VIDEOS:
        return read_video(path, FRAMES).frames
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if picture is None:
        raise InputError(f"the picture {path.name!r} cannot be read; leave it out")
    return np.stack(list(_across(picture)))


def _across(picture: np.ndarray) -> Iterator[np.ndarray]:
    height, width = picture.shape[:2]
    side = max(1, int(SHARE * min(height, width)))
    for t in np.linspace(0, 1, FRAMES):
        row, col = int((height - side) * t), int((width - side) * t)
        yield picture[row : row + side, col : col + side]
