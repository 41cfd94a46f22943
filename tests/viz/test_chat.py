"""The chat endpoint of the real page, over HTTP; the embedded model answers."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from helpers.process import first_answer, free_port, started
from hypothesis import given
from hypothesis import strategies as st

from stc_core import STC, InputError, Trace, answer, load
from viz.page import chat as chat_module
from viz.page.chat import Chat
from viz.page.model_menu import Library, Models
from viz.server import chat_request
from viz.server.chat_request import LARGEST, MOST_TOKENS, read_chat
from viz.server.origin import recall
from viz.server.shelf import Shelf
from viz.server.turns import PLACES, Turns

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "assets" / "clips" / "two-on-waves.mp4"
URL = f"data:video/mp4;base64,{base64.b64encode(CLIP.read_bytes()).decode()}"
QUESTION = "what flashed?"
PASSWORD = {"Authorization": "Bearer me:secret"}


def video(url: object = URL) -> dict:
    return {"type": "video_url", "video_url": {"url": url}}


def user(*parts: dict, text: str = QUESTION) -> dict:
    return {"role": "user", "content": [*parts, {"type": "text", "text": text}]}


def request(**change) -> dict:
    asked = {"model": "embedded", "messages": [user(video())], "method": "stc@0.1", "frames": 4}
    return {**asked, **change}


# --- reading -------------------------------------------------------------------------------------


def read(**change):
    return read_chat(json.dumps(request(**change)).encode())


def test_a_request_is_read():
    one = read(max_tokens=9, stream=True, stream_options={"include_usage": True}, temperature=1)
    assert one.video == CLIP.read_bytes() and one.ending == ".mp4"
    assert (one.question, one.system, one.history) == (QUESTION, "", ())
    assert one.method.short == "stc@0.1" and (one.frames, one.max_tokens) == (4, 9)
    assert one.stream and one.usage and one.model == "embedded"
    plain = read_chat(json.dumps({"messages": [user(video())]}).encode())
    assert plain.method.short == "stc@0.02" and plain.frames is None and plain.model is None
    assert plain.max_tokens == chat_request.TOKENS and not plain.stream
    ending = read(messages=[user(video("data:video/webm;codecs=vp9;base64,AAAA"))]).ending
    assert ending == ".webm"


@given(
    system=st.sampled_from([None, "system", "developer"]),
    turns=st.lists(st.tuples(*[st.text("ab ?<|>{}", min_size=1).map("q".__add__)] * 2), max_size=4),
    question=st.text("ab <|im_end|>{{}}", min_size=1).map("q".__add__),
)
def test_conversations_keep_their_texts(system, turns, question):
    messages = [{"role": system, "content": "Be brief."}] if system else []
    for asked, said in turns:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    messages.append({"role": "user", "content": question})
    first = messages[bool(system)]
    first["content"] = [{"type": "text", "text": first["content"]}, video()]
    one = read(messages=messages)
    assert one.system == ("Be brief." if system else "")
    assert one.history == tuple((asked.strip(), said) for asked, said in turns)
    assert one.question == question.strip()


ASSISTANT = {"role": "assistant", "content": "red"}
SYSTEM = {"role": "system", "content": "Be brief."}


BAD = {
    "no messages": ({"messages": []}, "in turn"),
    "messages as text": ({"messages": "hello"}, "list of objects"),
    "a message as text": ({"messages": ["hello"]}, "list of objects"),
    "no question": ({"messages": [SYSTEM]}, "in turn"),
    "ends with an answer": ({"messages": [user(video()), ASSISTANT]}, "role user"),
    "two users": ({"messages": [user(video()), user()]}, "in turn"),
    "late system": ({"messages": [user(video()), SYSTEM, user()]}, "in turn"),
    "a tool": ({"messages": [{"role": "tool", "content": "x"}]}, "in turn"),
    "no content": ({"messages": [{"role": "user"}]}, "content of message 0"),
    "no text": ({"messages": [user(video(), text=" ")]}, "has no text"),
    "long text": ({"messages": [user(video(), text="x" * 2001)]}, "shorten it"),
    "half a character": ({"messages": [user(video(), text="\ud800")]}, "not valid Unicode"),
    "no video": ({"messages": [user()]}, "holds none"),
    "two videos": ({"messages": [user(video(), video())]}, "holds 2"),
    "late video": ({"messages": [user(), ASSISTANT, user(video())]}, "first message"),
    "an image": ({"messages": [user({"type": "image_url", "image_url": {"url": URL}})]}, "neither"),
    "a web address": ({"messages": [user(video("https://a.org/a.mp4"))]}, "fetches no addresses"),
    "a file": ({"messages": [user(video("file:///etc/passwd"))]}, "opens no files"),
    "no URL": ({"messages": [user(video(7))]}, "fetches no addresses"),
    "a page": ({"messages": [user(video("data:text/html;base64,AAAA"))]}, "data:video/mp4"),
    "no base64": ({"messages": [user(video("data:video/mp4;base64,A?"))]}, "no base64"),
    "an empty video": ({"messages": [user(video("data:video/mp4;base64,"))]}, "no base64"),
    "no method": ({"method": "magic@0.1"}, "no method"),
    "no retention": ({"method": "stc@0"}, "retention ratio"),
    "a method as number": ({"method": 7}, "no method"),
    "frames": ({"frames": 1000}, "frames must be a whole number from 0 to 128"),
    "frames as text": ({"frames": "4"}, "frames must be a whole number"),
    "max_tokens": ({"max_tokens": 0}, f"from 1 to {MOST_TOKENS}"),
    "max_completion_tokens": ({"max_completion_tokens": True}, "max_completion_tokens must"),
    "stream": ({"stream": "yes"}, "stream must be true or false"),
    "n": ({"n": 2}, "n must be 1"),
    "tools": ({"tools": [{}]}, "tools is not supported"),
    "JSON answers": ({"response_format": {"type": "json_object"}}, "response_format"),
    "model": ({"model": 7}, "model must be a name"),
}


@pytest.mark.parametrize(("change", "words"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_one_sentence(change, words):
    with pytest.raises(InputError, match=re.escape(words)):
        read(**change)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_object(body):
    with pytest.raises(InputError, match="JSON object"):
        read_chat(body)


# --- over HTTP -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """(address, folder of temporary files) of the page as a process, with a password."""
    folder = tmp_path_factory.mktemp("chat")
    port, log = free_port(), folder / "log.txt"
    given = {"TMPDIR": str(folder), "STC_APP_AUTH": "me:secret", "STC_APP_DEVICE": "cpu"}
    command = [sys.executable, "app.py", "--port", str(port)]
    with started(command, ROOT, os.environ | given, log) as process:
        url = f"http://127.0.0.1:{port}"
        first_answer(url, process, log)
        yield url, folder


def ask(page, headers=PASSWORD, **change) -> httpx.Response:
    return httpx.post(f"{page[0]}{chat_module.CHAT}", json=request(**change), headers=headers,
                      timeout=300)  # fmt: skip


def refused(response: httpx.Response, status: int, words: str) -> None:
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    said = error["message"]
    assert words in said and not said[0].islower() and said.endswith(".") and "/tmp" not in said


def events(text: str) -> list[dict]:
    """The chunks of a stream, which must end as OpenAI's do."""
    *lines, done, rest = text.split("\n\n")
    assert done == "data: [DONE]" and rest == ""
    return [json.loads(line.removeprefix("data: ")) for line in lines]


@pytest.fixture(scope="module")
def here():
    """The same question asked of the library."""
    method = STC(retention=0.1)
    return answer(load(device="cpu"), CLIP, QUESTION, method, frames=4, record=True)


def test_a_reply_is_the_librarys_answer_with_its_trace(page, here):
    response = ask(page)
    assert response.status_code == 200, response.text
    said = response.json()
    (choice,) = said["choices"]
    assert choice["message"]["content"] == here.text and choice["finish_reason"] == "stop"
    assert said["object"] == "chat.completion" and said["model"] == "embedded"
    costs = here.costs
    assert said["usage"] == {
        "prompt_tokens": costs.text_tokens + costs.tokens_llm,
        "completion_tokens": costs.generated_tokens,
        "total_tokens": costs.text_tokens + costs.tokens_llm + costs.generated_tokens,
    }
    about = said["stc"]
    assert about["retention"] == 0.1 and about["frames"] == 4
    alive = here.trace.alive()
    assert about["tokens"] == dict(zip(("full", "llm", "end"), (*alive, alive[-1]), strict=False))
    assert about["trace"].startswith(f"{page[0]}/?trace=")
    key = parse_qs(urlsplit(about["trace"]).query)["trace"][0]
    (shelf,) = page[1].glob("video-tokens-*/shelf")
    trace = Trace.load(Shelf(shelf).find(key))
    assert (trace.question, trace.answer, trace.alive()) == (QUESTION, here.text, alive)
    origin = recall(shelf, key)  # the page can ask it again
    assert Path(origin.video).read_bytes() == CLIP.read_bytes() and origin.frames == 4
    assert Path(origin.video).parent.parent == shelf.parent


def test_a_stream_is_the_same_answer(page, here):
    response = ask(page, stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    first, *pieces, last, usage = events(response.text)
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(one["choices"][0]["delta"]["content"] for one in pieces) == here.text
    assert last["choices"][0]["finish_reason"] == "stop" and "?trace=" in last["stc"]["trace"]
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] > 0
    assert {one["id"] for one in (first, *pieces, last, usage)} == {first["id"]}
    assert {one["object"] for one in (first, *pieces, last, usage)} == {"chat.completion.chunk"}


def test_an_answer_that_is_cut_says_so(page, here):
    assert here.costs.generated_tokens > 1  # a word, and the token that ends the answer
    said = ask(page, max_tokens=1).json()
    assert said["choices"][0]["finish_reason"] == "length"
    assert said["usage"]["completion_tokens"] == 1
    exact = ask(page, max_tokens=here.costs.generated_tokens).json()
    assert exact["choices"][0]["finish_reason"] == "stop"


def test_models_are_listed(page):
    said = httpx.get(f"{page[0]}/v1/models", headers=PASSWORD).json()
    assert said["object"] == "list" and [one["id"] for one in said["data"]] == ["embedded"]


def test_only_who_knows_the_password_is_answered(page):
    for sent in ("", "Bearer me:wrong", "Bearer", "Basic ???", "Digest me:secret"):
        headers = {"Authorization": sent} if sent else {}
        refused(ask(page, headers), 401, "password")
        assert httpx.get(f"{page[0]}/v1/models", headers=headers).status_code == 401
    assert httpx.get(f"{page[0]}/v1/models", auth=("me", "secret")).status_code == 200


def test_the_gate_stands_before_it(page):
    url = f"{page[0]}{chat_module.CHAT}"
    for headers, status in (({"Host": "evil.com"}, 421), ({"Origin": "http://evil.com"}, 403)):
        assert httpx.post(url, json={}, headers={**PASSWORD, **headers}).status_code == status
    big = b" " * (9 << 20)  # other routes keep their limit
    for path in ("/x/v1/chat/completions", "/gradio_api/queue/join"):
        response = httpx.post(f"{page[0]}{path}", content=big, headers=PASSWORD, timeout=60)
        assert response.status_code == 413


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"messages": [user(video("https://example.org/a.mp4"))]}, 400, "fetches no addresses"),
        ({"messages": [user(video("data:video/mp4;base64,AAAA"))]}, 400, "video"),
        ({"method": "stc@0.1,color=red"}, 400, "no option color"),
        ({"model": "gpt-4o"}, 404, "choose one of these models"),
        ({"messages": [user(video()), ASSISTANT, user()]}, 400, "has not learnt to read earlier"),
    ],
    ids=["address", "no video", "option", "model", "history"],
)
def test_bad_requests_are_answered_as_openai_does(page, change, status, words, stream):
    refused(ask(page, stream=stream, **change), status, words)


def test_sizes(page):
    url = f"{page[0]}{chat_module.CHAT}"

    def pieces():
        yield b"{}"

    refused(httpx.post(url, content=pieces(), headers=PASSWORD), 411, "Content-Length")
    big = httpx.post(url, content=b" " * (LARGEST + 1), headers=PASSWORD, timeout=120)
    refused(big, 413, "64 MiB")


def test_more_requests_than_places_are_refused(page):
    answers: list[httpx.Response] = []
    many = [
        threading.Thread(target=lambda: answers.append(ask(page, frames=128, method="stc@1")))
        for _ in range(PLACES + 8)
    ]
    for thread in many:
        thread.start()
    for thread in many:
        thread.join()
    statuses = [one.status_code for one in answers]
    assert set(statuses) == {200, 429} and statuses.count(200) >= PLACES
    for one in answers:
        if one.status_code == 429:
            refused(one, 429, "as many as one visitor may")
            assert one.json()["error"]["type"] == "rate_limit_error"


def test_a_client_that_leaves_ends_its_run(page):
    patience = time.monotonic() + 120
    for stream in (False, True):
        left, stays = 0, 0.1  # seconds between two pieces of an answer, of 0.3
        while left < PLACES + 1:  # each would hold a place
            try:
                here = httpx.post(
                    f"{page[0]}{chat_module.CHAT}", headers=PASSWORD, timeout=stays,
                    json=request(frames=128, method="stc@1", stream=stream),
                )  # fmt: skip
            except httpx.TimeoutException:
                left += 1
                continue
            assert here.status_code in (200, 429) and time.monotonic() < patience, here.text
            if here.status_code == 200:
                stays /= 2  # a fast machine: leave sooner
            else:
                time.sleep(0.2)  # the place of a client who left a moment ago
    while (response := ask(page)).status_code != 200:
        assert time.monotonic() < patience, response.text
        time.sleep(0.2)


def test_the_openai_client_reads_it(page, here):
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{page[0]}/v1", api_key="me:secret", max_retries=0)
    asked = {"model": "embedded", "messages": [user(video())]}
    more = {"method": "stc@0.1", "frames": 4}
    said = client.chat.completions.create(**asked, extra_body=more)
    assert said.choices[0].message.content == here.text
    assert said.model_extra["stc"]["retention"] == 0.1
    stream = client.chat.completions.create(**asked, stream=True, extra_body=more)
    assert "".join(one.choices[0].delta.content or "" for one in stream) == here.text
    assert [one.id for one in client.models.list()] == ["embedded"]
    with pytest.raises(openai.BadRequestError, match="no method"):
        client.chat.completions.create(**asked, extra_body={"method": "magic@1"})


# --- what the machine cannot do ------------------------------------------------------------------


def served(tmp_path, open_model, ask_model, limits=None, turns=None):
    """The endpoint alone, behind httpx's own ASGI transport, with another model behind it."""
    from viz.server.runner import Runner
    from viz.server.uploads import Uploads

    models = Models([None], Library(open_model, lambda *_: "", lambda: None))
    runner = Runner(models.start, lambda models, **job: ask_model(models.use(), **job), turns)
    chat = Chat(runner, Shelf(tmp_path / "shelf"), models, limits or Uploads(tmp_path, reserve=1))

    from starlette.applications import Starlette

    transport = httpx.ASGITransport(Starlette(routes=chat.routes))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")


def send(client: httpx.AsyncClient, **change) -> httpx.Response:
    import asyncio

    async def go() -> httpx.Response:
        async with client:
            return await client.post(chat_module.CHAT, json=request(**change))

    return asyncio.run(go())


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (MemoryError(), 503, "not enough memory"),
        (OSError(28, "No space left on device"), 503, "disk"),
        (InputError("the clip is dark"), 400, "The clip is dark."),
        (RuntimeError("/tmp/secret"), 500, "Something broke here"),
    ],
    ids=["memory", "disk", "input", "fault"],
)
def test_faults_have_their_status(tmp_path, error, status, words):
    def broken(model, **job):
        raise error

    for stream in (False, True):
        client = served(tmp_path, lambda *_: "model", broken)
        refused(send(client, stream=stream), status, words)


def test_a_model_that_cannot_be_loaded_is_nobodys_bad_request(tmp_path):
    def missing(*_):
        raise InputError("there is no model of that name")

    refused(send(served(tmp_path, missing, None)), 503, "There is no model of that name.")


def test_a_page_without_a_free_place_says_so(tmp_path):
    client = served(tmp_path, lambda *_: "model", None, turns=Turns(own=4, in_all=0))
    refused(send(client), 503, "try again in some minutes")


def test_a_full_disk_is_said_before_the_run(tmp_path):
    from viz.server.uploads import Uploads

    full = Uploads(tmp_path, reserve=1 << 60)
    refused(send(served(tmp_path, lambda *_: "model", None, full)), 503, "disk")
    assert full._coming.total() == 0
