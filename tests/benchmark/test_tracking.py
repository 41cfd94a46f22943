"""Results in an experiment tracker, with the real packages where they are installed, offline."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small import answer, outcome_of

from stc_core import STC, InputError
from stc_core.benchmark.rows import Row, name_of
from stc_core.benchmark.score import summarize
from stc_core.benchmark.tracking import check_tracker, columns, table_of, track

ROOT = Path(__file__).parents[2]
STC2 = STC(retention=0.02)
ROWS = [Row(None, 8, 9, ("main",)), Row(STC2, 8, 9, ("main",))]


@pytest.fixture(scope="module")
def summary():
    said = [answer(f"c{i}", right=i < 3) for i in range(4)]
    said += [answer(f"c{i}", name_of(STC2), right=i < 2) for i in range(4)]
    return summarize(outcome_of(said), ROWS)


def test_the_table_has_a_row_for_each_method(summary):
    head, rows = table_of(summary)
    assert len(rows) == 2 and all(len(row) == len(head) for row in rows)
    stock, stc = (dict(zip(head, row, strict=True)) for row in rows)
    assert (stock["method"], stock["accuracy"], stock["questions"]) == ("none", 0.75, 4)
    assert (stc["name"], stc["accuracy"], stc["lost"], stc["gained"]) == ("STC", 0.5, 1, 0)
    assert stc["of_full"] == pytest.approx(2 / 3) and stc["tokens_door"] == 10
    assert stc == columns(summary["rows"][1])


def test_the_saved_summary_makes_a_table():
    saved = json.loads((ROOT / "assets" / "results" / "summary.json").read_text("utf-8"))
    head, rows = table_of(saved)
    assert len(rows) == len(saved["rows"]) > 40 and "method" in head


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trackio", "is written trackio:PROJECT or wandb:PROJECT"),
        ("mlflow:x", "is written trackio:PROJECT"),
        ("trackio:", "a project needs a name"),
        ("trackio:a/b", "a project needs a name"),
        ("trackio:" + "a" * 200, "200 characters where 128"),
    ],
)
def test_what_is_no_tracker_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        check_tracker(text)


@pytest.mark.parametrize("tracker", ["trackio", "wandb"])
def test_without_the_package_a_sentence_says_what_to_install(tracker, summary, monkeypatch):
    monkeypatch.setitem(sys.modules, tracker, None)
    for run in (
        lambda: check_tracker(f"{tracker}:tokens"),
        lambda: track(summary, tracker, project="tokens"),
    ):
        with pytest.raises(InputError, match=f"pip install {tracker}"):
            run()


TRACK = """
import json, sys
from stc_core.benchmark.tracking import track
track(json.load(open(sys.argv[1])), sys.argv[2], project="tokens", name="first")
"""


def tracked(tmp_path: Path, summary: dict, tracker: str, **environment: str) -> None:
    """Log in a process of its own: trackers keep threads and settings of a whole process."""
    pytest.importorskip(tracker)
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    done = subprocess.run(
        [sys.executable, "-c", TRACK, "summary.json", tracker],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path)} | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_trackio_holds_the_run(tmp_path, summary):
    tracked(tmp_path, summary, "trackio", TRACKIO_DIR=str(tmp_path / "trackio"))
    read = (
        "import json; from trackio import Api\n"
        "from trackio.sqlite_storage import SQLiteStorage\n"
        "run, = Api().runs('tokens'); print(run.name)\n"
        "history = SQLiteStorage.get_logs('tokens', run.name)\n"
        "print(json.dumps([run.config, history], default=str))"
    )
    env = os.environ | {"TRACKIO_DIR": str(tmp_path / "trackio"), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", read], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    name, found = done.stdout.strip().splitlines()[-2:]
    assert name == "first"
    config, history = json.loads(found)
    assert config["model"] == summary["configuration"]["model"]
    text = json.dumps(history)
    assert "STC(retention=0.02" in text and "STC/0.02/8 frames/accuracy" in text


def test_wandb_writes_offline(tmp_path, summary):
    tracked(tmp_path, summary, "wandb", WANDB_DIR=str(tmp_path))
    (run,) = (tmp_path / "wandb").glob("offline-run-*")
    assert list(run.glob("run-*.wandb"))
    (table,) = run.rglob("*.table.json*")
    data = table.read_bytes()
    found = json.loads(gzip.decompress(data) if table.suffix == ".gz" else data)
    head, rows = table_of(summary)
    assert found["columns"] == head and [row[0] for row in found["data"]] == [r[0] for r in rows]
