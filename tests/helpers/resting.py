"""What a page does while nobody does anything."""

from __future__ import annotations

# What is asked of the browser from now on. Gradio's own scripts, which are in its assets, are left
# out: the clock of its loading page goes on when that is gone, one callback a frame (Gradio 6.31).
WATCH = """() => {
  const done = { frames: 0, timers: 0, changes: 0 };
  const ours = () => {
    const { stack } = new Error();
    return stack.includes('eval at') || !stack.includes('/assets/');
  };
  const { requestAnimationFrame: frame, setTimeout: timer } = window;
  window.requestAnimationFrame = (act) => { done.frames += ours(); return frame(act); };
  window.setTimeout = (...how) => { done.timers += ours(); return timer(...how); };
  const watch = new MutationObserver((seen) => { done.changes += seen.length; });
  watch.observe(document, { subtree: true, childList: true, attributes: true,
    characterData: true });
  window.__rested = () => {
    watch.disconnect();
    Object.assign(window, { requestAnimationFrame: frame, setTimeout: timer });
    return done;
  };
}"""


def activity(page, seconds: float) -> dict[str, int]:
    """Count what a page does of itself.

    Parameters
    ----------
    page
        Of Playwright.
    seconds : float
        How long it is left alone.

    Returns
    -------
    dict
        ``frames`` and ``timers`` that were asked for, ``changes`` of the document, ``layouts`` of
        the browser.
    """
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def layouts() -> int:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(int(one["value"]) for one in metrics if one["name"] == "LayoutCount")

    page.evaluate(WATCH)
    before = layouts()
    page.wait_for_timeout(1000 * seconds)
    after = layouts()
    session.detach()
    return page.evaluate("window.__rested()") | {"layouts": after - before}


IDLE = {"frames": 0, "timers": 0, "changes": 0, "layouts": 0}
