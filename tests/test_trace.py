"""The trace: composition, invariants, files."""

import dataclasses
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from helpers.traces import (
    DI,
    GRID,
    MI,
    OUTSIDE,
    C,
    D,
    K,
    M,
    full,
    inside,
    outside,
    rewrite,
    small,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from stc_core import Stage, TokenGrid, Trace
from stc_core.record import trace_file
from stc_core.record.stages import Word


def random_trace(seed):
    """A trace with random but legal stages, and its grid."""
    rng = np.random.default_rng(seed)
    grid = TokenGrid(*(int(value) for value in rng.integers(1, 4, 3)))
    n = grid.size
    alive = np.sort(rng.choice(n, rng.integers(1, n + 1), replace=False))
    fate = rng.choice([M, D], n)
    fate[alive] = rng.choice([K, C], len(alive))
    target = np.where(fate == D, -1, rng.choice(alive, n))
    target[alive] = alive
    stages = [outside(fate, target)]
    if rng.random() < 0.7:
        end = np.sort(rng.choice(alive, rng.integers(1, len(alive) + 1), replace=False))
        second, goal = fate.copy(), np.full(n, -1)
        gone = np.setdiff1d(alive, end)
        second[gone] = rng.choice([MI, DI], len(gone))
        goal[end] = end
        merged = gone[second[gone] == MI]
        goal[merged] = rng.choice(end, len(merged))
        stages.append(inside(second, goal))
    return Trace.from_stages(grid, tuple(stages))


def test_stages_compose_to_final_fates_targets_and_weights():
    trace = small()
    assert trace.fate.tolist() == [K, M, MI, M, M, C, D, DI]
    assert trace.target.tolist() == [0, 0, 0, 0, 5, 5, -1, -1]
    # 0 is the mean of itself and of the center, which is the mean of three
    np.testing.assert_allclose(trace.weight, [1 / 2, *[1 / 6] * 3, 1 / 2, 1 / 2, 0, 0])
    assert trace.alive() == [8, 4, 2]
    assert trace.survivors.tolist() == [0, 5]
    assert trace.members(0).tolist() == [0, 1, 2, 3]
    assert trace.counts() == {
        "kept": 1,
        "center": 1,
        "merged": 3,
        "dropped": 1,
        "merged_inside": 1,
        "dropped_inside": 1,
    }


def test_tokens_merged_into_a_center_that_is_dropped_inside_are_carried_by_none():
    second = inside([K, M, DI, M, M, C, D, K], [0, -1, -1, -1, -1, 5, -1, 7])
    trace = Trace.from_stages(GRID, (OUTSIDE, second))
    assert trace.target.tolist() == [0, -1, -1, -1, 5, 5, -1, 7]
    assert trace.weight[1] == 0 and trace.fate[1] == M


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**31))
def test_weights_follow_every_token_through_plain_means(seed):
    """Push one-hot tokens through the stages as means and read the weights off the result."""
    trace = random_trace(seed)
    n = trace.grid.size
    rows = {i: np.eye(n)[i] for i in range(n)}
    for stage in trace.stages:
        rows = {
            s: np.mean([rows[i] for i in rows if stage.target[i] == s], axis=0)
            for s in stage.survivors
        }
    for token in range(n):
        goal = trace.target[token]
        expected = rows[goal][token] if goal >= 0 else 0
        assert trace.weight[token] == pytest.approx(expected, abs=1e-6)
    assert sorted(rows) == trace.survivors.tolist()


BROKEN = {
    "a survivor must be its own target": [
        outside([K, M, C, M, M, C, D, K], [7, 2, 2, 2, 5, 5, -1, 7])
    ],
    "merged token's target must survive": [
        outside([K, M, C, M, M, C, D, K], [0, 6, 2, 2, 5, 5, -1, 7])
    ],
    "merged token's target must survive ": [
        outside([K, M, C, M, M, C, D, K], [0, -1, 2, 2, 5, 5, -1, 7])
    ],
    "thrown away has no target": [outside([K, M, C, M, M, C, D, K], [0, 2, 2, 2, 5, 5, 0, 7])],
    "leaves no token": [outside([D] * 8, [-1] * 8)],
    "did not reach it": [OUTSIDE, inside([K, K, C, M, M, C, D, K], [0, 1, 2, -1, -1, 5, -1, 7])],
    "did not reach it ": [OUTSIDE, inside([K, MI, C, M, M, C, D, K], [0, 0, 2, -1, -1, 5, -1, 7])],
    "without a fate of its own": [
        OUTSIDE,
        inside([K, M, D, M, M, C, D, K], [0, -1, -1, -1, -1, 5, -1, 7]),
    ],
    "below 6": [outside([K, M, C, M, M, C, 9, K], [0, 2, 2, 2, 5, 5, -1, 7])],
    "must be 8 numbers": [outside([K] * 7, range(7))],
    "named 'outside' or 'inside'": [Stage("twice", None, OUTSIDE.target, OUTSIDE.fate)],
    "at least one stage": [],
}


@pytest.mark.parametrize("message", BROKEN)
def test_broken_stages_are_refused_on_construction(message):
    with pytest.raises(ValueError, match=message.strip()):
        Trace.from_stages(GRID, tuple(BROKEN[message]))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("fate", np.zeros(8, np.uint8), "what its stages lead to"),
        ("target", np.arange(8), "what its stages lead to"),
        ("weight", np.ones(8, np.float32), "weight above zero"),
        ("weight", np.array([0.4, *[1 / 6] * 3, 0.5, 0.5, 0, 0], np.float32), "sum to 1"),
        ("relevance", np.ones(7, np.float32), "must be 8 numbers"),
        ("contribution", np.ones(8), "must be 8 numbers of type float32"),
        ("seconds", np.arange(3.0), "one time for each of its 2 frames"),
        ("seconds", np.array([0, np.nan]), "one time for each"),
        ("frames", np.zeros((3, 4, 4, 3), np.uint8), "frames must be"),
        ("positions", "random", "positions must be"),
        ("order", np.arange(8, dtype=np.int32), "must be 8 numbers of type int64"),
        ("order", np.array([0, 2, *[-1] * 6]), "number the tokens reached"),
        ("order", np.array([0, 0, *[-1] * 6]), "number the tokens reached"),
        ("order", np.array([0, -2, *[-1] * 6]), "number the tokens reached"),
        ("nearest", np.array([1, *[-1] * 7]), "of tokens in its order"),
        ("nearest", np.array([-1, 8, *[-1] * 6]), "of tokens in its order"),
        ("words", ("what",), "of the type Word"),
        ("logprob", float("nan"), "log-probabilities must be finite"),
        ("scores", {"red": float("-inf")}, "log-probabilities must be finite"),
        ("attention", np.zeros((1, 4), np.float16), "attention must be 0 x 4 float16"),
        ("full_attention", np.zeros((1, 8), np.float16), "full_attention must be 0 x 8"),
        ("baseline", {"words": [{"text": "what", "kind": "told"}]}, "kind 'question' or 'answer'"),
        ("features", np.zeros((8, 2), np.float32), "features must be 8 x 1 to 16"),
        ("features", np.zeros((8, 17), np.float16), "features must be 8 x 1 to 16"),
        ("features", np.full((8, 2), np.inf, np.float16), "features must be 8 x 1 to 16"),
    ],
)
def test_broken_fields_are_refused_on_construction(field, value, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(small(), **{field: value})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"attention": np.zeros((2, 3), np.float16)}, "must be 2 x 4 float16"),
        ({"attention": np.zeros((2, 4))}, "must be 2 x 4 float16"),
        ({"attention": np.full((2, 4), np.nan, np.float16)}, "numbers from 0 to 1"),
        ({"attention": np.full((2, 4), 2, np.float16)}, "numbers from 0 to 1"),
        ({"attention_layer": None}, "must name the layer"),
    ],
)
def test_attention_must_fit_the_words_and_the_tokens_that_entered(fields, message):
    words = (Word("what", "question"), Word("red", "answer", -0.5))
    good = {"words": words, "attention": np.zeros((2, 4), np.float16), "attention_layer": 2}
    small(**good)
    with pytest.raises(ValueError, match=message):
        small(**good | fields)


def test_a_nearest_token_must_have_had_its_turn():
    order = np.array([1, 0, *[-1] * 6])
    small(order=order, nearest=np.array([1, *[-1] * 7]))
    with pytest.raises(ValueError, match="had its turn before"):
        small(order=order, nearest=np.array([-1, 0, *[-1] * 6]))


def test_what_was_not_walked_or_recorded_is_empty():
    trace = small()
    assert (trace.order == -1).all() and (trace.nearest == -1).all()
    assert trace.words == trace.full_words == () and trace.attention is None


def test_a_file_gives_back_the_same_trace(tmp_path):
    trace = full()
    loaded = Trace.load(trace.save(tmp_path / "a.npz"))
    for field in dataclasses.fields(Trace):
        one, other = getattr(trace, field.name), getattr(loaded, field.name)
        if field.name == "stages":
            for a, b in zip(one, other, strict=True):
                assert (a.name, a.layer) == (b.name, b.layer)
                np.testing.assert_array_equal(a.target, b.target)
                np.testing.assert_array_equal(a.fate, b.fate)
        else:
            np.testing.assert_equal(one, other)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


SINCE_2 = ("order", "nearest", "attention", "full_attention", "features")


def as_format_1(path, trace):
    """Write a trace of one outside and one inside stage as the first format laid it out."""
    header = {
        "format": 1,
        "grid": {"frames": 2, "rows": 2, "cols": 2, "height": 20, "width": 30, "seen": None},
        "stages": [{"name": "outside", "layer": None}, {"name": "inside", "layer": 2}],
        "method": trace.method,
        "model": trace.model,
        "question": trace.question,
        "answer": trace.answer,
        "positions": trace.positions,
        "notes": list(trace.notes),
        "costs": trace.costs,
        "baseline": {"answer": "blue", "costs": {}},
    }
    arrays = {
        name: getattr(trace, name)
        for name in (
            "fate",
            "target",
            "weight",
            "contribution",
            "similarity",
            "relevance",
            "seconds",
            "frames",
        )
    }
    for number, stage in enumerate(trace.stages):
        arrays |= {f"stage{number}_target": stage.target, f"stage{number}_fate": stage.fate}
    raw = json.dumps(header, ensure_ascii=False).encode()
    np.savez_compressed(path, header=np.frombuffer(raw, np.uint8), **arrays)


def test_a_file_of_the_first_format_still_loads(tmp_path):
    path, trace = tmp_path / "old.npz", full()
    as_format_1(path, trace)
    loaded = Trace.load(path)
    for name in ("fate", "target", "weight", "contribution", "similarity", "relevance", "frames"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(trace, name))
    assert (loaded.question, loaded.notes) == (trace.question, trace.notes)
    assert loaded.baseline == {"answer": "blue", "costs": {}}
    assert (loaded.order == -1).all() and (loaded.nearest == -1).all()
    assert loaded.words == () and loaded.logprob is None and loaded.scores == {}
    assert loaded.attention is loaded.full_attention is loaded.features is None


@pytest.mark.parametrize("name", SINCE_2)
def test_arrays_that_do_not_fit_are_refused_when_a_file_is_read(tmp_path, name):
    path = full().save(tmp_path / "a.npz")
    with np.load(path) as file:
        arrays = dict(file)
    for bad in (arrays[name][1:], arrays[name].astype(np.float64), np.array({}, dtype=object)):
        np.savez(path, **arrays | {name: bad})
        with pytest.raises(ValueError, match="not a trace file or is damaged"):
            Trace.load(path)


@pytest.mark.parametrize(
    "header",
    [
        {"words": [{"text": 7, "kind": "answer"}] * 2},
        {"words": [{"text": "a", "kind": "answer", "logprob": "-1"}] * 2},
        {"words": [{"text": "a", "kind": "answer", "size": 3}] * 2},
        {"words": []},
        {"words": "ab"},
        {"logprob": "nan"},
        {"scores": {"a": None}},
        {"attention_layer": -1},
        {"baseline": {"words": 3}},
    ],
)
def test_words_and_probabilities_that_do_not_fit_are_refused_when_a_file_is_read(tmp_path, header):
    path = full().save(tmp_path / "a.npz")
    rewrite(path, **header)
    with pytest.raises(ValueError, match="not a trace file or is damaged"):
        Trace.load(path)


def test_pictures_that_change_little_take_little_room(tmp_path):
    rng = np.random.default_rng(1)
    still = np.tile(rng.integers(0, 256, (1, 128, 128, 3)).astype(np.uint8), (2, 1, 1, 1))
    trace = small(frames=still)
    assert trace.save(tmp_path / "a.npz").stat().st_size < 0.6 * still.nbytes
    np.testing.assert_array_equal(Trace.load(tmp_path / "a.npz").frames, still)


def test_equal_traces_are_equal_files_whenever_they_are_saved(tmp_path, monkeypatch):
    one = full().save(tmp_path / "a.npz").read_bytes()
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert full().save(tmp_path / "b.npz").read_bytes() == one


def test_a_file_opens_without_torch(tmp_path):
    path = full().save(tmp_path / "a.npz")
    code = (
        "import sys; sys.modules.update(torch=None, transformers=None, cv2=None)\n"
        f"from stc_core import Trace; print(Trace.load({str(path)!r}).answer)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout, run.returncode) == ("red\n", 0), run.stderr


def test_a_file_from_a_newer_version_is_refused(tmp_path):
    path = full().save(tmp_path / "a.npz")
    rewrite(path, format=trace_file.FORMAT + 1)
    with pytest.raises(ValueError, match="newer than .* update the program"):
        Trace.load(path)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_damaged_files_are_refused_in_one_sentence(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "a.npz"
    full().save(path)
    raw = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        raw = raw[: data.draw(st.integers(0, len(raw) - 1))]
    else:
        for _ in range(20):
            raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    try:
        Trace.load(path)  # a flip may hit padding that no one reads
    except ValueError as error:
        assert "\n" not in str(error) and "a.npz" in str(error)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x05\x06" + 18 * b"\0"])
def test_what_is_no_trace_is_refused(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a trace file or is damaged"):
        Trace.load(path)


def test_missing_files_and_folders_are_one_sentence(tmp_path):
    with pytest.raises(ValueError, match="there is no trace file"):
        Trace.load(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="there is no trace file"):
        Trace.load(tmp_path)
    with pytest.raises(ValueError, match="does not exist; create it"):
        full().save(tmp_path / "none" / "a.npz")


def test_pickles_are_never_opened(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, header=np.array([{"format": 2}], dtype=object))
    with pytest.raises(ValueError, match="not a trace file"):
        Trace.load(path)


def test_a_file_that_would_unpack_to_too_much_is_refused(tmp_path, monkeypatch):
    path = full().save(tmp_path / "a.npz")
    monkeypatch.setattr(trace_file, "MAX_UNPACKED", 1000)
    with pytest.raises(ValueError, match="would unpack to"):
        Trace.load(path)


def test_saving_over_a_file_leaves_the_old_one_when_it_fails(tmp_path, monkeypatch):
    path = full().save(tmp_path / "a.npz")
    before = path.read_bytes()

    def disk_full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", disk_full)
    with pytest.raises(ValueError, match="No space left on device"):
        full().save(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.npz"]


def test_the_archive_is_an_ordinary_npz(tmp_path):
    path = full().save(tmp_path / "a.npz")
    names = zipfile.ZipFile(path).namelist()
    assert {"header.npy", "fate.npy", "target.npy", "frames.npy"} <= set(names)
