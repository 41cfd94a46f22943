"""The model class of lmms-eval, run by its own command line on clips of the world of shapes."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from stc_core import METHODS, InputError, answer, load
from stc_core.assets_folder import assets_folder
from stc_core.text import said_the_same

if find_spec("lmms_eval") is None and not os.environ.get("CI"):
    pytest.skip("lmms-eval is not installed (docs/evaluation.md)", allow_module_level=True)

ROOT = Path(__file__).parents[2]
RETENTION = 0.1
TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: {kind}
doc_to_visual: !function utils.visual
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
doc_to_choice: !function utils.choices
process_results: !function utils.{scored}
generation_kwargs: {{max_new_tokens: 32, until: ["\\n\\n"]}}
metric_list: [{{metric: right, aggregation: mean, higher_is_better: true}}]
"""
UTILS = """\
from stc_core.text import said_the_same


def visual(doc):
    return [doc["video"]]


def choices(doc):
    return doc["choices"]


def scored(doc, results):
    return {"right": float(said_the_same(results[0], doc["answer"]))}


def least_loss(doc, results):
    losses = [loss for loss, _ in results]
    return {"right": float(doc["choices"][losses.index(min(losses))] == doc["answer"])}
"""


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    """(folder, questions): on three example clips in turn, four on each."""
    clips = assets_folder() / "clips"
    found = []
    for clip in json.loads((clips / "clips.json").read_text())["clips"][:3]:
        for one in clip["questions"][:4]:
            other = "purple" if one["answer"] != "purple" else "green"
            found.append(
                {
                    "video": str(clips / clip["file"]),
                    "question": one["text"],
                    "answer": one["answer"],
                    "choices": [one["answer"], other],
                }
            )
    return tmp_path_factory.mktemp("tasks"), found[::2] + found[1::2]


def installed(folder):
    """A folder that makes pyproject.toml's entry point known, as an installed package does."""
    text = (ROOT / "pyproject.toml").read_text()
    (line,) = re.findall(r'^\[project.entry-points."lmms_eval.models"\]\n(.+)$', text, re.MULTILINE)
    about = folder / "site" / "stc_core-0.dist-info"
    about.mkdir(parents=True, exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: stc-core\nVersion: 0\n")
    (about / "entry_points.txt").write_text("[lmms_eval.models]\n" + line.replace('"', "") + "\n")
    return about.parent


def run(folder, questions, kind, scored, *more, flags=()):
    """What ``lmms-eval`` writes about a task with these questions, and what it prints."""
    name = f"shapes_{kind}"
    place = folder / name
    place.mkdir()
    (place / "data.jsonl").write_text("".join(json.dumps(one) + "\n" for one in questions))
    text = TASK.format(name=name, data=place / "data.jsonl", kind=kind, scored=scored)
    (place / f"{name}.yaml").write_text(text)
    (place / "utils.py").write_text(UTILS)
    arguments = f"pretrained=embedded,method=visionzip,retention={RETENTION},frames=8,device=cpu"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lmms_eval", "--model", "stc", "--tasks", name),
            *("--model_args", ",".join([arguments, *more]), "--include_path", str(place)),
            *("--output_path", str(place / "out"), "--log_samples"),
            *flags,
        ],
        capture_output=True,
        text=True,
        env=os.environ
        | {"HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"}
        | {"PYTHONPATH": str(installed(folder))},
        cwd=ROOT,
    )
    assert (place / "out").is_dir(), done.stderr[-4000:]  # an evaluation that fails exits with 0
    (results,) = (place / "out").rglob("*_results.json")
    (samples,) = (place / "out").rglob("*_samples_*.jsonl")
    found = json.loads(results.read_text())["results"][name]
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    return found["right,none"], sorted(lines, key=lambda line: line["doc_id"]), done


def test_its_command_line_gets_the_answers_of_this_package(questions):
    folder, asked = questions
    traces = folder / "traces"
    share, lines, _ = run(folder, asked, "generate_until", "scored", f"traces={traces}")
    vlm, method = load(device="cpu"), METHODS["visionzip"](retention=RETENTION)
    expected = [answer(vlm, q["video"], q["question"], method, frames=8) for q in asked]
    assert [line["filtered_resps"] for line in lines] == [one.text for one in expected]
    right = [said_the_same(one.text, q["answer"]) for one, q in zip(expected, asked, strict=True)]
    assert share == pytest.approx(np.mean(right)) and any(right)
    assert len(list(traces.glob("*.npz"))) == len(asked)


def test_choices_are_scored_by_their_loss(questions):
    folder, asked = questions
    share, lines, _ = run(folder, asked, "multiple_choice", "least_loss", flags=["--force_simple"])
    vlm, method = load(device="cpu"), METHODS["visionzip"](retention=RETENTION)
    right = []
    for question, line in zip(asked, lines, strict=True):
        choices = question["choices"]
        one = answer(vlm, question["video"], question["question"], method, frames=8, score=choices)
        losses = [float(loss) for loss in line["filtered_resps"]]
        better = one.scores[choices[0]] > one.scores[choices[1]]
        assert losses[0] < losses[1] if better else losses[0] > losses[1]
        right.append(better)
    assert share == pytest.approx(np.mean(right))


def test_frames_stretches_history_and_a_system_prompt_arrive(questions):
    from lmms_eval.protocol import ChatMessages

    from stc_core.harness.requests import asked

    frames = [np.full((4, 6, 3), shade, np.uint8) for shade in (0, 9)]
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {
            "role": "user",
            "content": [
                {"type": "video", "url": "a.mp4", "start_time": 1.5, "end_time": 4},
                {"type": "text", "text": "What?"},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "A cat."}]},
        {"role": "user", "content": [{"type": "text", "text": "Where?"}]},
    ]
    found = asked(ChatMessages(messages=messages).messages)
    assert (found.video, found.question, found.system) == ("a.mp4", "Where?", "Be brief.")
    assert found.history == (("What?", "A cat."),) and (found.start, found.end) == (1.5, 4.0)
    pictures = [{"type": "image", "url": frame} for frame in frames]
    text = {"type": "text", "text": "What?"}
    messages = [{"role": "user", "content": [*pictures, text]}]
    video = asked(ChatMessages(messages=messages).messages).video
    np.testing.assert_array_equal(video.frames, np.stack(frames))


def message(*contents, role="user"):
    return SimpleNamespace(role=role, content=[SimpleNamespace(**c) for c in contents])


VIDEO = {"type": "video", "url": "a.mp4", "start_time": None, "end_time": None}


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([message({"type": "text", "text": "What?"})], "shows no video"),
        ([message(VIDEO, VIDEO)], "about one video, not 2"),
        ([message({"type": "audio", "url": "a.wav"})], "text and a video, not audio"),
        ([message(VIDEO), message(VIDEO, role="assistant")], "end with the user's"),
        ([], "end with the user's"),
        (
            [message(*({"type": "image", "url": np.zeros((h, 4, 3), np.uint8)} for h in (2, 3)))],
            "different sizes",
        ),
    ],
)
def test_what_it_cannot_ask_is_one_sentence(messages, sentence):
    from stc_core.harness.requests import asked

    with pytest.raises(InputError, match=sentence):
        asked(messages)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"method": "magic"}, "no method 'magic'"),
        ({"method": "evs", "tau": 0.5}, "has no --tau"),
        ({"method": "none", "tau": 0.5}, "uncompressed model has no setting 'tau'"),
        ({"batch_size": 4}, "batch_size must be 1"),
        ({"pretrained": "no/such-folder/here"}, "no/such-folder/here"),
    ],
)
def test_settings_that_do_not_fit_are_refused(options, sentence):
    from stc_core.harness.model import StcModel

    with pytest.raises(InputError, match=sentence):
        StcModel(**options)


def test_stop_words_and_sampling():
    from stc_core.harness.requests import longest, samples, until

    assert until(" red\n\nQ: ", {"until": ["\n\n", "Q"]}) == "red"
    assert until("red", {"until": "e"}) == "r" and until("red ", {}) == "red"
    assert longest({}) == 64 and longest({"max_new_tokens": 10**9}) == 16_384
    assert samples({"do_sample": True, "temperature": 0.7}) and samples({"num_beams": 4})
    assert not samples({"do_sample": False, "temperature": 0.7, "num_beams": 1})
