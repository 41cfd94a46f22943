"""What holds of a page wherever somebody walks on it, and how to walk over all of its controls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
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

# Uses every control in sight once, those too that come in sight meanwhile, until none is left; what
# was asked of the model is cancelled at once. What is alike but for its numbers, as in "Show more
# (12 left)", counts as one. Fields get back what they had. Of a long menu a dozen are chosen.
USE = """async ([place, skip]) => {
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  const told = (one, ...names) => names.forEach((name) => (
    one.dispatchEvent(new Event(name, { bubbles: true }))));
  const named = (one) => {
    const words = one.getAttribute('aria-label') || one.labels?.[0]?.innerText || one.innerText
      || one.placeholder || one.title || one.name || '';
    const home = one.closest('[data-view], [id]');
    const plain = words.trim().split(/\\s+/).join(' ').replace(/[0-9][0-9.,]*/g, '#');
    return `${home?.dataset.view || home?.id || ''}: ${plain.slice(0, 60)}`;
  };
  const rewrite = async (one, texts, ...names) => {
    for (const text of texts) {
      one.value = text;
      told(one, ...names);
      await frame();
    }
  };
  const use = async (one) => {
    const before = one.value;
    if (one.matches('select')) {
      const options = [...one.options].filter(({ disabled }) => !disabled);
      const every = Math.ceil(options.length / 12); // a menu of hundreds of answers is alike
      const some = options.filter((_, number) => number % every === 0);
      await rewrite(one, [...some, options.at(-1)].map(({ value }) => value), 'change');
      await rewrite(one, [before], 'change');
    } else if (one.type === 'range') {
      await rewrite(one, [one.min, one.max, before], 'input', 'change');
    } else if (one.matches('textarea') || ['text', 'search', 'number'].includes(one.type)) {
      await rewrite(one, ['1', before], 'input', 'change');
    } else {
      one.click();
      if (one.type === 'checkbox' || one.matches('summary, .label-wrap')) { // and back
        await frame();
        one.click();
      }
    }
    await frame();
    await frame();
  };
  const used = new Set();
  const every = () => [...document.querySelectorAll(place)].flatMap((box) => [
    ...box.querySelectorAll('button, select, input, textarea, summary')]);
  const next = () => every().find((one) => one.checkVisibility() && !one.disabled
    && one.type !== 'file' && !(skip && one.closest(skip))
    && (one.innerText === 'Cancel' || !used.has(named(one))));
  for (let one = next(), turn = 0; one; one = next(), turn += 1) {
    used.add(named(one));
    await use(one);
    if (turn > 400) throw new Error(`no end of controls: ${[...used].slice(-9)}`);
  }
  return [...used];
}"""


def every_pair(things: Sequence[T]) -> list[T]:
    """Return an order of at least two things, in which each follows each other one exactly once.

    It is a Eulerian circuit of their complete directed graph: n (n - 1) + 1 long, the first thing
    is also the last.
    """
    last = len(things) - 1
    places = [k for i in range(last) for j in range(i + 1, last + 1) for k in (i, j)]
    return [things[k] for k in (*places, 0)]


def fits(page) -> None:
    """Check that nothing is wider than the window."""
    wide = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert wide[0] <= wide[1]
    assert page.evaluate(CUT) == []


def use_all(page, place: str, skip: str = "") -> list[str]:
    """Use every control in sight, once; return what they are called, "view: words".

    Parameters
    ----------
    page
        Of Playwright.
    place : str
        Selector of the parts of the page whose controls are used.
    skip : str
        Selector of those that are left alone.
    """
    return page.evaluate(USE, [place, skip])
