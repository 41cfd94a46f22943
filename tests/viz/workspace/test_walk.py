"""A walk over every control of the workspace, through traces of all sizes, one after the other."""

from __future__ import annotations

import pytest
from helpers.page_actions import TRACES
from recorded import walked

from stc_core import Trace
from viz.workspace.bundle import pack, sprite

# Controls outside the panels once, those of a panel while its tab is chosen; no downloads.
WALK = """async () => {
  const settle = () => new Promise((done) => requestAnimationFrame(done));
  const names = 'button, select, input, summary';
  const every = (place) => [...place.querySelectorAll(names)].filter((one) => (
    one.checkVisibility() && !one.disabled && one.getAttribute('role') !== 'tab'
    && !one.matches('.ws-stage-go') && !one.closest('.ws-share-bar')));
  const use = async (one) => {
    const told = (name) => one.dispatchEvent(new Event(name, { bubbles: true }));
    if (one.matches('select')) {
      for (const option of [...one.options].filter(({ disabled }) => !disabled)) {
        one.value = option.value;
        told('change');
        await settle();
      }
    } else if (one.type === 'range') {
      for (const value of [one.min, one.max, one.defaultValue]) {
        one.value = value;
        told('input');
        told('change');
        await settle();
      }
    } else one.click();
    await settle();
  };
  let used = 0;
  const walk = async (place) => {
    for (let k = 0; k < every(place).length && k < 60; k += 1, used += 1) {
      await use(every(place)[k]);
    }
  };
  for (const tab of document.querySelectorAll('.ws-tabs [role=tab]')) {
    tab.click();
    await settle();
    await walk(document.getElementById(tab.getAttribute('aria-controls')));
    tab.click();
  }
  for (const view of document.querySelectorAll('.ws-view')) {
    if (!view.closest('[data-panel]')) await walk(view);
  }
  workspace.clear();
  return used;
}"""


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_every_control_works_on_every_trace_in_any_order(bench, tmp_path, width, height):
    saved = [Trace.load(path) for path in sorted(TRACES.glob("*.npz"))]
    traces = [*saved, walked(32), walked(64)]
    order = traces if width > 1000 else traces[::-1]
    opened = bench(order[0], width=width, height=height)
    page, folder = opened.page, tmp_path / "0"
    for number, trace in enumerate(order):
        (folder / f"{number}.bin").write_bytes(pack(trace))
        pictures = sprite(trace)
        (folder / f"{number}.jpg").write_bytes(pictures or b"")
        urls = {"bundle": f"{number}.bin", "key": f"key{number}"}
        urls |= {"sprite": f"{number}.jpg"} if pictures else {}
        page.evaluate("urls => workspace.show(urls)", urls)
        opened.wait(f"v.n === {trace.grid.size}")
        assert page.evaluate(WALK) > 40
        assert page.locator(".ws-broken:visible").count() == 0
        assert opened.errors == [], f"trace {number}"
