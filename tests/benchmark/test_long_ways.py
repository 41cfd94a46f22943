"""The measurements of long video: the same questions in several ways, an hour in a process."""

import json
import resource
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from stc_core import STC, InputError
from stc_core.__main__ import cli
from stc_core.answering.video import read_video
from stc_core.benchmark.hour import measure_hour, write_scenes
from stc_core.benchmark.long_video import (
    EXACT,
    LongReport,
    Way,
    compare,
    stream_ways,
    window_ways,
)
from stc_core.models.vlm import VLM

WAYS = {EXACT: Way(STC(retention=0.3, window=0)), "small pool": Way(STC(retention=0.3), 64)}


@pytest.fixture
def vlm(tiny):
    return VLM(*tiny, "tiny", "cpu", frames=2)


def test_ways_are_asked_about_the_same_clips_and_go_on_from_a_file(vlm, tmp_path):
    file, told = tmp_path / "answers.jsonl", []
    first = compare(vlm, WAYS, 2, partial=file, on_progress=lambda *done: told.append(done))
    assert first.frames == 20 and told[-1] == (2, 2)
    whole = compare(vlm, WAYS, 3, partial=file)
    assert whole.answers == compare(vlm, WAYS, 3).answers
    for name, entered in ((EXACT, 96), ("small pool", 32)):  # 0.3 of 320; half of the pool
        found = whole.answers[name]
        assert list(found)[:2] == list(first.answers[name])
        assert {answer["entered"] for answer in found.values()} == {entered}
    assert {answer["jaccard"] for answer in whole.answers[EXACT].values()} == {1.0}
    assert all(0 <= answer["jaccard"] < 1 for answer in whole.answers["small pool"].values())


def test_a_report_counts_right_answers_and_points_behind():
    right = {EXACT: [1, 1, 1, 0], "other": [1, 0, 1, 0]}
    answers = {
        name: {
            str(case): {"right": bool(r), "jaccard": 0.5, "entered": 10}
            for case, r in enumerate(rights)
        }
        for name, rights in right.items()
    }
    ways = LongReport(320, answers).as_dict()["ways"]
    assert ways[EXACT]["right"] == 0.75 and ways["other"]["right"] == 0.5
    assert ways[EXACT]["behind"] == {"points": 0.0, "interval95": [0.0, 0.0]}
    assert ways["other"]["behind"]["points"] == 0.25
    text = str(LongReport(320, answers))
    assert "| other | 10 | 50.0 (" in text and "4 questions, 320 frames." in text


def test_the_ways_are_the_exact_result_first_and_then_what_is_asked_about():
    names = list(window_ways(0.02))
    assert names == [EXACT, "windows of 83 frames", "windows of 8 frames"]
    ways = stream_ways(0.02, 320, 49)
    assert [way.pool for way in ways.values()] == [None, 1568, 8192]
    assert {way.method for way in ways.values()} == {STC(retention=0.02, window=0)}


def test_a_written_file_has_the_frames_that_were_asked_for(tmp_path):
    write_scenes(tmp_path / "some.mp4", 63)
    video = read_video(tmp_path / "some.mp4", 100)
    assert len(video.frames) == 63 and np.allclose(np.diff(video.seconds), 1)


def test_an_hour_is_measured_in_a_process_of_its_own(monkeypatch):
    stock = resource.getrusage

    def after_others(who):  # as if this process had ended others before
        used = stock(who)
        return SimpleNamespace(
            ru_utime=used.ru_utime + 1e4, ru_stime=used.ru_stime, ru_maxrss=used.ru_maxrss
        )

    monkeypatch.setattr(resource, "getrusage", after_others)
    report = measure_hour(3, 2, quiet=True)
    assert report.answers[0]["tokens"][0] == 3 * 49 and len(report.seconds) == 2
    assert report.peak_bytes > 100 << 20 and 0 < report.processor_seconds < 1000
    assert "| video tokens | 147 -> " in str(report)
    assert json.loads(json.dumps(report.as_dict()))["frames"] == 3


def test_bad_numbers_are_one_sentence():
    for frames in (0, 4097):
        with pytest.raises(InputError, match=f"^frames must be .* from 1 to 4096, not {frames}$"):
            measure_hour(frames)
    with pytest.raises(InputError, match="^at least one question is needed, not 0$"):
        measure_hour(3, 0)
    with pytest.raises(InputError, match="has failed: .*retention must be a number above 0"):
        measure_hour(1, options=("--retention", "2"), quiet=True)
    for command in ("windows", "stream"):
        done = CliRunner().invoke(cli, ["long-video", command, "--questions", "0"])
        assert done.exit_code == 2 and "at least one question is needed" in done.output
