"""A trace as the browser gets it: everything is there, and no more than it has to be."""

from __future__ import annotations

import struct
from dataclasses import asdict, replace

import cv2
import numpy as np
import pytest
from handmade import big, build
from recorded import WORDS, recorded, walked

from stc_core.errors import InputError
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Word
from viz.examples import Known
from viz.pictures.palette import CODES
from viz.workspace.bundle import MAGIC, NOBODY, ROWS, pack, sprite, tiles, unpack
from viz.workspace.scales import SCALES


def test_nothing_is_lost_on_the_way():
    trace = recorded()
    cells = np.array([trace.grid.locate(token) for token in (20, 13, 13)])
    header, arrays = unpack(pack(trace, Known("?", "blue", 4, cells)))
    for name in ("fate", "weight", "contribution", "similarity", "relevance"):
        assert np.array_equal(arrays[name], getattr(trace, name), equal_nan=name != "fate")
    for name in ("target", "nearest", "order"):
        stored = arrays[name].astype(int)
        assert np.array_equal(np.where(stored == NOBODY, -1, stored), getattr(trace, name))
    for number, stage in enumerate(trace.stages):
        assert np.array_equal(arrays[f"stage{number}_fate"], stage.fate)
        stored = arrays[f"stage{number}_target"].astype(int)
        assert np.array_equal(np.where(stored == NOBODY, -1, stored), stage.target)
        assert header["stages"][number] == {"name": stage.name, "layer": stage.layer}
    assert arrays["evidence"].tolist() == [13, 20] and header["expected"] == "blue"
    assert TokenGrid.from_json(header["grid"]) == trace.grid
    assert header["seconds"] == trace.seconds.tolist() and header["alive"] == [48, 5, 3]
    assert header["words"] == header["full_words"] == [asdict(word) for word in WORDS]
    assert [code["color"] for code in header["codes"]] == [c.color for c in CODES.values()]
    for name in ("question", "answer", "method", "model", "positions", "attention_layer"):
        assert header[name] == getattr(trace, name)


@pytest.mark.parametrize("name", ["attention", "full_attention"])
def test_attention_keeps_its_digits(name):
    trace = recorded()
    _, arrays = unpack(pack(trace))
    decoded = arrays[f"{name}_peak"][:, None] * (arrays[name] / 255.0) ** 2
    peak = getattr(trace, name).max(axis=1, keepdims=True).astype(float)
    assert np.abs(decoded - getattr(trace, name)).max() <= (peak / 200).max()


def test_arrays_are_aligned_and_the_header_says_where_they_are():
    data = pack(recorded(question="ünï" * 7))
    header, _ = unpack(data)
    (length,) = struct.unpack_from("<I", data, 8)
    assert data[:8] == MAGIC and all(a["offset"] % 8 == 0 for a in header["arrays"].values())
    assert len(data) % 8 == 0 and b"\xc3" not in data[12 : 12 + length]  # plain ASCII


@pytest.mark.parametrize(("frames", "most"), [(32, 400_000), (128, 1_500_000)])
def test_real_sizes_stay_small_however_long_the_text(frames, most):
    trace = walked(frames)
    n, entered = trace.grid.size, len(trace.stage("outside").survivors)
    words = tuple(Word(f"word{k} ", "question") for k in range(300))
    long = replace(
        trace,
        words=words,
        attention=np.full((300, entered), 0.5, np.float16),
        full_attention=np.full((300, n), 0.5, np.float16),
        attention_layer=3,
        baseline={"words": [asdict(word) for word in words]},
    )
    data = pack(long)
    header, arrays = unpack(data)
    assert len(data) < most and len(header["words"]) == 300
    assert arrays["attention"].size + arrays["full_attention"].size <= ROWS * n
    assert len(arrays["full_attention"]) >= 16
    assert len(pack(trace)) < most / 2


def test_indices_grow_with_the_clip():
    _, small = unpack(pack(big(14, 14, 32)))
    _, large = unpack(pack(build(TokenGrid(70, 31, 31), kept=(67_000,), frames=None)))
    assert small["target"].dtype == np.uint16
    assert large["target"].dtype == np.int32 and large["target"].min() == -1


def test_another_file_is_refused():
    with pytest.raises(InputError, match="pack the trace again"):
        unpack(b"PK\x03\x04" + bytes(100))


@pytest.mark.parametrize("shape", [(1, 48, 64), (5, 64, 36), (32, 64, 64)])
def test_every_frame_lies_where_the_tiles_say(shape):
    count, tall, wide = shape
    grid = TokenGrid(count, 2, 2, tall, wide)
    level = np.linspace(10, 245, count).astype(np.uint8)
    frames = np.broadcast_to(level[:, None, None, None], (count, tall, wide, 3)).copy()
    trace = build(grid, frames=None)
    trace = replace(trace, frames=frames)
    place = tiles(trace)
    sheet = cv2.imdecode(np.frombuffer(sprite(trace), np.uint8), cv2.IMREAD_COLOR)
    for number in range(count):
        row, column = divmod(number, place["columns"])
        tile = sheet[row * place["height"] :, column * place["width"] :]
        tile = tile[: place["height"], : place["width"]]
        assert tile.shape[:2] == (tall, wide)
        assert np.abs(tile[2:-2, 2:-2].astype(int) - int(level[number])).max() <= 3


def test_large_pictures_are_made_smaller_and_none_is_none():
    trace = replace(
        build(TokenGrid(40, 1, 1), frames=None), frames=np.zeros((40, 512, 900, 3), np.uint8)
    )
    sheet = cv2.imdecode(np.frombuffer(sprite(trace), np.uint8), cv2.IMREAD_COLOR)
    assert sheet.shape[0] * sheet.shape[1] <= 9_000_000
    without = build(TokenGrid(2, 2, 2), frames=None)
    assert sprite(without) is None and unpack(pack(without))[0]["sprite"] is None


@pytest.mark.parametrize("name", list(SCALES))
def test_the_scales_are_matplotlibs(name):
    matplotlib = pytest.importorskip("matplotlib")
    stops = np.array([[int(c[k : k + 2], 16) for k in (1, 3, 5)] for c in SCALES[name]])
    at = np.linspace(0, 1, 256)
    mine = np.stack([np.interp(at, np.linspace(0, 1, 33), stops[:, k]) for k in range(3)], 1)
    theirs = matplotlib.colormaps[name](at)[:, :3] * 255
    assert np.abs(mine - theirs).max() < 5  # of 255
