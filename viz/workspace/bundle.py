"""Write a trace for the browser: one binary file of numbers and one picture of all frames.

The file is ``MAGIC``, a uint32 with the length of the header, the header as JSON in UTF-8, and the
arrays that the header lists, each at a multiple of eight bytes (all little endian)::

    header["arrays"]["fate"] == {"type": "uint8", "shape": [1568], "offset": 0}

Offsets count from the first multiple of eight behind the header. ``model.js`` is the reader.
"""

from __future__ import annotations

import json
import math
import struct

import numpy as np

from stc_core.errors import InputError
from stc_core.record.stages import Word
from stc_core.record.trace import Trace
from viz.examples import Known
from viz.pictures.embedding import held, pca, to_scale
from viz.pictures.palette import CODES
from viz.workspace.scales import SCALES

MAGIC = b"TOKENS\x00\x01"  # the last byte is the version
NOBODY = 0xFFFF  # in uint16 indices: no such token; in int32 ones it is -1
MOST_LAYERS = 256  # of an LLM
ROWS = 24  # of attention to all tokens, at most: the later words of a long text, answer first
MOST_PIXELS = 9_000_000  # of the picture of all frames; 128 frames of 256 x 256 are 8.4 million
LONGEST = 16_384  # pixels of a side that browsers still decode


def pack(trace: Trace, about: Known | None = None) -> bytes:
    """Return the trace as one file for the browser; pictures are left to ``sprite``.

    Parameters
    ----------
    about : Known, optional
        The right answer and the evidence, where the world that made the clip knows them.
    """
    return assembled(_header(trace, about), _arrays(trace, about))


def assembled(header: dict, arrays: dict[str, np.ndarray]) -> bytes:
    """Return a file of that header and these arrays; ``unpack`` reads it."""
    header = {**header, "arrays": {}}
    body: list[bytes] = []
    offset = 0
    for name, array in arrays.items():
        array = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        header["arrays"][name] = {
            "type": array.dtype.name,
            "shape": list(array.shape),
            "offset": offset,
        }
        body.append(_padded(array.tobytes()))
        offset += len(body[-1])
    text = json.dumps(header, allow_nan=False).encode()
    start = MAGIC + struct.pack("<I", len(text)) + text
    return _padded(start) + b"".join(body)


def unpack(data: bytes) -> tuple[dict, dict[str, np.ndarray]]:
    """Return (header, arrays by name) of what ``pack`` made; ``InputError`` for anything else."""
    if data[:8] != MAGIC:
        raise InputError("this is no bundle of this version; pack the trace again")
    (length,) = struct.unpack_from("<I", data, 8)
    header = json.loads(data[12 : 12 + length])
    start = 12 + length + -(12 + length) % 8
    arrays = {}
    for name, place in header["arrays"].items():
        count = math.prod(place["shape"])
        flat = np.frombuffer(data, place["type"], count, start + place["offset"])
        arrays[name] = flat.reshape(place["shape"])
    return header, arrays


def sprite(trace: Trace) -> bytes | None:
    """Return all frames as one JPEG, ``tiles(trace)`` says where each lies; None without frames.

    The page waits for it, and WebP takes ten times as long to write (0.2 s for 32 frames).
    """
    place = tiles(trace)
    if place is None or trace.frames is None:
        return None
    import cv2  # 0.2 s that a page without pictures need not wait for

    wide, tall, columns = place["width"], place["height"], place["columns"]
    rows = math.ceil(trace.grid.frames / columns)
    sheet = np.zeros((rows * tall, columns * wide, 3), np.uint8)
    for number, frame in enumerate(trace.frames):
        row, column = divmod(number, columns)
        small = cv2.resize(frame, (wide, tall), interpolation=cv2.INTER_AREA)
        sheet[row * tall : (row + 1) * tall, column * wide : (column + 1) * wide] = small
    good, data = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not good:
        raise RuntimeError("OpenCV could not write the frames as JPEG")
    return data.tobytes()


def tiles(trace: Trace) -> dict[str, int] | None:
    """Return the pixels of a frame in the sprite and the frames per row; None without frames."""
    if trace.frames is None:
        return None
    count, tall, wide = trace.frames.shape[:3]
    columns = math.ceil(math.sqrt(count * tall / wide))  # about square
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    scale = min(
        1.0,
        math.sqrt(MOST_PIXELS / (columns * wide * rows * tall)),
        LONGEST / (columns * wide),
        LONGEST / (rows * tall),
    )
    return {
        "width": max(1, int(wide * scale)),
        "height": max(1, int(tall * scale)),
        "columns": columns,
    }


def _header(trace: Trace, about: Known | None) -> dict:
    return {
        "grid": trace.grid.to_json(),
        "seconds": [round(float(s), 4) for s in trace.seconds],
        "stages": [{"name": stage.name, "layer": stage.layer} for stage in trace.stages],
        "alive": trace.alive(),
        "attention_layer": trace.attention_layer,
        "question": trace.question,
        "answer": trace.answer,
        "logprob": trace.logprob,
        "scores": trace.scores,
        "baseline_answer": trace.baseline.get("answer"),
        "baseline_logprob": _finite(trace.baseline.get("logprob")),
        "expected": about.answer if about else None,
        "method": trace.method,
        "model": trace.model,
        "positions": trace.positions,
        "notes": list(trace.notes),
        "words": [_word(word) for word in trace.words],
        "full_words": [_word(word) for word in trace.full_words],
        "sprite": tiles(trace),
        "codes": [
            {
                "name": fate.name.lower(),
                "color": code.color,
                "mark": code.mark,
                "light": code.light,
                "label": code.label,
                "glyph": code.glyph,
            }
            for fate, code in CODES.items()
        ],
        "scales": SCALES,
        "layers": _layers(trace.costs, trace.grid.size),
        "flops": _finite(trace.costs.get("paper_flops")),
        "full_layers": _layers(_full_costs(trace), trace.grid.size),
        "full_flops": _finite(_full_costs(trace).get("paper_flops")),
        "pca_held": None if trace.features is None else held(trace.features),
    }


def _layers(costs: dict, n: int) -> list[int]:
    """Video tokens in every layer of the LLM; empty where the costs do not say. Untrusted."""
    counts = costs.get("tokens_per_layer")
    if not isinstance(counts, list) or len(counts) > MOST_LAYERS:
        return []
    return counts if all(type(count) is int and 0 <= count <= n for count in counts) else []


def _full_costs(trace: Trace) -> dict:
    costs = trace.baseline.get("costs")
    return costs if isinstance(costs, dict) else {}


def _finite(value: object) -> float | None:
    """Return a number that JSON can hold; the baseline of a trace from a file may be anything."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    return float(value) if abs(value) < math.inf else None


def _word(word: Word) -> dict:
    return {"text": word.text, "kind": word.kind, "logprob": word.logprob}


def _arrays(trace: Trace, about: Known | None) -> dict[str, np.ndarray]:
    arrays = {
        "fate": trace.fate,
        "target": indices(trace.target),
        "weight": trace.weight,
        "contribution": trace.contribution,
        "similarity": trace.similarity,
        "nearest": indices(trace.nearest),
        "order": indices(trace.order),
        "relevance": trace.relevance,
    }
    for number, stage in enumerate(trace.stages):
        arrays[f"stage{number}_fate"] = stage.fate
        arrays[f"stage{number}_target"] = indices(stage.target)
    evidence = about.tokens(trace.grid) if about else None
    if evidence is not None:
        arrays["evidence"] = indices(np.unique(evidence))
    room = ROWS * trace.grid.size  # bytes, so that a long question cannot swell the file
    if trace.features is not None:
        arrays["pca"] = to_scale(pca(trace.features))
        room -= arrays["pca"].nbytes
    for name in ("attention", "full_attention"):
        rows = getattr(trace, name)
        if rows is not None and rows.size:
            fit = min(len(rows), room // rows.shape[1])
            room -= fit * rows.shape[1]
            if fit:
                coded, peaks = _coded(rows[len(rows) - fit :])
                arrays[name], arrays[f"{name}_peak"] = coded, peaks
    return arrays


def indices(tokens: np.ndarray) -> np.ndarray:
    """Return indices in the smallest type that holds them and "nobody", which is -1 here."""
    if tokens.max(initial=-1) < NOBODY:
        return np.where(tokens < 0, NOBODY, tokens).astype(np.uint16)
    return tokens.astype(np.int32)


def _coded(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ((w, n) uint8 ``q``, (w,) float32 ``peak``): a weight is ``peak * (q / 255) ** 2``.

    The root spends the steps where attention lies: most weights are far below the peak.
    """
    rows = rows.astype(np.float32)
    peaks = rows.max(axis=1)
    share = rows / np.where(peaks > 0, peaks, 1)[:, None]
    return np.rint(255 * np.sqrt(share)).astype(np.uint8), peaks


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)
