"""Trace files changed at random: refused in a sentence, or drawn by everything that draws.

A fixed few hundred by default, each with one picture of the six; ``pytest --fuzz 5000`` tries as
many at random, with all of them.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import itertools
import json
import time
import zipfile
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from handmade import build
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import viz
from stc_core import Trace
from stc_core.errors import InputError
from stc_core.record.grid import TokenGrid
from stc_core.record.stages import Word
from viz.page import cards, onefile
from viz.pictures import overlay
from viz.pictures.words import alt
from viz.workspace.bundle import pack, sprite, unpack

EXAMPLES = 400  # by default, about 40 s
DEEP = "@deep@"  # in a header: 3000 brackets, which the encoder of json would not write
COSTS = {
    "tokens_full": 12,
    "tokens_llm": 5,
    "tokens_end": 3,
    "tokens_per_layer": [5, 5, 3],
    "text_tokens": 9,
    "generated_tokens": 2,
    "paper_flops": 2.5e8,
    "real_flops": {"vision": 1e10, "prefill": 2e8, "total": 1.02e10},
    "kv_bytes": 4096,
    "seconds": {"decode": 0.1, "vision": 0.5},
    "seconds_per_token": [0.01],
    "time_to_first_token": 0.7,
    "peak_memory_bytes": None,
}


def bases():
    """Valid traces: plain, with frames and an inside stage, recorded with an uncompressed run."""
    rng = np.random.default_rng(5)
    grid = TokenGrid(2, 2, 3, 40, 60, (-5.0, 0.0, 45.0, 60.0))
    about = {"contribution": rng.random(12), "relevance": rng.random(12), "costs": COSTS}
    parts = {"kept": (0, 1, 5, 6), "centers": {2: (3, 4, 7)}}
    words = (Word("what", "question"), Word(" red", "answer", -0.25))
    order, nearest = np.full((2, 12), -1)
    order[:3], nearest[1:3] = (0, 1, 2), 0
    yield build(grid, frames=None, **parts, costs=COSTS)
    yield build(grid, **parts, **about, ended={1: 0, 6: -1}, seconds=np.array([0.0, 1.5]))
    yield build(
        grid, **parts, **about, ended={1: 0}, words=words, attention_layer=2, order=order,
        nearest=nearest, similarity=np.linspace(-1, 1, 12), logprob=-0.5, scores={"blue": -2.5},
        notes=("cut off",), attention=rng.random((2, 5)).astype(np.float16),
        full_attention=rng.random((2, 12)).astype(np.float16),
        features=rng.normal(size=(12, 3)).astype(np.float16),
        baseline={
            "answer": "blue", "costs": COSTS, "logprob": -1.5, "scores": {"red": -3.0},
            "words": [dataclasses.asdict(word) for word in words],
        },
    )  # fmt: skip


def opened(trace, folder):
    """(header, arrays) of the file of a trace."""
    with np.load(trace.save(folder / "base.npz")) as file:
        arrays = dict(file)
    return json.loads(bytes(arrays.pop("header"))), arrays


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return [opened(trace, folder) for trace in bases()]


# --- changes -------------------------------------------------------------------------------------

NUMBERS = st.one_of(
    st.sampled_from([0, 1, -1, 2, 3, 0.5, -0.0, 5e-324, 1e-13, 1e30, 1e308, 10**400, -(10**400)]),
    st.sampled_from([float("nan"), float("inf"), float("-inf"), 2**31, 2**53 + 1, 2**63, 65537]),
    st.integers(-3, 70),
    st.floats(-100, 100),
    st.booleans(),
)
TEXTS = st.one_of(
    st.sampled_from(["", "red", "outside", "inside", "compact", "answer", "\ud800", "\udcff a",
                     "\0", "\x1b[2J", "\u202e", "\uffff", "\u2028", "$x^2$ {{y}}", "</script>",
                     "x" * 5000, "x" * 300_000, "界" * 40, "NaN", DEEP]),
    st.text(max_size=6),
)  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), NUMBERS, TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(TEXTS, inner, max_size=3),
        st.builds(lambda value, count: [value] * count, inner, st.sampled_from([4, 65, 5000])),
    ),
    max_leaves=4,
)


def places(value, path=()):
    """Paths to everything in a header."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in inner:
        yield (*path, key)
        if isinstance(item, (dict, list)):
            yield from places(item, (*path, key))


def change_header(data, header, arrays):
    path = data.draw(st.sampled_from(sorted(places(header), key=str)))
    holder = header
    for key in path[:-1]:
        holder = holder[key]
    how = data.draw(st.sampled_from(["set", "near", "near", "remove", "add", "repeat"]))
    old = holder[path[-1]]
    if how == "near" and isinstance(old, (int, float)):
        holder[path[-1]] = old * data.draw(st.sampled_from([-1, 0, 1.0, 2, 3, 0.5, 1e6, 1e-9]))
    elif how in ("set", "near"):
        holder[path[-1]] = data.draw(TEXTS if how == "near" and isinstance(old, str) else VALUES)
    elif how == "remove":
        del holder[path[-1]]
    elif how == "add" and isinstance(holder, dict):
        holder[data.draw(TEXTS)] = data.draw(VALUES)
    elif how == "repeat" and isinstance(old, list):
        holder[path[-1]] = old * data.draw(st.sampled_from([2, 3, 400]))


def change_array(data, header, arrays):
    name = data.draw(st.sampled_from(sorted(arrays)))
    array = arrays[name]
    how = data.draw(
        st.sampled_from(
            ["element"] * 4 + ["swap", "type", "cut", "double", "none", "fill", "turn", "remove"]
        )
    )
    if how in ("element", "fill") and array.size:
        array = array.copy()
        value = data.draw(NUMBERS)
        place = (
            ...
            if how == "fill"
            else np.unravel_index(data.draw(st.integers(0, array.size - 1)), array.shape)
        )
        with np.errstate(all="ignore"), contextlib.suppress(OverflowError, ValueError):
            array[place] = np.array(value, object).astype(array.dtype)
    elif how == "swap":
        array = arrays[data.draw(st.sampled_from(sorted(arrays)))]
    elif how == "type":
        kinds = ["uint8", "int8", "int64", ">i8", "float16", "float32", "float64", "bool", "S3",
                 "datetime64[s]", "complex64"]  # fmt: skip
        with np.errstate(all="ignore"):
            array = np.nan_to_num(array).astype("u1").astype(data.draw(st.sampled_from(kinds)))
    elif how == "cut":
        array = array[:-1]
    elif how == "double":
        array = np.concatenate([array, array])
    elif how == "none" and array.ndim:
        axis = data.draw(st.integers(0, array.ndim - 1))
        array = np.take(array, [], axis=axis)
    elif how == "turn":
        array = np.asfortranarray(array) if data.draw(st.booleans()) else array.T
    arrays[name] = array
    if how == "remove":
        del arrays[name]


def change_members(data, header, arrays):
    name = data.draw(st.sampled_from(["extra", "stage2_fate", "frames", "features", "header"]))
    arrays[name] = np.zeros(
        data.draw(st.sampled_from([(0,), (12,), (2, 1, 1, 3), (12, 1)])),
        data.draw(st.sampled_from(["uint8", "float16"])),
    )


def written(header, arrays, path):
    text = json.dumps(header).replace(json.dumps(DEEP), "[" * 3000 + "]" * 3000)
    arrays = {"header": np.frombuffer(text.encode(), np.uint8), **arrays}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array)
            file.writestr(f"{name}.npy", member.getvalue())
    return path


# --- what must succeed ---------------------------------------------------------------------------


def draw(trace, folder, names, form):
    """Everything that shows a trace, the pictures ``names`` among it."""
    header, _ = unpack(pack(trace))
    assert header["question"] == trace.question
    assert (sprite(trace) is None) == (trace.frames is None)
    for make in (cards.answers, cards.costs, cards.notes, cards.run_line):
        make(trace).encode()
    onefile.page(trace).encode()
    assert repr(trace).startswith("Trace(")
    for name in viz.PICTURES:
        assert alt(trace, name).encode()
    for name in names:
        picture = viz.render(trace, name, 400)
        if form == "png":
            assert picture.png.startswith(b"\x89PNG")
        else:
            ElementTree.fromstring(picture.svg)
    again = Trace.load(trace.save(folder / "again.npz"))
    for field in dataclasses.fields(Trace):
        one, other = (getattr(each, field.name) for each in (trace, again))
        if field.name == "stages":
            one, other = ([dataclasses.astuple(stage) for stage in each] for each in (one, other))
        np.testing.assert_equal(other, one)


def film(trace, folder):
    """The first pictures of the overlay video."""
    making = overlay.steps(trace, folder / "o.webm")
    try:
        shares = list(itertools.islice(making, 3))
        assert shares and all(0 < share <= 1 for share in shares)
    except InputError as error:
        assert "hours" in str(error) and np.ptp(trace.seconds) > overlay.LONGEST / 2
    finally:
        making.close()


def seconds_of(path: Path) -> float:
    """Return the CPU seconds of reading a file, or of refusing it."""
    began = time.process_time()
    with contextlib.suppress(InputError):
        Trace.load(path)
    return time.process_time() - began


def test_a_changed_file_is_refused_or_drawn(files, tmp_path, request):
    count = request.config.getoption("--fuzz")
    thorough, met = bool(count), Counter()

    @settings(
        max_examples=count or EXAMPLES,
        deadline=None,
        derandomize=not thorough,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(st.data())
    def check(data):
        header, arrays = copy.deepcopy(files[data.draw(st.integers(0, len(files) - 1))])
        changes = st.sampled_from([change_header] * 6 + [change_array] * 5 + [change_members])
        for change in data.draw(st.lists(changes, min_size=1, max_size=2)):
            change(data, header, arrays)
        path = written(header, arrays, tmp_path / "changed.npz")
        try:
            trace = Trace.load(path)
        except InputError as error:
            assert "changed.npz" in str(error) and "\n" not in str(error)
            str(error).encode()
            met["refused"] += 1
            return
        finally:
            # the least of three: other threads of this process count, too
            assert any(seconds_of(path) < 1 for _ in range(3))
        met["drawn"] += 1
        names, turn = list(viz.PICTURES), met["drawn"]
        if not thorough:
            names = [names[turn % len(names)]]
        draw(trace, tmp_path, names, ["png", "svg"][turn // len(viz.PICTURES) % 2])
        if thorough or turn % 6 == 0:
            film(trace, tmp_path)

    check()
    print(dict(met))
    assert min(met["refused"], met["drawn"]) > (count or EXAMPLES) / 10, met
