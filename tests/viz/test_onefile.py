"""The report in one file: opened from disk in headless Chromium, without a network."""

from __future__ import annotations

import runpy
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from browser import PATIENCE, chromium  # noqa: F401
from decided import GRID, SPOT, decided

from stc_core import InputError
from viz.examples import Known
from viz.page import onefile

NASTY = "</script><img src=x onerror=alert(1)> ${1+1} {{x}} `${alert(2)}` </style><!-- \"'&amp;"
KNOWN = Known("", "red bar", 8, np.array([GRID.locate(token) for token in SPOT]))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    trace = replace(
        decided(),
        question=NASTY,
        answer=NASTY,
        method=NASTY,
        model=NASTY,
        notes=(NASTY,),
        baseline={"answer": NASTY},
    )
    return onefile.write(trace, tmp_path_factory.mktemp("report") / "report.html", KNOWN)


def test_opens_from_disk_offline(report, chromium):  # noqa: F811
    context = chromium.new_context(offline=True)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.add_init_script("window.alerts = 0; window.alert = () => { window.alerts += 1 };")
    errors, asked = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda m: m.type == "error" and errors.append(m.text))
    page.on("request", lambda r: asked.append(r.url))
    page.goto(report.as_uri())
    patience = time.perf_counter() + PATIENCE / 1000
    # the policy forbids the string that ``wait_for_function`` would run
    while not page.evaluate("window.__tokenview?.drawn?.strip"):
        assert time.perf_counter() < patience, errors
        time.sleep(0.2)
    view = page.evaluate("window.__tokenview")
    assert view["n"] == GRID.size and view["drawn"]["strip"] > 0
    said = page.locator("h1").inner_text()
    assert " ".join(said.split()) == NASTY and page.title() == NASTY
    facts = page.locator("header dl").inner_text()
    assert facts.count(NASTY) == 5 and "red bar" in facts and "392 video tokens" in facts
    assert page.locator("img").count() == 0 and page.evaluate("window.alerts") == 0
    page.locator(".ws-strip-view canvas.ws-top-layer").focus()
    page.keyboard.press("ArrowRight")
    page.locator(".ws-card-title", has_text="cell (3, 3)").wait_for()
    assert page.get_by_role("button", name="Copy link").count() == 0  # nobody else has the file
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    assert errors == []
    refused = page.evaluate(
        "() => new Promise((done) => {"
        " document.addEventListener('securitypolicyviolation', (e) => done(e.violatedDirective));"
        " fetch('http://127.0.0.1:9/').catch(() => 0) })"
    )
    assert refused == "connect-src"
    context.close()


def test_the_same_trace_gives_the_same_file(six_fates):
    assert onefile.page(six_fates) == onefile.page(six_fates)


def test_command_line(six_fates, tmp_path, capsys):
    path = six_fates.save(tmp_path / "trace.npz")
    out = tmp_path / "out.html"
    assert onefile.main([str(path), str(out)]) == 0
    assert out.read_text("utf-8") == onefile.page(six_fates)
    assert capsys.readouterr().out.strip() == str(out)


@pytest.mark.parametrize("bad", ["missing.npz", "letter.npz"])
def test_bad_input_ends_with_2_and_a_sentence(bad, tmp_path, capsys, monkeypatch):
    (tmp_path / "letter.npz").write_text("this is no trace")
    out = tmp_path / "out.html"
    monkeypatch.setattr(sys, "argv", ["onefile", str(tmp_path / bad), str(out)])
    monkeypatch.delitem(sys.modules, "viz.onefile", raising=False)  # as ``python -m`` has it
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("viz.onefile", run_name="__main__")
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith("error: ") and said.count("\n") == 1
    assert not out.exists()


def test_a_folder_that_is_not_there(six_fates, tmp_path):
    with pytest.raises(InputError, match="cannot write"):
        onefile.write(six_fates, tmp_path / "none" / "out.html")


def test_a_name_that_is_no_text_is_printed_all_the_same(tmp_path, capsys):
    saved = decided().save(tmp_path / "a.npz")
    assert onefile.main([str(saved), str(tmp_path / "b\udcff.html")]) == 0
    assert capsys.readouterr().out.endswith("b\ufffd.html\n")
    assert onefile.main([str(saved), str(tmp_path / "none\udcff" / "b.html")]) == 2
    assert "none\ufffd" in capsys.readouterr().err
