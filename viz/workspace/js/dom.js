// Small helpers for elements. Text only ever becomes a text node, so nothing in it can run.

/** An element: ``el('p', {class: 'note', onclick: f}, 'text', child)``. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A canvas of these pixels, RGBA. */
export function pixelCanvas(pixels, width, height) {
  const made = el('canvas', { width, height });
  made.getContext('2d').putImageData(new ImageData(pixels, width, height), 0, 0);
  return made;
}

/** Words in a live region, set where they are new; the seconds beside them are not read out. */
export function announce(region, words, elapsed = null) {
  const [said = el('span'), clock = el('span', { 'aria-hidden': 'true' })] = region.children;
  if (!region.childElementCount) region.append(said, clock);
  if (said.textContent !== words) said.textContent = words;
  clock.textContent = elapsed === null ? '' : ` ${elapsed.toFixed(1)} s`;
}

/** A real table of {head, rows}; cells are text. Long ones come in pages of 300 rows. */
export function tableOf({ head, rows }, caption) {
  const body = el('tbody');
  const more = el('button', { type: 'button', class: 'ws-quiet' });
  let shown = 0;
  const page = () => {
    for (const row of rows.slice(shown, shown + 300)) {
      const [first, ...others] = row.map(String);
      body.append(el('tr', {}, el('th', { scope: 'row' }, first), ...others.map((c) => el('td', {}, c))));
    }
    shown = Math.min(rows.length, shown + 300);
    more.hidden = shown === rows.length;
    more.textContent = `Show more (${rows.length - shown} left)`;
  };
  more.addEventListener('click', page);
  page();
  const titles = head.map((title) => el('th', { scope: 'col' }, title));
  const table = el('table', {}, el('caption', {}, caption), el('thead', {}, el('tr', {}, ...titles)), body);
  return el('div', { class: 'ws-scroll', tabindex: '0', role: 'region', 'aria-label': caption }, table, more);
}

/** A glyph in its fate's color, for legends and tables; the words beside it say the same. */
export function swatch(code) {
  const made = el('span', { class: `ws-swatch ws-mark-${code.mark.replace(' ', '-')}`, 'aria-hidden': 'true' });
  made.style.setProperty('--fate', code.color);
  return made;
}

/** Whether a key press belongs to the element itself: text, choices and buttons keep their keys. */
export function hasOwnKeys(target) {
  return Boolean(target.closest('input, select, textarea, button, summary, a, video[controls]'));
}
