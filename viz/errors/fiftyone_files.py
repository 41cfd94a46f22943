"""Write questions of the error table as a data set that FiftyOne imports, without FiftyOne.

The layout is FiftyOne's ``LegacyFiftyOneDataset``, which reads every field from the JSON alone::

    metadata.json   name, media type
    samples.json    {"samples": [...]}: one sample a question, its answers, tags and note
    frames/*.json   {"frames": {"1": ...}}: boxes of the evidence, frame by frame
    data/*.mp4      the clips

Load it with ``fiftyone.Dataset.from_dir(folder, fiftyone.types.LegacyFiftyOneDataset)``.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from stc_core.errors import InputError
from stc_core.text import readable
from stc_core.writing import written_whole

MOST = 200  # questions of one data set
SCALE = 2  # of the clips' 112 pixels
RATE = 4  # frames a second, as in the world of shapes


def write_dataset(
    path: Path, table: dict[str, Any], cases: Sequence[int], methods: Sequence[int], marks: Any
) -> Iterator[float]:
    """Write a data set as a zip file in steps; yield the share that is done.

    The file appears whole when all is done; closing the iterator before leaves nothing.

    Parameters
    ----------
    path : Path
    table : dict
        As ``store.payload`` made it.
    cases : sequence of int
        Numbers of its questions.
    methods : sequence of int
        Methods whose answers are written, the reference first.
    marks : dict
        {number of a question as text: {"tags": list of str, "note": str}}, from a browser.

    Raises
    ------
    InputError
        There are no such questions, too many of them, or they are not about clips of the world of
        shapes, the only ones that can be drawn again.
    """
    checked(table, cases)
    answers = _answers(table, cases, methods)
    samples, clips = [], set()
    with written_whole(path) as partial, zipfile.ZipFile(partial, "w") as zipped:
        for number, case in enumerate(cases):
            yield number / len(cases)
            one = {name: column[case] for name, column in table["questions"].items()}
            clip = _clip(one)
            name = f"{one['clip']}-{one['frames']}"
            if name not in clips:
                clips.add(name)
                _add_clip(zipped, f"data/{name}.mp4", clip.frames)
            labels = f"frames/{number:06}.json"
            evidence = next((q.evidence for q in clip.questions if q.text == one["question"]), ())
            zipped.writestr(labels, json.dumps({"frames": boxes(evidence, clip.grid)}))
            mark = marks.get(str(case)) if isinstance(marks, dict) else None
            samples.append(_sample(one, name, answers[case], mark) | {"frames": labels})
        zipped.writestr("samples.json", json.dumps({"samples": samples}))
        about = {
            "name": "turned answers",
            "media_type": "video",
            "info": {"results": table["name"], "about": table["about"]},
        }
        zipped.writestr("metadata.json", json.dumps(about))
    yield 1.0


def checked(table: dict[str, Any], cases: Any) -> None:
    """Refuse with ``InputError`` what no data set can be made of; a browser sends it."""
    count = len(table["questions"]["id"])
    good = isinstance(cases, (list, tuple)) and all(
        type(case) is int and 0 <= case < count for case in cases
    )
    if not good or not cases:
        raise InputError("no question is shown; change the filters and export again")
    if len(cases) > MOST:
        raise InputError(
            f"a FiftyOne data set holds the clips and at most {MOST} questions, and "
            f"{len(cases):,} are shown; filter them, or export CSV or JSONL"
        )
    if table["source"] != "shapes" or not all(
        table["questions"]["clip"][case].isdecimal() for case in cases
    ):
        raise InputError(
            "these questions are about videos of a folder, which this page does not have; export "
            "CSV or JSONL"
        )


def boxes(evidence: Any, grid: tuple[int, int]) -> dict[str, Any]:
    """Return FiftyOne's frame documents: a detection for each patch of cells with evidence.

    Parameters
    ----------
    evidence : (E, 3) int array
        Frame, row and column.
    grid : (int, int)
        Rows and columns.
    """
    found: dict[str, Any] = {}
    cells = {tuple(cell) for cell in np.asarray(evidence, int).reshape(-1, 3).tolist()}
    while cells:
        patch = _patch(cells)
        frame = patch[0][0]
        rows, cols = [row for _, row, _ in patch], [col for _, _, col in patch]
        box = [
            min(cols) / grid[1],
            min(rows) / grid[0],
            (max(cols) + 1 - min(cols)) / grid[1],
            (max(rows) + 1 - min(rows)) / grid[0],
        ]
        here = found.setdefault(
            str(frame + 1),
            {"frame_number": frame + 1, "evidence": {"_cls": "Detections", "detections": []}},
        )
        here["evidence"]["detections"].append(
            {"_cls": "Detection", "label": "evidence", "bounding_box": box, "tags": []}
        )
    return dict(sorted(found.items(), key=lambda item: int(item[0])))


def _patch(cells: set[tuple]) -> list[tuple]:
    """Take one patch of cells that touch, of one frame, out of a set."""
    waiting = [min(cells)]
    cells.discard(waiting[0])
    patch = []
    while waiting:
        frame, row, col = waiting.pop()
        patch.append((frame, row, col))
        for near in ((row + 1, col), (row - 1, col), (row, col + 1), (row, col - 1)):
            if (frame, *near) in cells:
                cells.discard((frame, *near))
                waiting.append((frame, *near))
    return patch


def _clip(one: dict[str, Any]) -> Any:
    from stc_core.shapes.world.clip import make_clip  # torch comes with it

    return make_clip(int(one["clip"]), one["frames"])


def _add_clip(zipped: zipfile.ZipFile, name: str, frames: np.ndarray) -> None:
    """Add a clip as H.264, a frame each second."""
    file = io.BytesIO()  # an mp4 is written back and forth
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.width, stream.height = frames.shape[2] * SCALE, frames.shape[1] * SCALE
        stream.pix_fmt = "yuv420p"
        for number, picture in enumerate(frames):
            large = picture.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(large), "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    zipped.writestr(name, file.getvalue())


def _answers(
    table: dict[str, Any], cases: Sequence[int], methods: Sequence[int]
) -> dict[int, list[dict[str, Any]]]:
    """Return {case: the answers of these methods, in their order}."""
    answers = table["answers"]
    found: dict[int, dict[int, int]] = {case: {} for case in cases}
    for row, (case, method) in enumerate(zip(answers["case"], answers["method"], strict=True)):
        if case in found and method in methods:
            found[case][method] = row
    made: dict[int, list[dict[str, Any]]] = {}
    for case, rows in found.items():
        made[case] = []
        for method in methods:
            if (row := rows.get(method)) is None:
                continue
            why = answers["why"][row]
            made[case].append(
                {
                    "method": table["methods"][method]["repr"],
                    "answer": table["texts"][answers["answer"][row]],
                    "right": bool(answers["right"][row]),
                    "why": table["whys"][why] if why >= 0 else None,
                }
            )
    return made


def _sample(
    one: dict[str, Any], clip: str, answers: list[dict[str, Any]], mark: Any
) -> dict[str, Any]:
    mark = mark if isinstance(mark, dict) else {}
    tags = mark.get("tags") if isinstance(mark.get("tags"), list) else []
    sample: dict[str, Any] = {
        "filepath": f"data/{clip}.mp4",
        "tags": [readable(str(tag))[:40] for tag in tags[:12]],
        "_media_type": "video",
        "case": one["id"],
        "kind": one["kind"],
        "question": one["question"],
        "right_answer": {"_cls": "Classification", "label": one["expected"], "tags": []},
        "note": readable(str(mark.get("note") or ""))[:4000],
    }
    names = ("reference", "first", "second")
    for name, said in zip(names, answers, strict=False):
        sample |= {
            f"{name}_method": said["method"],
            f"{name}_answer": {"_cls": "Classification", "label": said["answer"], "tags": []},
            f"{name}_right": said["right"],
        }
        if said["why"] is not None:
            sample[f"{name}_why"] = said["why"]
    return sample
