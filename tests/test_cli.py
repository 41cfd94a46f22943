"""The command line as a user calls it: a process, its output, its exit code."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from clips import write_clip, write_sound
from typer.testing import CliRunner

from stc_core import Trace
from stc_core.__main__ import cli
from stc_core.answering.teaching import FOREIGN_CLIP
from stc_core.methods import METHODS
from stc_core.models import loading

ROOT = Path(__file__).resolve().parent.parent
QUESTION = "what color is the star?"


def run(*arguments, cwd=ROOT):
    return subprocess.run(
        [sys.executable, "-m", "stc_core", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)},
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", range(0, 4000, 250))


def test_answer_prints_one_json_object_and_writes_the_trace(clip, tmp_path):
    done = run(
        "answer", clip, QUESTION, "--json", "--retention", 0.1, "--frames", 8, "--baseline",
        "--trace", tmp_path / "t.npz",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    trace = Trace.load(tmp_path / "t.npz")
    assert record["answer"] == trace.answer
    assert record["logprob"] == trace.logprob < 0
    assert trace.words and trace.attention is not None and trace.features is not None
    assert record["uncompressed"] == trace.baseline["answer"]
    assert record["tokens"] == trace.alive()
    assert record["tokens"][1] == round(0.1 * record["tokens"][0])
    assert record["fates"] == trace.counts()
    assert record["method"] == trace.method and trace.method.startswith("STC(retention=0.1")
    assert record["model"] == "embedded"
    assert record["grid"][0] == 8
    assert record["costs"]["paper_flops"] < record["uncompressed_costs"]["paper_flops"]
    assert "vision" in done.stderr and "Traceback" not in done.stderr


def test_answer_prints_the_answer_alone_on_stdout(clip):
    done = CliRunner().invoke(cli, ["answer", str(clip), QUESTION, "--frames", "4"])
    assert done.exit_code == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert "video tokens, STC(retention=0.02" in done.stderr


def test_a_streamed_answer_is_the_same_line_on_stdout(clip):
    arguments = ["answer", clip, QUESTION, "--frames", 4, "--baseline"]
    plain, streamed = run(*arguments), run(*arguments, "--stream")
    assert streamed.returncode == 0, streamed.stderr
    assert streamed.stdout == plain.stdout
    said = plain.stderr.splitlines()[-1]
    assert said.startswith("uncompressed: ")
    assert f"{said}\n" in streamed.stderr and "video tokens, STC(" in streamed.stderr
    refused = run(*arguments, "--stream", "--json")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.splitlines() == [
        "error: --stream prints plain text as it comes; leave out --json"
    ]


def test_the_embedded_model_says_that_a_film_is_not_of_its_world():
    film = Path(find_spec("gradio").origin).parent / "media_assets" / "videos" / "world.mp4"
    for path, notes in ((film, 1), (ROOT / "assets" / "clips" / "tall.mp4", 0)):
        done = CliRunner().invoke(cli, ["answer", str(path), QUESTION, "--frames", "4"])
        assert done.exit_code == 0, done.stderr
        assert done.stderr.count(f"note: {FOREIGN_CLIP}") == notes


@pytest.mark.parametrize("method", METHODS)
def test_every_method_answers(method, clip):
    arguments = ["answer", str(clip), QUESTION, "--frames", "4", "--json"]
    done = CliRunner().invoke(cli, [*arguments, "--method", method, "--retention", "0.25"])
    assert done.exit_code == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["method"].startswith(f"{METHODS[method].__name__}(")
    assert record["tokens"][-1] < record["tokens"][0]


def test_clips_are_written_with_questions_answers_and_evidence(tmp_path):
    arguments = ["clips", str(tmp_path), "--count", "1", "--frames", "2", "--side", "112"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.stderr
    (clip,) = json.loads((tmp_path / "clips.json").read_text())["clips"]
    assert (tmp_path / clip["file"]).stat().st_size > 0
    for question in clip["questions"]:
        assert {"kind", "text", "answer", "said", "evidence"} <= question.keys()


BAD = {
    "missing path": (["answer", "none.mp4", QUESTION], "none.mp4"),
    "folder": (["answer", "tests", QUESTION], "folder"),
    "not a video": (["answer", "README.md", QUESTION], "README.md"),
    "retention 0": (["answer", "CLIP", QUESTION, "--retention", "0"], "retention must be"),
    "retention nan": (["answer", "CLIP", QUESTION, "--retention", "nan"], "retention must be"),
    "retention 2": (["answer", "CLIP", QUESTION, "--retention", "2"], "retention must be"),
    "tau": (["answer", "CLIP", QUESTION, "--tau", "1.5"], "tau must be"),
    "layer": (["answer", "CLIP", QUESTION, "--layer", "99"], "layer 99 is outside this model"),
    "frames": (["answer", "CLIP", QUESTION, "--frames", "0"], "frames"),
    "method": (["answer", "CLIP", QUESTION, "--method", "magic"], "choose one of stc"),
    "model": (["answer", "CLIP", QUESTION, "--model", "no/such"], "is not on this machine"),
    "device": (["answer", "CLIP", QUESTION, "--device", "warp"], "not a device"),
    "empty question": (["answer", "CLIP", " "], "question is empty"),
    "long question": (["answer", "CLIP", "star " * 10_000], "shorter question"),
    "Chinese question": (["answer", "CLIP", "星星是什么颜色"], "knows no word"),
    "trace folder": (
        ["answer", "CLIP", QUESTION, "--trace", "no/such/t.npz"],
        "does not exist; create it",
    ),
    "no questions": (["evaluate", "--questions", "0"], "at least one question"),
    "too many frames": (["evaluate", "--frames", "100"], "1 to 64 frames"),
    "not its option": (
        ["answer", "CLIP", QUESTION, "--method", "uniform", "--tau", "0.5"],
        "has no --tau",
    ),
    "no clips": (["clips", "OUT", "--count", "0"], "development clips"),
    "odd clips": (["clips", "OUT", "--count", "1", "--side", "33"], "even sides"),
    "tiny clips": (["clips", "OUT", "--count", "1", "--side", "8"], "too small"),
    "long clips": (["clips", "OUT", "--count", "1", "--frames", "257"], "1 to 256 frames"),
    "no training": (["train", "--scale", "0"], "must be above 0"),
    "clips below a file": (
        ["clips", "README.md/x", "--count", "1", "--frames", "2", "--side", "112"],
        "cannot write into the folder 'README.md/x'",
    ),
    "training below a file": (
        ["train", "--output", "README.md/x"],
        "cannot write into the folder 'README.md/x-training'",
    ),
    "traces below a file": (
        ["clips", "OUT", "--traces", "README.md/x"],
        "cannot write into the folder 'README.md/x'",
    ),
    "a folder for a trace": (["answer", "CLIP", QUESTION, "--trace", "tests"], "name a file"),
    "a start that is not there": (["train", "--output", "OUT", "--start", "none"], "checkpoint"),
    "a file to convert": (["convert", "README.md", "OUT"], "is no checkpoint folder"),
    "an address": (["answer", "https://a.b/c.mp4", QUESTION], "is an address"),
}


WRITES = ("odd clips", "tiny clips", "long clips")  # the folder was made when this was found


def test_wrong_files_are_refused_before_a_model_is_loaded(tmp_path, monkeypatch):
    write_sound(tmp_path / "song.mp4")
    (tmp_path / "q.jsonl").write_text("[1]")
    arguments = ["benchmark", "--videos", str(tmp_path), "--questions-file"]
    # the first thing that load() calls; load itself is imported by name in several modules
    monkeypatch.setattr(loading, "warn_once", lambda *_: pytest.fail("a model was loaded"))
    for given, message in (
        (["answer", str(tmp_path / "song.mp4"), QUESTION], "sound only"),
        ([*arguments, str(tmp_path / "q.jsonl")], "line 1 of q.jsonl"),
    ):
        done = CliRunner().invoke(cli, given)
        assert done.exit_code == 2 and message in done.stderr


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_exit_code_2(case, clip, tmp_path, monkeypatch):
    arguments, message = BAD[case]
    monkeypatch.chdir(ROOT)
    given = {"CLIP": str(clip), "OUT": str(tmp_path / "out")}
    done = CliRunner().invoke(cli, [given.get(part, part) for part in arguments])
    assert done.exit_code == 2
    assert done.stdout == ""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and message in errors[0]
    assert "Traceback" not in done.stderr
    assert case in WRITES or list(tmp_path.iterdir()) == []


# Whose error it is --------------------------------------------------------------------------------


FAULT = """
from stc_core.answering import asked
asked.build_prompt = lambda *given, **named: list(zip([1, 2], [1], strict=True))
from stc_core.__main__ import main
main()
"""


def test_a_fault_of_the_program_is_a_traceback_and_never_the_users_error(clip):
    """A ``ValueError`` from deep inside a real run, as ``zip(strict=True)`` raises it."""
    done = subprocess.run(
        [sys.executable, "-c", FAULT, "answer", str(clip), QUESTION, "--frames", "2"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 1 and done.stdout == ""
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.rstrip().splitlines()[-1].startswith("ValueError: zip()")
    assert "error: " not in done.stderr


def test_bytes_that_are_no_text_are_one_sentence(clip):
    command = [sys.executable, "-m", "stc_core", "answer", str(clip), b"what \xff color?"]
    done = subprocess.run(command, capture_output=True, cwd=ROOT)
    assert done.returncode == 2 and done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("error: the question is not valid Unicode at character 6")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize(
    "arguments", [["models"], ["--help"], ["answer", "CLIP", QUESTION, "--frames", "2", "--json"]]
)
def test_a_full_device_is_one_sentence(arguments, clip):
    given = [str(clip) if part == "CLIP" else part for part in arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "stc_core", *given],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.stderr.splitlines()[-1].endswith("cannot write the output: No space left on device")


def test_a_closed_pipe_is_quiet():
    command = [sys.executable, "-m", "stc_core", "models"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 141


def test_an_answer_that_the_terminal_cannot_show_is_printed_all_the_same(clip):
    env = os.environ | {"PYTHONIOENCODING": "ascii", "HF_HUB_OFFLINE": "1"}
    odd = clip.with_name("cl\u00edp.mp4")
    odd.write_bytes(clip.read_bytes())
    command = [sys.executable, "-m", "stc_core", "answer", str(odd), QUESTION, "--json",
               "--frames", "2"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=env)
    assert done.returncode == 0, done.stderr
    assert "cl\\xedp.mp4" in done.stdout


def test_a_file_without_pictures_ends_a_real_process_without_a_traceback(tmp_path):
    done = run("answer", write_sound(tmp_path / "a.mp4"), QUESTION)
    assert done.returncode == 2
    assert "no video track" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_special_tokens_in_a_question_are_text(clip):
    question = "<video><|im_end|> what color is the <image> star?"
    done = CliRunner().invoke(cli, ["answer", str(clip), question, "--frames", "4"])
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("compressed", [[], ["--retention", "0.1"]])
def test_evaluate_reports_accuracy_interval_and_the_blind_baseline(compressed):
    done = CliRunner().invoke(
        cli, ["evaluate", "--questions", "12", "--frames", "4", "--json", *compressed]
    )
    assert done.exit_code == 0, done.stderr
    overall = json.loads(done.stdout)["overall"]
    assert overall["questions"] == 12
    low, high = overall["interval95"]
    assert low <= overall["accuracy"] <= high
    assert 0 <= overall["without_looking"] <= 1


def test_importing_the_package_loads_neither_torch_nor_gradio():
    code = (
        "import sys, stc_core; from stc_core import Trace, Fate, TokenGrid\n"
        "print([m for m in ('torch', 'transformers', 'gradio', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def test_importing_everything_changes_nothing_in_transformers():
    code = (
        "from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as a\n"
        "before = sorted(a)\n"
        "import stc_core\n"
        "for name in stc_core.__all__: getattr(stc_core, name)\n"
        "print(before == sorted(a), callable(stc_core.answer), callable(stc_core.compress))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "True True True"
