"""results.js under node: comparison, filters, counts, CSV and marks against plain Python."""

import csv
import io
import json
import math
import subprocess
from pathlib import Path

import pytest
from made_up import lines, write
from node import node_path  # noqa: F401

from viz.errors.reading import read_results
from viz.errors.store import payload

SCRIPT = Path(__file__).resolve().parents[3] / "viz" / "errors" / "results.js"
FLIPS = ("right → right", "right → wrong", "wrong → right", "wrong → wrong")
KINDS_OF_LOSS = ("kept to the end", "lost inside the LLM", "lost before the LLM", "unknown or none")
OPEN = {"flip": -1, "evidence": -1}
ALL = {"kind": None, "frames": None, "mark": None, "text": "", "sides": [OPEN]}


@pytest.fixture(scope="module")
def node(node_path):  # noqa: F811
    def run(code: str, **values):
        """What ``code`` returns; ``values`` are its variables, all as JSON."""
        program = (
            "import { readFileSync } from 'node:fs';\n"
            f"import * as results from '{SCRIPT.as_uri()}';\n"
            "Object.assign(globalThis, results);\n"
            "const given = JSON.parse(readFileSync(0, 'utf-8'));\n"
            f"const {{ {', '.join(values)} }} = given;\n"
            f"console.log(JSON.stringify((() => {{ {code} }})()));"
        )
        done = subprocess.run(
            [node_path, "--input-type=module", "-e", program],
            input=json.dumps(values),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module")
def made():
    return lines(60, 6, seed=3)


@pytest.fixture(scope="module")
def table(made, tmp_path_factory):
    path = write(tmp_path_factory.mktemp("results") / "r.jsonl", made)
    return json.loads(json.dumps(payload(read_results(path), "r.jsonl")))


def lost(line: dict, rule: str = "own") -> str:
    """What became of the evidence, from the line itself."""
    found = line["evidence"]
    if not found:
        return "unknown or none"
    ending = "_carried" if rule == "carried" else ""
    enough = found["cells"] / 2 if rule == "half" else 1
    if max(found[f"door{ending}"], 0) < enough:
        return "lost before the LLM"
    return "lost inside the LLM" if found[f"end{ending}"] < enough else "kept to the end"


def flip(base: dict, line: dict) -> str:
    word = {True: "right", False: "wrong"}
    return f"{word[base['right']]} → {word[line['right']]}"


@pytest.mark.parametrize("rule", ["own", "half", "carried"])
def test_counts_are_those_of_the_lines(node, made, table, rule):
    counts = node(
        "const c = new Comparison(new Results(table), 0, [2, 5], RULES[rule]);"
        "return [0, 1].map((side) => c.table(side, c.cases));",
        table=table,
        rule=rule,
    )
    for side, method in enumerate((2, 5)):
        expected = [[0] * 4 for _ in KINDS_OF_LOSS]
        for start in range(0, len(made), 7):
            base, line = made[start], made[start + method]
            expected[KINDS_OF_LOSS.index(lost(line, rule))][FLIPS.index(flip(base, line))] += 1
        assert counts[side] == expected
    assert sum(map(sum, counts[0])) == 60


def test_every_cell_selects_what_it_counts(node, table):
    found = node(
        "const c = new Comparison(new Results(table), 0, [2]);"
        "const marks = new Marks('k', null), found = [];"
        "for (let flip = -1; flip < 4; flip += 1) for (let evidence = -1; evidence < 4;"
        " evidence += 1) {"
        "  const shown = c.select({ ...all, sides: [{ flip, evidence }] }, marks);"
        "  const counts = c.table(0, c.cases);"
        "  let sum = 0;"
        "  counts.forEach((row, e) => row.forEach((count, f) => {"
        "    if ((flip < 0 || f === flip) && (evidence < 0 || e === evidence)) sum += count; }));"
        "  found.push([shown.length, sum]);"
        "} return found;",
        table=table,
        all=ALL,
    )
    assert len(found) == 25 and all(shown == counted for shown, counted in found)
    assert found[0][0] == 60


def test_filters_and_orders(node, made, table):
    code = (
        "const c = new Comparison(new Results(table), 0, [2]);"
        "return c.sort(c.select({ ...all, ...filter }, new Marks('k', null)), order);"
    )

    def shown(order="file", **filter):
        return node(code, table=table, all=ALL, filter=filter, order=order)

    questions = made[::7]
    kinds = [n for n, one in enumerate(questions) if one["kind"] == "color"]
    assert shown(kind="color") == kinds
    assert shown(frames=32) == list(range(60)) and shown(frames=16) == []
    assert shown(text="  THING 59? ") == [59] and shown(text="color 59") == []
    assert shown(text="order what 60") == []
    said = made[2 + 7 * 4]["answer"]
    assert 4 in shown(text=said)
    gains = [made[n * 7 + 2]["log_right"] - made[n * 7]["log_right"] for n in range(60)]
    assert shown("harmed") == sorted(range(60), key=gains.__getitem__)
    assert shown("helped") == sorted(range(60), key=lambda n: -gains[n])
    by_kind = sorted(range(60), key=lambda n: (questions[n]["kind"], questions[n]["question"]))
    assert shown("kind") == by_kind


def test_only_what_both_were_asked_is_compared(node, made, tmp_path):
    some = [one for n, one in enumerate(made) if n % 7 != 2 or n < 70]
    path = write(tmp_path / "r.jsonl", some)
    table = payload(read_results(path), "r.jsonl")
    first, second, flips = node(
        "const r = new Results(table);"
        "const c = new Comparison(r, 0, [1, 2]);"
        "return [new Comparison(r, 0, [2]).cases, c.cases, c.cases.map((one) => c.flip(1, one))];",
        table=table,
    )
    assert first == list(range(10)) and second == list(range(60))
    assert -1 not in flips[:10] and set(flips[10:]) == {-1}


@pytest.mark.parametrize("pair", [(0, 0), (1, 0), (3, 9), (9, 3), (10, 10), (200, 150), (900, 50)])
def test_mcnemar_is_the_exact_binomial(node, pair):
    every = sum(pair)
    tail = sum(math.comb(every, heads) for heads in range(min(pair) + 1))
    expected = min(1.0, 2 * tail / 2**every)
    found = node("return mcnemar(...pair);", pair=pair)
    assert found == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_thousands_is_a_number(node):
    shown = node(
        "return [[3000, 10], [0, 4], [700, 300]].map((pair) => showP(mcnemar(...pair)));", _=0
    )
    assert shown[0] == "< 1e-300" and shown[1] == "0.125"
    tail = sum(math.comb(1000, heads) for heads in range(301)) / 2**999
    assert float(shown[2]) == pytest.approx(tail, rel=0.05)


def test_csv_holds_what_is_shown_with_marks(node, made, table):
    text = node(
        "const c = new Comparison(new Results(table), 0, [2, 5]);"
        "const marks = new Marks('k', { getItem: () => null, setItem() {} });"
        "marks.set(c.key(7), { tags: ['a', 'b'], note: 'two\\nlines, \"quoted\"' });"
        "return c.csv([7, 3], marks);",
        table=table,
    )
    assert text.startswith("\ufeff") and "\r\n" in text
    rows = list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    assert [row["case"] for row in rows] == ["107", "103"]
    assert rows[0]["tags"] == "a, b" and rows[0]["note"] == 'two\nlines, "quoted"'
    for row, question in zip(rows, (7, 3), strict=True):
        base, line = made[question * 7], made[question * 7 + 2]
        assert row["question"] == base["question"] and row["right answer"] == base["expected"]
        assert row["answer: uncompressed"] == base["answer"]
        assert row["method: STC at 5 %"] == line["method"]
        assert row["flip: STC at 5 %"] == flip(base, line)
        assert row["evidence: STC at 5 %"] == lost(line)
        assert row["share at the end, %: STC at 5 %"] == str(round(100 * 39 / 1568, 1))
        change = float(row["change of the log-probability of the right answer: STC at 5 %"])
        assert change == pytest.approx(line["log_right"] - base["log_right"])


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+1", "-1", "@x", " =1", "\t=1", "\rx", "\n=1", "＝1+1", "＋1", "－1",
     "＠SUM(A1)", "\u3000＝1", "\0=1", "\0x", "\x1b=1", "\u200b=1", "\ufeff＝1", "\u00a0+1",
     "\u202e=1", "\x85=1"],
)  # fmt: skip
def test_no_cell_is_a_formula(node, text):
    (shown,) = next(csv.reader(io.StringIO(node("return cell(text);", text=text), newline="")))
    assert shown == "'" + text


@pytest.mark.parametrize("text", ["red", "a=b", 'say "x"', "<b>", "1"])
def test_other_cells_stay_as_they_are(node, text):
    assert next(csv.reader([node("return cell(text);", text=text)])) == [text]


def test_marks_are_kept_bounded_and_read_again(node):
    found = node(
        "const box = new Map();"
        "const storage = { getItem: (k) => box.get(k) ?? null, setItem: (k, v) => box.set(k, v) };"
        "const one = new Marks('k', storage), other = new Marks('k', storage);"
        "one.set('32 a', { tags: tagsOf('x, y ,x,,' + 'z'.repeat(99)), note: 'n' });"
        "other.set('32 b', { tags: [], note: 'm' });"
        "one.read(); one.set('32 c', { tags: ['q'], note: '' });"
        "one.set('32 c', { tags: [], note: '' });"
        "const odd = ['[1]', '7', 'null', 'no json', '{\"32 a\": 4, \"32 b\": {\"tags\": 1}}'];"
        "return { a: one.get('32 a'), b: one.get('32 b'), tags: one.tags(), c: one.has('32 c', ''),"
        " has: [one.has('32 a', 'x'), one.has('32 b', ''), one.has('32 b', 'x')],"
        " again: new Marks('k', storage).get('32 a').note, other: new Marks('l', storage).tags(),"
        " odd: odd.map((text) => new Marks('k', { getItem: () => text }).marks.size),"
        " none: (() => { const m = new Marks('k', null); m.set('1', { tags: ['t'], note: '' });"
        " return [m.kept, m.has('1', 't')]; })() };",
        _=0,
    )
    assert found["a"] == {"tags": ["x", "y", "z" * 40], "note": "n"}
    assert found["b"]["note"] == "m" and found["c"] is False
    assert found["tags"] == sorted(["x", "y", "z" * 40]) and found["other"] == []
    assert found["has"] == [True, True, False] and found["again"] == "n"
    assert found["odd"] == [0] * 5 and found["none"] == [False, True]


def test_sixty_thousand_answers_are_compared_and_filtered_at_once(node, tmp_path):
    path = write(tmp_path / "r.jsonl", lines(15_000, 3))
    table = payload(read_results(path), "r.jsonl")
    build, select, search = node(
        "const now = () => Number(process.hrtime.bigint()) / 1e6, times = [];"
        "const r = new Results(table), marks = new Marks('k', null);"
        "let start = now(); const c = new Comparison(r, 0, [1, 2]);"
        "c.table(0, c.cases); times.push(now() - start);"
        "const two = [{ flip: 1, evidence: 2 }, { flip: -1, evidence: -1 }];"
        "start = now(); c.select({ ...all, sides: two }, marks); times.push(now() - start);"
        "const none = [{ flip: -1, evidence: -1 }, { flip: -1, evidence: -1 }];"
        "c.select({ ...all, sides: none, text: 'x' }, marks);"
        "start = now(); c.select({ ...all, sides: none, text: 'thing 7' }, marks);"
        "times.push(now() - start); return times;",
        table=table,
        all=ALL,
    )
    assert build < 1000 and select < 200 and search < 400  # a hundredth of it on an idle machine
