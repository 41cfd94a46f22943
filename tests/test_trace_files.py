"""Trace files that ask too much: refused at once, in a sentence, for little memory."""

import io
import json
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace

import numpy as np
import pytest
from helpers.traces import full, rewrite, small

from stc_core import Fate, Stage, TokenGrid, Trace
from stc_core.errors import InputError
from stc_core.record import archive, trace_file, trace_header
from stc_core.record.stages import Word

MEASURE = """
import re, sys, time
from pathlib import Path
from stc_core import Trace
from stc_core.errors import InputError
began = time.process_time()
try:
    trace = Trace.load(sys.argv[1])
    found = f"{trace.grid.size} tokens"
except InputError as error:
    found = str(error)
spent = time.process_time() - began
# not ru_maxrss, which begins with that of the process that started this one
status = Path("/proc/self/status")
peak = re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text()) if status.exists() else None
print(spent, int(peak[1]) >> 10 if peak else 0, found, sep="\\n")
"""


def measured(path):
    """(seconds of CPU, MiB at most, what was said) of loading a file in a process of its own."""
    run = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    seconds, memory, said = run.stdout.strip().split("\n")
    return float(seconds), int(memory), said


def parts(path):
    """(header, arrays) of a trace file."""
    with np.load(path) as file:
        arrays = dict(file)
    return json.loads(bytes(arrays.pop("header"))), arrays


def npy(array):
    member = io.BytesIO()
    np.lib.format.write_array(member, array)
    return member.getvalue()


def announced(kind, shape):
    """Header of an array, without its numbers."""
    member = io.BytesIO()
    about = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(member, about)
    return member.getvalue()


def pack(path, text, arrays, **members):
    """A trace file of a header's text, arrays and members as bytes."""
    text = json.dumps(text) if isinstance(text, dict) else text
    blobs = {"header": npy(np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8))}
    blobs |= {name: npy(array) for name, array in arrays.items()} | members
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, blob in blobs.items():
            file.writestr(f"{name}.npy", blob)
    return path


def plain(grid, **fields):
    """A trace that keeps its first token alone."""
    n = grid.size
    fate, target = np.full(n, Fate.DROPPED, np.uint8), np.full(n, -1, np.int64)
    fate[0], target[0] = Fate.KEPT, 0
    stage = Stage("outside", None, target, fate)
    return Trace.from_stages(grid, (stage,), **fields)


# --- what costs too much -------------------------------------------------------------------------


def wide_header(about, arrays):
    return {"text": json.dumps(about)[:-1] + ', "more": [' + "[]," * 30_000_000 + "0]}"}


def inner_lists(about, arrays):
    return {"text": json.dumps(about)[:-1] + ', "more": [' + "[]," * 1_300_000 + "0]}"}


def deep_header(about, arrays):
    return {
        "text": json.dumps(about | {"notes": 0}).replace(
            '"notes": 0', '"notes": ' + "[" * 1_000_000 + "]" * 1_000_000
        )
    }


def open_texts(about, arrays):  # each quote begins a text that never ends
    return {"text": '{"question": "' + '\\"' * 2_000_000}


def long_array_header(about, arrays):
    blob = b"\x93NUMPY\x02\x00" + (90_000_000).to_bytes(4, "little") + b"[]," * 30_000_000
    return {"header": blob}


def many_words(about, arrays):
    word = {"text": "a ", "kind": "answer", "logprob": -1.0}
    return {
        "text": json.dumps(about | {"words": [word] * 60_000}),
        "attention": npy(np.zeros((60_000, 4), np.float16)),
    }


def many_notes(about, arrays):
    return {"text": json.dumps(about | {"notes": ["a"] * 250_000})}


def many_stages(about, arrays):
    return {"text": json.dumps(about | {"stages": [{"name": "inside", "layer": 1}] * 20_000})}


def many_tokens(about, arrays):
    grid = about["grid"] | {"frames": 2048, "rows": 512, "cols": 512}
    return {"text": json.dumps(about | {"grid": grid})}


def large_frames(about, arrays):
    return {"frames": announced(np.uint8, (2, 8000, 8000, 3)) + bytes(2 * 8000 * 8000 * 3)}


def cut_frames(about, arrays):  # large enough to be allowed, and too short in the end
    return {"frames": announced(np.uint8, (2, 4000, 4000, 3)) + bytes(60_000_000)}


def wrong_attention(about, arrays):
    words = [{"text": "a ", "kind": "answer", "logprob": -1.0}] * 4000
    grid = {"frames": 64, "rows": 16, "cols": 16, "height": 16, "width": 16}
    trace = plain(TokenGrid(64, 16, 16))
    rows = np.zeros((4000, trace.grid.size), np.float16)
    rows[-1, -1] = np.nan
    arrays.clear()
    arrays.update({name: getattr(trace, name) for name in trace_file._ARRAYS})
    arrays.update(stage0_fate=trace.fate, stage0_target=trace.target, full_attention=rows)
    changes = {
        "grid": grid,
        "stages": [{"name": "outside", "layer": None}],
        "words": [],
        "baseline": {"words": words},
    }
    return {"text": json.dumps(about | changes)}


COSTLY = {
    wide_header: "at most 4194304 bytes",
    inner_lists: "values where 262144 are the most",
    deep_header: "nested deeper than 16|values where",
    open_texts: "JSONDecodeError",
    long_array_header: "another version than 1.0",
    many_words: "words must be a list of at most 4096",
    many_notes: "notes must be a list of at most 64",
    many_stages: "stages must be a list of at most 2",
    many_tokens: "or 262144 tokens in all",
    large_frames: "1 to 4096 pixels a side and take at most 256 MiB",
    cut_frames: "size of an array is not what its header says",
    wrong_attention: "full_attention holds numbers out of range",
}


@pytest.mark.parametrize("make", COSTLY, ids=lambda make: make.__name__)
def test_what_asks_too_much_is_refused_cheaply(tmp_path, make):
    about, arrays = parts(full().save(tmp_path / "base.npz"))
    members = make(about, arrays)
    text = members.pop("text", json.dumps(about))
    path = pack(tmp_path / "bad.npz", text, arrays, **members)
    assert path.stat().st_size < 4 << 20
    seconds, memory, said = measured(path)
    assert "bad.npz" in said and "\n" not in said
    with pytest.raises(InputError, match=COSTLY[make]):
        Trace.load(path)
    assert memory < 200 and seconds < 1, (memory, seconds)


def test_sizes_that_lie_are_found_out_while_inflating(tmp_path):
    """The directory promises little and the data inflate to much, or the other way round."""
    about, arrays = parts(full().save(tmp_path / "base.npz"))
    honest = announced(np.uint8, (2, 4, 6, 3))
    for given, told in ((honest + bytes(90_000_000), 144), (honest + bytes(100), 144)):
        path = pack(tmp_path / "bad.npz", about, arrays, frames=given)
        raw = bytearray(path.read_bytes())
        for sign, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
            at = raw.rindex(b"frames.npy") if sign == b"PK\x01\x02" else raw.index(b"frames.npy")
            start = raw.rindex(sign, 0, at)
            size = (len(honest) + told).to_bytes(4, "little")
            raw[start + place : start + place + 4] = size
        path.write_bytes(raw)
        seconds, memory, said = measured(path)
        assert "bad.npz is not a trace file or is damaged" in said
        assert memory < 200 and seconds < 1


def test_a_directory_of_very_many_members_is_not_read(tmp_path):
    path = tmp_path / "bad.npz"
    with zipfile.ZipFile(path, "w") as file:
        for number in range(60_000):
            file.writestr(f"{number}.npy", b"")
    seconds, memory, said = measured(path)
    assert "more than 32 members" in said and memory < 100 and seconds < 1


# --- what must open ------------------------------------------------------------------------------

REAL = {
    "32 x 14 x 14": (32, 14, 14, 48),
    "128 x 729": (128, 27, 27, 48),
    "1024 x 7 x 7": (1024, 7, 7, 320),
}


@pytest.mark.parametrize("name", REAL)
def test_real_sizes_open_in_time(tmp_path, name):
    frames, rows, cols, count = REAL[name]
    rng = np.random.default_rng(0)
    n = frames * rows * cols
    words = tuple(Word("a ", "answer", -1.0) for _ in range(count))
    still = rng.integers(0, 256, (1, 144, 256, 3)).astype(np.uint8)
    trace = plain(
        TokenGrid(frames, rows, cols),
        frames=np.tile(still, (frames, 1, 1, 1)),
        words=words,
        attention=np.full((count, 1), 0.5, np.float16),
        attention_layer=3,
        full_attention=np.full((count, n), 0.001, np.float16),
        features=rng.normal(size=(n, 16)).astype(np.float16),
        baseline={"answer": "a", "words": [asdict(word) for word in words]},
    )
    path = trace.save(tmp_path / "a.npz")
    seconds, _, said = measured(path)
    assert said == f"{n} tokens" and seconds < 5
    np.testing.assert_array_equal(Trace.load(path).frames[-1], still[0])


def test_what_is_at_the_limits_opens(tmp_path):
    notes = ("a" * trace_header.LONGEST_NOTE,) * trace_header.MAX_NOTES
    words = (Word("a", "answer", -1.0),) * trace_header.MAX_WORDS
    scores = {f"{number}": -1.0 for number in range(trace_header.MAX_SCORES)}
    trace = small(notes=notes, words=words, scores=scores, answer="a" * trace_header.LONGEST_ANSWER)
    again = Trace.load(trace.save(tmp_path / "a.npz"))
    assert (again.notes, again.words, again.scores) == (notes, words, scores)
    for more in (
        {"notes": (*notes, "a")},
        {"words": (*words, words[0])},
        {"scores": scores | {"b": 0.0}},
        {"answer": trace.answer + "a"},
        {"seconds": np.array([0.0, 0.0])},
        {"seconds": np.array([0.0, 1e8])},
        {"question": "\ud800"},
        {"costs": {"kv_bytes": 0.5}},
        {"frames": np.zeros((2, 5000, 1, 3), np.uint8)},
    ):
        with pytest.raises(InputError, match="^this trace cannot be saved: "):
            replace(trace, **more).save(tmp_path / "b.npz")
    with pytest.raises(InputError, match="bytes where 4194304 are the most"):
        scores = {"界" * 260_000 + name: 0.0 for name in "abcdefgh"}
        replace(trace, scores=scores).save(tmp_path / "b.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_arrays_that_were_written_column_by_column_are_the_same(tmp_path):
    trace = full()
    about, arrays = parts(trace.save(tmp_path / "a.npz"))
    arrays["full_attention"] = np.asfortranarray(np.repeat(arrays["full_attention"], 2, axis=0))
    arrays["full_attention"][1] = 0
    about["baseline"]["words"] *= 2
    again = Trace.load(pack(tmp_path / "b.npz", about, arrays))
    np.testing.assert_array_equal(again.full_attention[0], trace.full_attention[0])
    assert again.full_attention.shape == (2, 8) and not again.full_attention[1].any()


# --- what is odd ---------------------------------------------------------------------------------


def test_members_that_are_odd_are_refused(tmp_path):
    about, arrays = parts(full().save(tmp_path / "a.npz"))
    path = tmp_path / "b.npz"

    def refused(words):
        with pytest.raises(InputError, match=f"b.npz is not a trace file .*{words}"):
            Trace.load(path)

    pack(path, about, arrays, extra=npy(np.zeros(1)))
    refused("a member that this version does not know")
    pack(path, about, arrays)
    with pytest.warns(UserWarning), zipfile.ZipFile(path, "a") as file:
        file.writestr("fate.npy", npy(arrays["fate"]))
    refused("no array or is there twice")
    for kind in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        pack(path, about, {name: arrays[name] for name in arrays if name != "fate"})
        with zipfile.ZipFile(path, "a", kind) as file:
            file.writestr("fate.npy", npy(arrays["fate"]))
        refused("another way than by deflating")
    raw = bytearray(pack(path, about, arrays).read_bytes())
    at = raw.rindex(b"PK\x01\x02", 0, raw.rindex(b"fate.npy"))
    raw[at + 8] |= 1
    path.write_bytes(raw)
    refused("encrypted")
    pack(path, about, arrays)
    with zipfile.ZipFile(path, "a") as file:
        file.comment = b"hello"
    refused("without a comment")
    del arrays["fate"]
    pack(path, about, arrays)
    refused("fate is missing")


ODD = {
    "frames without pixels": ({}, {"frames": np.zeros((2, 0, 4, 3), np.uint8)}),
    "frames of two colors": ({}, {"frames": np.zeros((2, 4, 4, 2), np.uint8)}),
    "an infinite contribution": ({}, {"contribution": np.full(8, np.inf, np.float32)}),
    "an infinite relevance": ({}, {"relevance": np.full(8, -np.inf, np.float32)}),
    "an infinite similarity": ({}, {"similarity": np.full(8, np.inf, np.float32)}),
    "times out of order": ({}, {"seconds": np.array([1.0, 0.5])}),
    "a huge time": ({}, {"seconds": np.array([1.0, 1e300])}),
    "whole seconds": ({}, {"seconds": np.array([0, 1])}),
    "a huge probability": ({"logprob": 10**400}, {}),
    "a true probability": ({"logprob": True}, {}),
    "a score that is a truth": ({"scores": {"a": False}}, {}),
    "a score of a long text": ({"scores": {"a" * 300_000: -1.0}}, {}),
    "a layer that is a float": ({"attention_layer": 2.0}, {}),
    "an inside stage without a layer": (
        {"stages": [{"name": "outside", "layer": None}, {"name": "inside", "layer": None}]},
        {},
    ),
    "stages in the other order": (
        {"stages": [{"name": "inside", "layer": 2}, {"name": "outside", "layer": None}]},
        {},
    ),
    "a word of an odd kind": ({"words": [{"text": "a", "kind": ["answer"]}] * 2}, {}),
    "a note that is a number": ({"notes": [3]}, {}),
    "half a character": ({"question": "\ud800"}, {}),
    "half a character in a word": (
        {"baseline": {"words": [{"text": "\udc00", "kind": "answer"}]}},
        {},
    ),
    "a null character": ({"answer": "a\0"}, {}),
    "an escape in a note": ({"notes": ["\x1b[2J"]}, {}),
    "a name that is a number": ({"model": 3}, {}),
    "an unknown entry": ({"color": 3}, {}),
    "a baseline that is a list": ({"baseline": []}, {}),
    "a huge baseline": ({"baseline": {"logprob": 10**400}}, {}),
    "a baseline without an answer": ({"baseline": {"answer": None}}, {}),
    "costs that are a list": ({"costs": [1]}, {}),
    "costs of an unknown name": ({"costs": {"color": 1}}, {}),
    "a tiny cost": ({"costs": {"paper_flops": 5e-324}}, {}),
    "a huge cost": ({"costs": {"paper_flops": 1e300}}, {}),
    "a negative count": ({"costs": {"tokens_llm": -1}}, {}),
    "a part that is a text": ({"costs": {"seconds": {"decode": "1"}}}, {}),
    "a layer's tokens as text": ({"costs": {"tokens_per_layer": "12"}}, {}),
    "a frame of no size": ({"grid": {"height": 0}}, {}),
    "a frame of enormous size": ({"grid": {"width": 1 << 20}}, {}),
    "a box outside the frame": ({"grid": {"seen": [30, 0, 40, 30]}}, {}),
    "an endless box": ({"grid": {"seen": [0, 0, 1e300, 30]}}, {}),
    "a box of three numbers": ({"grid": {"seen": [0, 0, 20]}}, {}),
    "a box of almost nothing": ({"grid": {"seen": [0, 0, 1e-300, 30]}}, {}),
    "a grid that is a truth": ({"grid": {"frames": True}}, {}),
    "a format that is a text": ({"format": "2"}, {}),
}


@pytest.mark.parametrize("name", ODD)
def test_what_no_view_could_draw_is_refused(tmp_path, name):
    changes, others = ODD[name]
    about, arrays = parts(full().save(tmp_path / "a.npz"))
    if "grid" in changes:
        changes = {"grid": about["grid"] | changes["grid"]}
    arrays |= others
    if "frames" in others:
        about["question"] = "frames"
    path = pack(tmp_path / "b.npz", about | changes, arrays)
    with pytest.raises(InputError, match="b.npz is not a trace file or is damaged") as caught:
        Trace.load(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    str(caught.value).encode()


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have_are_refused(tmp_path, text):
    about, arrays = parts(full().save(tmp_path / "a.npz"))
    trace_header = json.dumps(about | {"logprob": "here"}).replace('"here"', text)
    with pytest.raises(InputError, match="damaged"):
        Trace.load(pack(tmp_path / "b.npz", trace_header, arrays))


def test_names_of_files_are_made_fit_to_be_shown(tmp_path):
    odd = tmp_path / "a\udcff\x1b.npz"
    odd.write_bytes(b"hello")
    for path in (odd, tmp_path / "none\udcff.npz"):
        with pytest.raises(InputError, match="\ufffd") as caught:
            Trace.load(path)
        str(caught.value).encode()
        assert "\x1b" not in str(caught.value)
    rewrite(full().save(odd), format=99)
    with pytest.raises(InputError, match="a\ufffd\ufffd.npz is a trace of format 99, newer"):
        Trace.load(odd)


# --- a full disk ---------------------------------------------------------------------------------

FULL = """
import resource, sys
from helpers.traces import small
import numpy as np
from stc_core.errors import InputError
limit = int(sys.argv[2])
frames = np.random.default_rng(0).integers(0, 256, (2, 300, 300, 3)).astype(np.uint8)
trace = small(frames=frames)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    trace.save(sys.argv[1])
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [0, 100, 5000, 300_000])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, limit):
    path = tmp_path / "a.npz"
    run = subprocess.run(
        [sys.executable, "-c", FULL, path, str(limit)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert run.stdout == f"cannot write {path}: File too large\n" and run.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_the_limits_are_those_that_the_reader_is_told():
    assert archive.MAX_MEMBERS == 32 and trace_header.MAX_DEPTH == 16
    told = Trace.load.__doc__
    for name in (
        "MAX_UNPACKED",
        "MAX_TOKENS",
        "MAX_FRAMES",
        "MAX_CELLS",
        "MAX_PICTURES",
        "MAX_PICTURE_SIDE",
        "MAX_ATTENTION",
        "MAX_SECONDS",
    ):
        assert name in told and hasattr(trace_file, name)
