"""The FiftyOne data set, read as its importer reads it, and by FiftyOne where it is installed."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from made_up import write
from small_world import asked

from stc_core import InputError
from stc_core.answering.video import read_video
from stc_core.shapes import make_clip
from viz.errors.fiftyone_files import boxes, write_dataset
from viz.errors.reading import read_results
from viz.errors.store import payload
from viz.errors.thumbnails import pictures

SEEDS = (2_000_000_000, 2_000_000_001)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("results") / "results.jsonl", asked(SEEDS, 8))
    return payload(read_results(path), path.name)


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory):
    home = tmp_path_factory.mktemp("dataset")
    marks = {"1": {"tags": ["odd"], "note": "look here"}}
    shares = list(write_dataset(home / "x.zip", table, [0, 1], [0, 1], marks))
    assert shares[0] == 0 and shares[-1] == 1
    with zipfile.ZipFile(home / "x.zip") as zipped:
        zipped.extractall(home / "x")
    return home / "x"


def test_every_sample_names_its_clip_answers_and_labels(folder, table):
    samples = json.loads((folder / "samples.json").read_text())["samples"]
    assert [one["case"] for one in samples] == [str(seed) for seed in SEEDS]
    for seed, sample in zip(SEEDS, samples, strict=True):
        assert sample["_media_type"] == "video" and sample["first_answer"]["label"] == "wrong"
        assert sample["first_why"] == "lost by tau" and sample["reference_right"] is True
        shown = read_video(folder / sample["filepath"], 8)
        clip = make_clip(seed, 8)
        small = shown.frames[:, ::2, ::2].astype(float)
        assert np.abs(small - clip.frames).mean() < 12  # H.264 loses a little
        labels = json.loads((folder / sample["frames"]).read_text())["frames"]
        covered = set()
        for number, frame in labels.items():
            for one in frame["evidence"]["detections"]:
                x, y, w, h = one["bounding_box"]
                cells = np.argwhere(np.ones((round(7 * h), round(7 * w))))
                covered |= {
                    (int(number) - 1, round(7 * y) + r, round(7 * x) + c) for r, c in cells.tolist()
                }
        question = next(q for q in clip.questions if q.text == sample["question"])
        assert {tuple(cell) for cell in question.evidence.tolist()} <= covered
    assert samples[1]["tags"] == ["odd"] and samples[1]["note"] == "look here"
    assert json.loads((folder / "metadata.json").read_text())["media_type"] == "video"


def test_boxes_are_the_patches_of_cells_that_touch():
    cells = [(0, 0, 0), (0, 0, 1), (0, 3, 3), (2, 1, 1), (2, 2, 1)]
    found = boxes(np.array(cells), (4, 4))
    drawn = {
        number: [one["bounding_box"] for one in frame["evidence"]["detections"]]
        for number, frame in found.items()
    }
    first = [[0, 0, 0.5, 0.25], [0.75, 0.75, 0.25, 0.25]]
    assert drawn == {"1": first, "3": [[0.25, 0.25, 0.25, 0.5]]}
    assert boxes((), (4, 4)) == {}


def test_fiftyone_itself_loads_it(folder):
    try:
        import fiftyone
    except Exception as error:  # not installed, or no database for it
        pytest.skip(f"no FiftyOne: {type(error).__name__}")
    kind = fiftyone.types.LegacyFiftyOneDataset
    dataset = fiftyone.Dataset.from_dir(str(folder), kind, name=None)
    assert len(dataset) == 2 and dataset.media_type == "video"
    frames = dataset.first().frames
    assert any(frames[number].evidence.detections for number in frames)


def test_what_cannot_be_written_is_said_and_leaves_nothing(table, tmp_path):
    for cases, words in (
        ([], "no question is shown"),
        ([9], "no question"),
        ([0] * 201, "at most 200"),
    ):
        with pytest.raises(InputError, match=words):
            list(write_dataset(tmp_path / "x.zip", table, cases, [0], {}))
    with pytest.raises(InputError, match="videos of a folder"):
        list(write_dataset(tmp_path / "x.zip", {**table, "source": "videos"}, [0], [0], {}))
    assert not list(tmp_path.iterdir())


def test_pictures_show_a_moment_of_the_evidence(table):
    found = pictures(table, [0, 1])
    assert all(one["src"].startswith("data:image/jpeg;base64,") for one in found.values())
    clip = make_clip(SEEDS[0], 8)
    question = next(q for q in clip.questions if q.text == table["questions"]["question"][0])
    assert found["0"]["at"] in clip.seconds[question.evidence[:, 0]]
    assert pictures({**table, "source": "videos"}, [0]) == {} == pictures(table, ["0", -1, 7])
    with pytest.raises(InputError, match="at most 60"):
        pictures(table, [0] * 61)
