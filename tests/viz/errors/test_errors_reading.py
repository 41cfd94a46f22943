"""Result files: what is read, what is refused, and by which sentence."""

import gzip
import json
import re
import time
from pathlib import Path

import pytest
from made_up import ABOUT, lines, write

from stc_core import InputError
from viz.errors import reading
from viz.errors.reading import EVIDENCE, TOKENS, parse_method, read_results, settings_of
from viz.errors.store import LIMITS, Tables, payload


@pytest.fixture
def some():
    return lines(6, 5)


def test_every_answer_comes_back(tmp_path, some):
    results = read_results(write(tmp_path / "r.jsonl", some))
    assert results.configuration == ABOUT and not results.torn
    assert [one.repr for one in results.settings] == [one["method"] for one in some[:6]]
    columns, questions = results.columns, results.questions
    assert {len(column) for column in columns.values()} == {len(some)}
    for place, line in enumerate(some):
        asked = questions[columns["case"][place]]
        assert asked == tuple(
            line[name] for name in ("case", "frames", "clip", "kind", "question", "expected")
        )
        assert results.settings[columns["method"][place]].repr == line["method"]
        assert results.texts[columns["answer"][place]] == line["answer"]
        assert columns["right"][place] == line["right"]
        assert [columns[name][place] for name in TOKENS] == line["tokens"]
        found = [columns[name][place] for name in EVIDENCE]
        assert found == (list(line["evidence"].values()) if line["evidence"] else [-1] * 5)
        assert columns["log_right"][place] == line["log_right"]


def test_gzip_bom_blank_lines_and_a_torn_end_are_read(tmp_path, some):
    plain = write(tmp_path / "r.jsonl", some)
    content = plain.read_bytes()
    packed = tmp_path / "r.jsonl.gz"
    packed.write_bytes(gzip.compress(content))
    assert read_results(packed) == read_results(plain)
    plain.write_bytes(b"\xef\xbb\xbf" + content.replace(b"\n", b"\n\r\n"))
    assert read_results(plain) == read_results(packed)
    plain.write_bytes(content[:-1])  # whole but for its end
    assert read_results(plain) == read_results(packed)
    plain.write_bytes(content[:-9])
    torn = read_results(plain)
    assert torn.torn and len(torn.columns["case"]) == len(some) - 1


def test_the_least_a_line_needs_and_no_first_line(tmp_path):
    least = [{"case": "a", "method": "mine", "answer": "x", "right": True}]
    results = read_results(write(tmp_path / "r.jsonl", least, None))
    assert results.questions == (("a", 0, "", "", "", ""),)
    assert results.settings[0].label == "mine" and results.settings[0].retention is None
    assert results.configuration == {} and results.columns["tokens"] == [-1]


def test_what_one_line_does_not_tell_another_does_and_the_later_answer_holds(tmp_path, some):
    first, again = dict(some[1]), dict(some[1], answer="later", right=False)
    del first["question"], first["evidence"]
    results = read_results(write(tmp_path / "r.jsonl", [first, again]))
    assert len(results.columns["case"]) == 1
    assert results.questions[0].question == again["question"]
    assert results.texts[results.columns["answer"][0]] == "later"
    assert results.columns["right"] == [0]


WRONG = {
    "no JSON": ("{", "is not JSON"),
    "nan": ('{"case": NaN}', "NaN is not a number"),
    "a list": ("[1]", "is not a JSON object"),
    "nested": ("[" * 60_000, "is not JSON"),
    "not UTF-8": (b'{"case": "\xff"}', "is not JSON"),
    "no case": ({"case": None}, '"case" must be text'),
    "no method": ({"method": ...}, '"method" is missing'),
    "long method": ({"method": "x" * 1001}, "longer than 1000"),
    "right": ({"right": "yes"}, "\"right\" must be true or false, not 'yes'"),
    "frames": ({"frames": -1}, '"frames" must be a whole number'),
    "frames true": ({"frames": True}, '"frames" must be a whole number'),
    "large": ({"frames": 10**10}, '"frames" must be a whole number'),
    "evidence": ({"evidence": 4}, '"evidence" must be null or an object'),
    "cells": ({"evidence": {"cells": 1}}, '"door" must be a whole number, 0 or more, not None'),
    "no cells": ({"evidence": dict.fromkeys(EVIDENCE, 0)}, "more tokens than there are"),
    "door": ({"evidence": dict.fromkeys(EVIDENCE, 3) | {"door": 4}}, "more tokens than there are"),
    "end": ({"evidence": dict.fromkeys(EVIDENCE, 3) | {"door": 2}}, "more tokens than there are"),
    "tokens": ({"tokens": [1, 2]}, '"tokens" must be three numbers'),
    "log": ({"log_right": "x"}, '"log_right" must be a number'),
    "infinite log": (
        '{"case":"a","method":"m","answer":"","right":true,"log_right":1e999}',
        '"log_right" must be a number',
    ),
}


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_line_is_named_in_one_sentence(tmp_path, some, change, words):
    path = write(tmp_path / "r.jsonl", some[:2])
    if isinstance(change, dict):
        line = {k: v for k, v in {**some[2], **change}.items() if v is not ...}
        change = json.dumps(line)
    line = change if isinstance(change, bytes) else change.encode()
    path.write_bytes(path.read_bytes() + line + b"\n" + json.dumps(some[3]).encode())
    with pytest.raises(InputError) as refused:
        read_results(path)
    text = str(refused.value)
    assert text.startswith("line 4 of r.jsonl") and words in text and "\n" not in text
    assert len(text) < 400


FILES = {
    "empty": (b"", "holds no answer"),
    "only a first line": (json.dumps(ABOUT).encode() + b"\n", "holds no answer"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "line 1 of r.jsonl is not JSON"),
    "damaged gzip": (gzip.compress(b"x" * 1000)[:-20], "damaged gzip"),
    "no gzip": (b"\x1f\x8b" + bytes(30), "damaged gzip"),
    "one long line": (b"x" * 70_000, "longer than 64 KiB"),
    "a bomb": (gzip.compress(bytes(300 << 20), 1), "longer than 64 KiB"),
    "a bomb of lines": (gzip.compress(b"{}\n" + b"\n" * (5 << 20), 1), '"method" is missing'),
}


@pytest.mark.parametrize(("content", "words"), FILES.values(), ids=FILES)
def test_what_is_no_result_file_is_refused_soon(tmp_path, content, words):
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    start = time.process_time()
    with pytest.raises(InputError, match=re.escape(words)):
        read_results(path)
    assert time.process_time() - start < 2


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            read_results(path)


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("MOST_LINES", 4, "too large"),
        ("MOST_BYTES", 900, "too large"),
        ("MOST_METHODS", 3, "more than 3 methods"),
    ],
)
def test_the_bounds_hold(tmp_path, some, monkeypatch, limit, value, words):
    path = write(tmp_path / "r.jsonl", some)
    monkeypatch.setattr(reading, limit, value)
    with pytest.raises(InputError, match=words):
        read_results(path)


def test_half_a_character_becomes_a_whole_one(tmp_path, some):
    line = dict(some[0], answer="\ud83d", question="<img src=x onerror=alert(1)>")
    results = read_results(write(tmp_path / "r.jsonl", [line]))
    assert results.texts == ("?",) and results.questions[0].question == line["question"]


def test_methods_are_read_and_nothing_is_run():
    text = "STC(retention=0.02, positions='original', layer=None, tau=-0.5, ends=(1, 2))"
    options = {
        "retention": 0.02,
        "positions": "original",
        "layer": None,
        "tau": -0.5,
        "ends": (1, 2),
    }
    assert parse_method(text) == ("STC", options)
    for other in ("none", "STC", "STC(0.1)", "os.system('x')", "f(x=g())", "f(**{'a': 1})", "((",
                  "-" * 900 + "1", "\0", ""):  # fmt: skip
        assert parse_method(other) is None


def test_labels_say_what_sets_a_method_apart():
    texts = [f"STC(retention={r}, tau=0.7, lam={lam})" for r in (0.1, 0.02) for lam in (0.5, 1.0)]
    texts += ["none", "STC(retention=0.02, tau=0.9, lam=0.5)", "FastV(retention=2)", "my own"]
    labels = [(one.label, one.retention) for one in settings_of(texts)]
    assert labels == [
        ("STC", 0.1),
        ("STC (lam=1.0)", 0.1),
        ("STC", 0.02),
        ("STC (lam=1.0)", 0.02),
        ("uncompressed", 1.0),
        ("STC (tau=0.9)", 0.02),
        ("FastV", None),
        ("my own", None),
    ]


def test_an_option_that_only_some_name_sets_them_apart():
    texts = ["A(retention=0.1)", "A(retention=0.1, heads='max')", "A(retention=0.1, heads='mean')"]
    labels = [one.label for one in settings_of([*texts, "A(retention=0.2, heads='max')"])]
    assert labels == ["A", "A (heads='max')", "A (heads='mean')", "A (heads='max')"]


def test_the_results_that_ship_are_read_whole():
    path = Path(__file__).resolve().parents[3] / "assets" / "results" / "results.jsonl.gz"
    results = read_results(path)
    with gzip.open(path) as file:
        assert len(results.columns["case"]) == sum(1 for _ in file) - 1
    assert all(one.question and one.expected and one.clip for one in results.questions)
    assert results.settings[0].label == "uncompressed" and results.settings[1].label == "STC"
    # beside what methods at equal FLOPs keep
    assert {one.retention for one in results.settings} > {1.0, 0.1, 0.05, 0.02, 0.01}


def test_sixty_thousand_lines_are_read_in_a_few_seconds(tmp_path):
    path = write(tmp_path / "r.jsonl", lines(1017, 58))
    start = time.process_time()
    results = read_results(path)
    assert time.process_time() - start < 5
    assert len(results.columns["case"]) == 60_003


# Tables -------------------------------------------------------------------------------------------


def test_a_table_is_written_once_and_gives_its_cases(tmp_path, some):
    tables = Tables(tmp_path / "tables")
    path = write(tmp_path / "r.jsonl", some)
    name = tables.add(path)
    assert name == tables.add(path) and len(list(tables.folder.iterdir())) == 1
    written = json.loads(tables.path(name).read_text())
    assert written == json.loads(json.dumps(payload(read_results(path), "r.jsonl")))
    for line in some:
        place = [one["case"] for one in some[::6]].index(line["case"])
        number = [one["method"] for one in some[:6]].index(line["method"])
        case, methods = tables.case(name, place, [0, number])
        assert methods == ("none", line["method"])
        assert case.answers[line["method"]] == line["answer"]
        assert (case.id, case.question, case.expected) == (
            line["case"],
            line["question"],
            line["expected"],
        )
        assert (case.source, case.split, case.frames) == ("shapes", "held-out", 32)


@pytest.mark.parametrize(
    ("name", "case", "methods", "words"),
    [("0" * 20, 0, [0], "not there any more"), ("../../etc/passwd", 0, [0], "not there"),
     (None, 0, [0], "not there"), ("", 6, [0], "no such question"), ("", -1, [0], "no such"),
     ("", True, [0], "no such"), ("", 0, [99], "not asked"), ("", 0, [], "not asked"),
     ("", 0, ["0"], "not asked"), ("", 0, [0] * 4, "no such"), ("", 0, None, "no such")],
)  # fmt: skip
def test_a_browser_that_asks_for_what_is_not_there_gets_a_sentence(
    tmp_path, some, name, case, methods, words
):
    tables = Tables(tmp_path / "tables")
    made = tables.add(write(tmp_path / "r.jsonl", some))
    with pytest.raises(InputError, match=words):
        tables.case(name or (made if name == "" else name), case, methods)


def test_old_tables_go(tmp_path, some):
    tables = Tables(tmp_path / "tables")
    for number in range(LIMITS.things + 3):
        tables.add(write(tmp_path / f"{number}.jsonl", some))
    assert len(list(tables.folder.iterdir())) <= LIMITS.things + 1
    assert tables.path(tables.add(tmp_path / "0.jsonl")).is_file()


def test_notes_belong_to_a_model_and_its_questions(tmp_path, some):
    def key(about, answers=some):
        return read_results(write(tmp_path / "r.jsonl", answers, about)).key()

    assert key(ABOUT) == key(ABOUT | {"seeds": [1, 2]}, some[:9])
    assert key(ABOUT) != key(ABOUT | {"checkpoint": "other"})
    assert key(None) == key({"checkpoint": ["odd"]}) != key(None, some[:6])
