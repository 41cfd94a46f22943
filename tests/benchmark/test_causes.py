"""Why in batch: each cause is what ``explain`` finds for the case, and a run goes on."""

from __future__ import annotations

import gzip
import json
import shutil

import pytest
from typer.testing import CliRunner

from stc_core import STC, InputError, Video, load
from stc_core.__main__ import cli
from stc_core.benchmark.answers_file import NAME
from stc_core.benchmark.cases import Shapes, Skipped
from stc_core.benchmark.causes import cause_table, explain_turned
from stc_core.benchmark.rows import Row, name_of
from stc_core.benchmark.run import run
from stc_core.shapes import make_clip
from stc_core.why.explain import explain
from stc_core.why.report import CAUSES

FRAMES, COUNT = 8, 13
ROWS = [
    Row(None, FRAMES, COUNT),
    Row(STC(retention=0.02), FRAMES, COUNT),
]


@pytest.fixture(scope="module")
def vlm():
    return load(device="cpu")


@pytest.fixture(scope="module")
def answered(vlm, tmp_path_factory):
    folder = tmp_path_factory.mktemp("answered")
    run(vlm, Shapes(vlm), ROWS, folder)
    return folder


@pytest.fixture
def folder(answered, tmp_path):
    shutil.copy(answered / NAME, tmp_path / NAME)
    return tmp_path


def lines(folder):
    return [json.loads(line) for line in (folder / NAME).read_text().splitlines()]


def turned(folder, row):
    """Found the slow way: the cases of a row that is wrong where the stock model is right."""
    answers = lines(folder)[1:]
    right = {a["case"] for a in answers if a["method"] == "none" and a["right"]}
    return [
        a for a in answers
        if a["method"] == name_of(row.method) and not a["right"] and a["case"] in right
    ]  # fmt: skip


def test_every_turned_answer_gets_the_cause_that_explain_finds(vlm, folder):
    before = lines(folder)
    found, skipped = explain_turned(vlm, Shapes(vlm), ROWS, folder)
    after = lines(folder)
    assert skipped == [] and len(after) == len(before)  # a column, no lines
    assert [{k: v for k, v in a.items() if k != "why"} for a in after] == before
    for row, counted in zip(ROWS[1:], found, strict=True):
        wrong = turned(folder, row)
        assert wrong and counted.turned == counted.explained == len(wrong)
        for answer in wrong[:2]:
            clip = make_clip(int(answer["clip"]), FRAMES)
            question = next(q for q in clip.questions if q.text == answer["question"])
            video = Video(
                clip.frames, clip.seconds, "clip", 8.0, FRAMES, 1.0, clip.frames.shape[1:3], None
            )
            cells = [(t * 7 + r) * 7 + c for t, r, c in question.evidence.tolist()]
            alone = explain(
                vlm, video, question.text, row.method,
                right=question.answer, evidence=cells, max_new_tokens=4,
                seed=sum(answer["case"].encode()),
            )  # fmt: skip
            assert answer["why"]["cause"] == CAUSES[alone.cause]
            assert answer["why"]["sentence"].startswith(alone.sentence.split(". ")[0][:40])
    others = [a for a in after[1:] if "why" in a]
    assert len(others) == sum(row.turned for row in found)
    assert "lost by" in cause_table(found) and "STC at 2 %, 8 frames" in cause_table(found)


def test_a_bounded_run_is_gone_on_with_and_does_nothing_twice(vlm, folder):
    first, _ = explain_turned(vlm, Shapes(vlm), ROWS, folder, most=1)
    assert first[0].explained == 1 < first[0].turned
    told, kept = [], turned(folder, ROWS[1])[0]["why"]
    second, _ = explain_turned(vlm, Shapes(vlm), ROWS, folder, most=2, tell=told.append)
    assert second[0].explained == 2 and "1 of them explained already" in told[0]
    assert [("why" in a) for a in turned(folder, ROWS[1])][:3] == [True, True, False]
    assert turned(folder, ROWS[1])[0]["why"] == kept
    before = (folder / NAME).read_bytes()
    explain_turned(vlm, Shapes(vlm), ROWS, folder, most=2)
    assert (folder / NAME).read_bytes() == before


def test_what_cannot_be_explained_is_said(vlm, folder, tmp_path):
    with pytest.raises(InputError, match="holds no results to explain; run the benchmark without"):
        explain_turned(vlm, Shapes(vlm), ROWS, tmp_path / "none")
    with pytest.raises(InputError, match="holds none of these methods"):
        explain_turned(vlm, Shapes(vlm), [Row(STC(retention=0.5), FRAMES, 3)], folder)
    with pytest.raises(InputError, match="at least one question"):
        explain_turned(vlm, Shapes(vlm), ROWS, folder, most=0)
    with pytest.raises(InputError, match="another configuration"):
        explain_turned(vlm, Shapes(vlm, development=True), ROWS, folder)
    others = [line for line in lines(folder) if line.get("method") != "none"]
    (folder / NAME).write_text("".join(json.dumps(line) + "\n" for line in others))
    with pytest.raises(InputError, match="or not the uncompressed answers"):
        explain_turned(vlm, Shapes(vlm), ROWS, folder)


def test_a_case_that_is_gone_is_told(vlm, folder):
    class Gone(Shapes):
        def cases(self, questions, frames):
            ids = [answer["case"] for answer in lines(folder)[1:]]
            yield from (Skipped(name, "its video is gone") for name in dict.fromkeys(ids))

    told = []
    (found,), skipped = explain_turned(vlm, Gone(vlm), ROWS, folder, tell=told.append)
    assert found.explained == 0 and len(skipped) == found.turned > 0
    assert f"skipped {skipped[0].id}: its video is gone" in told


def test_the_command_packs_what_was_packed(folder):
    with gzip.open(folder / f"{NAME}.gz", "wb") as packed:
        packed.write((folder / NAME).read_bytes())
    (folder / NAME).unlink()
    asked = ["benchmark", "--why", "--output", str(folder), "--frames", "8", "--questions", "1"]
    done = CliRunner().invoke(cli, asked)
    assert done.exit_code == 0 and "| turned, explained |" in done.stdout, done.output
    assert "why" in turned(folder, ROWS[1])[0]
    refused = CliRunner().invoke(cli, [*asked, "--quick"])
    assert refused.exit_code == 2 and "leave out --quick" in refused.output
