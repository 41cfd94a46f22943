"""The endpoints through ``gradio_client``, the embedded model behind them."""

from __future__ import annotations

import os
from pathlib import Path

import gradio as gr
import pytest
from gradio_client import Client, handle_file

from stc_core import STC, Trace, answer, load
from stc_core.method_text import make_method
from viz.page import api
from viz.server.runner import Runner
from viz.server.shelf import Shelf

CLIP = Path(__file__).resolve().parents[2] / "assets" / "clips" / "two-on-waves.mp4"
QUESTION = "what flashed?"


@pytest.fixture(scope="module")
def vlm():
    return load(device="cpu")


@pytest.fixture(scope="module")
def client(vlm, tmp_path_factory):
    """A client of a page that has nothing but the endpoints."""

    def ask(model, video, question, method, progress, **options):
        return answer(
            model, video, question, method=make_method(method), progress=progress, **options
        )

    folder = tmp_path_factory.mktemp("api")
    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    with gr.Blocks(analytics_enabled=False) as demo:
        api.wire(Runner(lambda: vlm, ask), Shelf(folder / "shelf"))
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
    yield Client(url, verbose=False)
    demo.close()
    if before is None:
        del os.environ["GRADIO_TEMP_DIR"]
    else:
        os.environ["GRADIO_TEMP_DIR"] = before


def test_answers_as_the_library_does(client, vlm):
    said = client.predict(
        handle_file(CLIP), QUESTION, "stc@0.1,keep_inside=1", 4, True, api_name="/answer"
    )
    here = answer(vlm, CLIP, QUESTION, STC(retention=0.1, keep_inside=1), frames=4, baseline=True)
    assert said["answer"] == here.text and said["method"] == here.trace.method
    assert said["logprob"] == pytest.approx(here.logprob, abs=1e-4)
    assert said["uncompressed"]["answer"] == here.trace.baseline["answer"]
    assert said["tokens"]["full"] == here.trace.grid.size
    trace = Trace.load(client.predict(said["key"], api_name="/trace"))
    assert trace.question == QUESTION and trace.alive() == here.trace.alive()
    assert trace.words  # recorded, for the page to open


def test_compares_in_the_order_asked(client):
    made = client.predict(
        handle_file(CLIP), QUESTION, ["uniform@0.1", "stc@0.1"], 2, api_name="/compare"
    )
    assert [one["method"].split("(")[0] for one in made] == ["Uniform", "STC"]
    assert [one["uncompressed"] is None for one in made] == [False, True]
    assert made[0]["tokens"]["llm"] == made[1]["tokens"]["llm"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"question": "  "}, "question must be a text"),
        ({"question": "x" * 2001}, "question must be a text"),
        ({"method": "magic@0.1"}, "no method"),
        ({"method": "stc@0"}, "retention ratio"),
        ({"method": "stc@0.1,color=red"}, "no option color"),
        ({"frames": 1000}, "rames must be a whole number"),
        ({"frames": "4"}, "rames must be a whole number"),
        ({"video": {"path": "/etc/passwd"}}, "must be an uploaded file"),
        ({"video": {"path": "../../etc/passwd"}}, "must be an uploaded file"),
        ({"video": "clip.mp4"}, "must be an uploaded file"),
    ],
)
def test_bad_input_is_one_sentence(client, change, words):
    given = {"video": handle_file(CLIP), "question": QUESTION, "method": "stc@0.1", "frames": 2}
    with pytest.raises(Exception, match=words) as caught:
        client.predict(**{**given, **change}, api_name="/answer")
    said = str(caught.value)
    assert said[0].isupper() and said.rstrip().endswith(".") and "Traceback" not in said


def test_bad_comparisons_and_keys(client):
    for methods in ([], ["stc@0.1"] * 7, ["stc@0.1", "magic@2"]):
        with pytest.raises(Exception, match="list of 1 to 6|no method"):
            client.predict(handle_file(CLIP), QUESTION, methods, 2, api_name="/compare")
    for key in ("0" * 20, "../../etc/passwd"):
        with pytest.raises(Exception, match="no trace of that key"):
            client.predict(key, api_name="/trace")


def test_a_file_that_is_too_large_is_refused(client, monkeypatch):
    monkeypatch.setattr(api, "BIGGEST", 1000)
    with pytest.raises(Exception, match="send a smaller one"):
        client.predict(handle_file(CLIP), QUESTION, api_name="/answer")
