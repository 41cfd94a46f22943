"""What holds of a page wherever somebody walks on it."""

from __future__ import annotations

# Controls that can be seen, stick out of the window and are in nothing that scrolls.
CUT = """() => [...document.querySelectorAll(
  'button, select, input, textarea, summary')].filter((e) => {
  const { left, right, width } = e.getBoundingClientRect();
  const rolls = (box) => box && (/auto|scroll/.test(getComputedStyle(box).overflowX)
    || rolls(box.parentElement));
  return width > 1 && (right > innerWidth + 1 || left < -1)
    && e.checkVisibility({ visibilityProperty: true, opacityProperty: true })
    && !rolls(e.parentElement);
}).map((e) => e.outerHTML.slice(0, 120))"""


def fits(page) -> None:
    """Check that nothing is wider than the window."""
    wide = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1]
    assert page.evaluate(CUT) == []
