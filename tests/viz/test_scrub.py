"""Scrubbing on the page's server, for real on the embedded model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from one_run import CLIP, QUESTION, Page

from stc_core import InputError, Sweep, Trace, answer
from stc_core.methods import STC
from viz.examples import Known
from viz.page.scrub import file_of, scrub
from viz.server.origin import Origin, asked, remember
from viz.server.runner import Failure, Stopped
from viz.server.sweeping import record_of
from viz.workspace.bundle import unpack

KNOWN = {asked(CLIP, QUESTION): Known(QUESTION, "red", None, None)}


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Page:
    return Page.after_one_run(tmp_path_factory.mktemp("shelf"))


def news(page: Page, over: str = "layer", key: str | None = None, owner: str = "me") -> list[dict]:
    sent = {"key": key or page.key, "over": over}
    return list(scrub(page.runner, page.shelf, KNOWN, owner, sent))


def file_at(page: Page, address: str):
    return page.shelf.folder / address.split(str(page.shelf.folder))[-1].lstrip("/")


def test_the_news_bring_every_stop_and_the_file_of_the_sweep_is_kept(page):
    told = news(page)
    *steps, done = told
    assert done["done"] and done["sweep"]["waiting"] == []
    bars = [each["fraction"] for each in steps if "fraction" in each]
    assert all(0 <= bar <= 1 for bar in bars) and any(
        "Stop 2 of 7" in s.get("stage", "") for s in steps
    )
    order = []
    for each in steps:
        if "file" in each:
            header, arrays = unpack(file_at(page, each["file"]).read_bytes())
            (packed,) = header["packed"]
            order.append(packed["value"])
            assert arrays["stop0_fate"].shape == (page.trace.grid.size,)
    assert order[:3] == [5, 0, 6]  # the run's own layer and both ends
    found = Sweep.load(record_of(page.home, "layer"))
    assert [stop.value for stop in found.stops] == list(range(7))
    assert found.expected == "red" and found.present == 5
    alone = answer(page.vlm, CLIP, QUESTION, STC(retention=0.05, layer=2), frames=8).trace
    assert np.array_equal(found.stop(2).fate, alone.fate) and found.stop(2).answer == alone.answer
    header, arrays = unpack((page.home.parent / "scrub-layer.bin").read_bytes())
    assert header["sweep"] == done["sweep"] and len(header["packed"]) == 7
    assert np.array_equal(arrays["stop2_fate"], alone.fate)
    assert sorted(header["sweep"]["answers"][0]["roles"]) == sorted(
        role for role, text in (("right", "red"), ("run", page.trace.answer),
                                ("uncompressed", page.trace.baseline["answer"]))
        if text == header["sweep"]["answers"][0]["text"])  # fmt: skip
    again = news(page)  # all of it is known
    assert [each.get("done", False) for each in again] == [False, True]


def test_a_stopped_scrub_goes_on_where_it_was(page):
    steps = scrub(page.runner, page.shelf, KNOWN, "me 1", {"key": page.key, "over": "tau"})
    with pytest.raises(Stopped):
        for each in steps:
            if len(each.get("sweep", {}).get("stops", ())) == 2:
                page.runner.stop("me 1")
    record = record_of(page.home, "tau")
    before = {stop.value for stop in Sweep.load(record).stops}
    assert len(before) == 2
    first, *rest = news(page, "tau", owner="me 2")
    assert {stop["value"] for stop in first["sweep"]["stops"]} == before
    assert rest[-1]["done"] and len(Sweep.load(record).stops) >= 16


@pytest.mark.parametrize(("sent", "sentence"), [
    ({"key": None}, "no longer on the server"), ({"key": "../../etc"}, "no longer on the server"),
    ({"over": "lam"}, "a scrub goes over one of"), ({"over": ["tau"]}, "a scrub goes over one of"),
])  # fmt: skip
def test_what_a_browser_sends_is_checked(page, sent, sentence):
    with pytest.raises(InputError, match=sentence):
        list(scrub(page.runner, page.shelf, {}, "me", {"key": page.key, "over": "tau", **sent}))


def shelved(page: Page, trace: Trace, origin: Origin | None) -> str:
    home = page.shelf.put(trace)
    if origin is not None:
        remember(home, origin)
    return home.parent.name


@pytest.mark.parametrize(("change", "over", "sentence"), [
    (None, "retention", "the clip of this trace is not known here"),
    ({"video": "/nowhere/clip.mp4"}, "retention", "the clip is no longer here"),
    ({"method": "Uniform(retention=0.05)"}, "tau", "Uniform has no tau"),
    ({"method": "Edited(method=STC(retention=0.05), remove=(), add=(1,), only=None)"},
     "retention", "an edited method cannot be swept"),
    ({"method": "Alien(retention=0.05)"}, "retention", "there is no method"),
])  # fmt: skip
def test_why_a_trace_cannot_be_scrubbed(page, change, over, sentence):
    origin = None if change is None else replace(page.origin, **change)
    key = shelved(page, replace(page.trace, notes=(sentence,)), origin)
    with pytest.raises(InputError, match=sentence):
        news(page, over, key)


def test_a_trace_of_another_model_is_refused(page):
    key = shelved(page, replace(page.trace, model="other"), page.origin)
    with pytest.raises(
        InputError, match="made by the model 'other', but this page runs 'embedded'"
    ):
        news(page, "layer", key)
    assert not record_of(page.shelf.found(key), "layer").exists()


def test_a_run_that_breaks_is_a_failure(page):
    key = shelved(page, replace(page.trace, notes=("x",)), replace(page.origin, question="\x00"))
    with pytest.raises((Failure, InputError)):
        news(page, "layer", key)


def test_figures_and_films_of_a_scrub(page):
    news(page)
    for form, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("gif", b"GIF8")):
        sent = {"key": page.key, "over": "layer", "form": form}
        *_, done = file_of(page.shelf, "me", sent)
        path = file_at(page, done["file"])
        assert done["done"] and path.read_bytes().startswith(start) and path.name == done["name"]
        made = path.stat().st_mtime_ns
        *_, again = file_of(page.shelf, "me", sent)
        assert again == done and path.stat().st_mtime_ns == made  # nothing is drawn twice
    for sent, sentence in (
        ({"form": "exe"}, "saved as one of"), ({"over": "../x"}, "saved as one of"),
        ({"over": "retention"}, "no longer on the server"),
        ({"key": "x"}, "no longer on the server"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=sentence):
            list(
                file_of(page.shelf, "me", {"key": page.key, "over": "layer", "form": "png", **sent})
            )
