"""The run: records, resuming, workers, and the command from end to end on a tiny checkpoint."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import write_clip
from helpers.masked import snapshot
from inputs import SIZES, prompt
from small import vlm_of
from typer.testing import CliRunner

from stc_core import METHODS, STC, InputError, Method, compress
from stc_core.__main__ import cli
from stc_core.benchmark.answers_file import NAME
from stc_core.benchmark.ask import ask
from stc_core.benchmark.cases import Shapes
from stc_core.benchmark.rows import COMPOSED, Row, grid, name_of, title_of
from stc_core.benchmark.run import run
from stc_core.methods import Decision
from stc_core.shapes.model.sizes import build, save

ROOT = Path(__file__).resolve().parents[2]
TRIED = [None, STC(retention=0.2), METHODS["fastv"](retention=0.2), METHODS["evs"](retention=0.4)]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A folder with the tiny model, which reads clips of at most 24 frames."""
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    model, processor = build(SIZES["even"], seed=1)
    model.config.text_config.max_position_embeddings = 500
    save(model, processor, folder, {"frames": 4})
    return folder


def command(*arguments):
    return CliRunner().invoke(cli, ["benchmark", *map(str, arguments)])


def lines(folder):
    return [json.loads(line) for line in (folder / NAME).read_text().splitlines()]


def plain(answers):
    """Without times, in an order of their own."""
    kept = [{k: v for k, v in a.items() if k != "seconds"} for a in answers]
    return sorted(kept, key=lambda a: (a["frames"], a["case"], a["method"]))


# One case -----------------------------------------------------------------------------------------


def test_records_say_what_a_fresh_run_and_its_trace_say(tiny):
    vlm = vlm_of(tiny)
    list(ask(vlm, next(Shapes(vlm).cases(1, 4)), [None], 3))  # the library adds hooks of its own
    before = snapshot(vlm.model)
    for case in Shapes(vlm).cases(2, 4):
        records = list(ask(vlm, case, TRIED, 3))
        assert snapshot(vlm.model) == before
        inputs = prompt(vlm.processor, case.frames, case.question)
        cells = {(t * 4 + row) * 4 + col for t, row, col in case.evidence.tolist()}
        for method, record in zip(TRIED, records, strict=True):
            json.dumps(record, allow_nan=False)
            assert record["method"] == name_of(method) and record["case"] == case.id
            if method is None:
                with torch.no_grad():
                    ids = vlm.model.generate(**inputs, do_sample=False, max_new_tokens=3)
                assert record["tokens"] == [64, 64, 64]
                assert set(record["evidence"].values()) == {len(cells)}
            else:
                with compress(vlm.model, method) as trace, torch.no_grad():
                    ids = vlm.model.generate(**inputs, do_sample=False, max_new_tokens=3)
                alive = trace.alive()
                assert record["tokens"] == [64, alive[1], alive[-1]]
                found, outside = record["evidence"], trace.stage("outside")
                door, end = set(outside.survivors.tolist()), set(trace.survivors.tolist())
                assert found["cells"] == len(cells)
                assert found["door"] == len(cells & door) and found["end"] == len(cells & end)
                assert found["door_carried"] == sum(outside.target[c] >= 0 for c in cells)
                assert found["end_carried"] == sum(trace.target[c] >= 0 for c in cells)
            said = vlm.processor.decode(ids[0, inputs["input_ids"].shape[1] :])
            assert record["answer"] == said.replace("<|im_end|>", "").strip()
            assert record["right"] == (record["answer"] == case.answer)
            asked = case.clip, case.question, case.answer, 4
            assert tuple(map(record.get, ("clip", "question", "expected", "frames"))) == asked


def test_the_probability_of_the_right_answer_is_that_of_a_plain_forward_pass(tiny):
    vlm = vlm_of(tiny)
    case = next(Shapes(vlm).cases(1, 4))
    record = next(ask(vlm, case, [None], 3))
    inputs = prompt(vlm.processor, case.frames, case.question)
    tokenizer, model = vlm.processor.tokenizer, vlm.model
    wanted = [*tokenizer.encode(case.answer), model.generation_config.eos_token_id]
    length = inputs["input_ids"].shape[1]
    inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([wanted])], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    with torch.no_grad():
        sure = model(**inputs).logits[0].log_softmax(-1)
    expected = sum(float(sure[length - 1 + i, token]) for i, token in enumerate(wanted))
    assert record["log_right"] == pytest.approx(expected, abs=1e-3)
    assert record["log_answer"] <= 0 and not math.isnan(record["log_answer"])


# A run --------------------------------------------------------------------------------------------


def test_a_run_goes_on_where_another_stopped_and_asks_nothing_twice(tiny, tmp_path):
    vlm = vlm_of(tiny)
    rows = [Row(method, 4, 3, ("main",)) for method in TRIED[:3]]
    whole = run(vlm, Shapes(vlm), rows, tmp_path / "whole")
    assert len(whole.answers) == 9 and not whole.skipped

    class Killed(Exception):
        pass

    def stop(done, total):
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        run(vlm, Shapes(vlm), rows, tmp_path / "torn", on_answer=stop)
    path = tmp_path / "torn" / NAME
    path.write_bytes(path.read_bytes()[:-20])  # four whole answers and a torn one
    counted, told = [], []
    again = run(
        vlm,
        Shapes(vlm),
        rows,
        tmp_path / "torn",
        on_answer=lambda *n: counted.append(n),
        tell=told.append,
    )
    assert counted == [(i + 1, 5) for i in range(5)]
    assert "3 cases" in told[0] and "4 of them known" in told[0]
    assert plain(again.answers) == plain(whole.answers) == plain(lines(tmp_path / "torn")[1:])
    # more questions and another method only add to it
    more = [Row(method, 4, 4, ("main",)) for method in TRIED]
    counted.clear()
    run(vlm, Shapes(vlm), more, tmp_path / "torn", on_answer=lambda *n: counted.append(n))
    assert len(counted) == 16 - 9
    with pytest.raises(InputError, match=r"another configuration \(split, seeds\)"):
        run(vlm, Shapes(vlm, development=True), rows, tmp_path / "torn")


def test_frames_that_do_not_fit_are_left_out_and_methods_that_do_not_fit_refused(tiny, tmp_path):
    vlm = vlm_of(tiny)
    told = []
    rows = [Row(None, frames, 1, ("main",)) for frames in (2, 1000)]
    answers = run(vlm, Shapes(vlm), rows, tmp_path / "a", tell=told.append).answers
    assert [a["frames"] for a in answers] == [2] and "left out 1000 frames" in told[0]
    with pytest.raises(InputError, match="reads at most"):
        run(vlm, Shapes(vlm), rows[1:], tmp_path / "b")
    with pytest.raises(InputError, match="layer 9 is outside"):
        run(vlm, Shapes(vlm), [Row(STC(layer=9), 2, 1)], tmp_path / "b")
    with pytest.raises(InputError, match="no pooling head"):
        run(vlm, Shapes(vlm), [Row(STC(signal="head"), 2, 1)], tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_several_workers_say_what_one_says(checkpoint, tmp_path):
    options = ["--model", checkpoint, "--questions", 3, "--part", "main", "--method", "stc"]
    options += ["--retention", 0.2]
    one = command(*options, "--workers", 1, "--output", tmp_path / "one")
    two = command(*options, "--workers", 2, "--output", tmp_path / "two")
    assert one.exit_code == two.exit_code == 0, one.stderr + two.stderr
    first, second = (lines(tmp_path / name)[1:] for name in ("one", "two"))
    assert [(a["case"], a["method"]) for a in first] == [(a["case"], a["method"]) for a in second]
    for a, b in zip(first, second, strict=True):
        assert a["answer"] == b["answer"] and a["tokens"] == b["tokens"]
        assert a["log_right"] == pytest.approx(b["log_right"], abs=1e-3)


def test_a_killed_process_leaves_a_file_to_go_on_with(checkpoint, tmp_path):
    options = ["--model", checkpoint, "--questions", 400, "--part", "main", "--method", "uniform"]
    call = [sys.executable, "-m", "stc_core", "benchmark", "--output", tmp_path, "--workers", 1]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [str(part) for part in (*call, *options)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    path = tmp_path / NAME
    limit = time.monotonic() + 300
    while time.monotonic() < limit and (not path.exists() or path.read_bytes().count(b"\n") < 4):
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = path.read_bytes().count(b"\n") - 1
    assert there >= 3
    few = [*options[:2], "--questions", 6, *options[4:], "--workers", 1, "--output", tmp_path]
    done = command(*few)
    assert done.exit_code == 0, done.stderr
    assert "of them known already" in done.stderr


# The command --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FirstTokens(Method):
    """Keep the first tokens: what a contributor would write in a file of its own."""

    def outside(self, tokens, contribution, grid):
        return Decision.keeping(torch.arange(self.budget(grid)), len(tokens))


def test_the_quick_grid_with_a_newly_registered_method(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "first", FirstTokens)  # the one line
    readme = tmp_path / "README.md"
    readme.write_text("# T\n<!-- benchmark -->\n<!-- /benchmark -->\n")
    output = tmp_path / "assets" / "results"
    done = command(
        "--quick", "--model", checkpoint, "--workers", 1, "--output", output,
        "--questions", 6, "--write-readme", readme,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "6 cases" in done.stderr and "minutes for the other" in done.stderr
    summary = json.loads((output / "summary.json").read_text())
    names = {row["name"] for row in summary["rows"]}
    plain = {kind.__name__ for kind in METHODS.values()}
    assert names == {"uncompressed", *plain, *map(title_of, COMPOSED)}
    assert "FirstTokens" in names
    assert "| FirstTokens |" in (output / "table.md").read_text()
    assert "| FirstTokens |" in done.stdout and "| FirstTokens |" in readme.read_text()
    found = {row["name"]: row for row in summary["rows"] if row["retention"] == 0.1}
    assert found["FirstTokens"]["tokens"]["door"] == 13  # of 8 x 16
    about = lines(output)[0]
    assert about["split"] == "held-out" and len(about["checkpoint"]) == 64
    assert {"python", "torch", "transformers", "numpy"} == set(about["versions"])
    again = command(
        "--quick", "--model", checkpoint, "--workers", 1, "--output", output, "--questions", 6
    )
    assert again.exit_code == 0 and again.stdout == done.stdout


def test_a_folder_of_videos_with_one_that_is_broken(checkpoint, tmp_path):
    videos, file = tmp_path / "videos", tmp_path / "q.jsonl"
    videos.mkdir()
    write_clip(videos / "a.mp4", range(0, 2000, 250))
    (videos / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(64))
    asked = [
        {
            "video": "a.mp4",
            "question": "what color is the star?",
            "answer": "Red",
            "kind": "color",
            "evidence": [[0, 1, 0, 0, 0.5, 0.5]],
        },
        {"video": "broken.mp4", "question": "what color is the star?", "answer": "red"},
        {"video": "a.mp4", "question": "星星是什么", "answer": "red"},
    ]
    file.write_text("\n".join(json.dumps(line) for line in asked), encoding="utf-8")
    output = tmp_path / "results"
    options = ["--model", checkpoint, "--videos", videos, "--questions-file", file]
    options += ["--output", output, "--method", "stc", "--retention", 0.1, "--workers", 1]
    done = command(*options, "--part", "main")
    assert done.exit_code == 1
    assert "skipped line 2: " in done.stderr and "skipped line 3: " in done.stderr
    assert "2 cases were skipped" in done.stderr and "2 cases were skipped" in done.stdout
    summary = json.loads((output / "summary.json").read_text())
    assert [row["questions"] for row in summary["rows"]] == [1, 1, 1]
    assert summary["rows"][0]["evidence"]["questions"] == 1
    assert list(summary["rows"][0]["kinds"]) == ["color"]
    assert np.isfinite(summary["rows"][1]["log_right"])
    for line in lines(output)[1:]:
        assert (line["clip"], line["question"], line["expected"]) == (
            "a.mp4",
            "what color is the star?",
            "Red",
        )
    file.write_text(file.read_text() + "\n")  # another file, another configuration
    done = command(*options)
    assert done.exit_code == 2 and "questions_sha256" in done.stderr


BAD = {
    "method": (["--method", "magic"], "no method 'magic'"),
    "model": (["--model", "no/such"], "is not on this machine"),
    "retention": (["--retention", "2"], "retention must be"),
    "retention nan": (["--retention", "nan"], "retention must be"),
    "part": (["--part", "all"], "no part 'all'"),
    "questions": (["--questions", "0"], "at least one question"),
    "frames": (["--frames", "0"], "at least one frame"),
    "too many frames": (["--frames", "60"], "reads at most 25 frames"),
    "workers": (["--workers", "0"], "at least one worker"),
    "videos alone": (["--videos", "."], "belong together"),
    "file alone": (["--questions-file", "q"], "belong together"),
    "no folder": (["--videos", "none", "--questions-file", "q"], "no folder"),
    "no file": (["--videos", ".", "--questions-file", "q"], "cannot be read"),
    "readme": (["--write-readme", "none.md"], "no text file"),
    "device": (["--device", "warp"], "not a device"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(case, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD[case]
    model = [] if "--model" in arguments else ["--model", checkpoint]
    done = command(*model, "--output", "out", *arguments)
    assert done.exit_code == 2 and done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if "error: " in line]
    assert len(errors) == 1 and message in errors[0]
    assert not list(tmp_path.iterdir())


def test_a_grid_row_for_every_method_fits_the_tiny_model(tiny):
    depth = len(vlm_of(tiny).model.get_decoder().layers)
    for row in grid(depth, 4, questions=1):
        if row.method is not None:
            with compress(vlm_of(tiny).model, row.method):
                pass
