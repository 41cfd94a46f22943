// Panels behind tabs: one bar, one panel in sight, arrow keys along the bar.

import { el } from './dom.js';

const STEPS = { ArrowRight: (at) => at + 1, ArrowLeft: (at) => at - 1, Home: () => 0, End: () => -1 };

/**
 * bar      element with the tabs
 * panels   element with the panels, each with ``data-panel``
 * chosen   name of the panel in sight
 */
export class Tabs {
  /** ``id(name)`` gives ids of this page; ``shown(name)`` is called when another panel is in sight. */
  constructor(label, id, shown) {
    Object.assign(this, { id, shown, chosen: '', unfolded: false });
    this.bar = el('div', { class: 'ws-tabs', role: 'tablist', 'aria-label': label });
    this.panels = el('div', { class: 'ws-panels' });
  }

  add(name, title, ...sections) {
    const tab = el('button', {
      type: 'button', role: 'tab', id: `${this.id(name)}-tab`, 'aria-controls': this.id(name),
      onclick: () => this.choose(name), onkeydown: (event) => this.turn(event),
    }, title);
    const panel = el('div', {
      id: this.id(name), role: 'tabpanel', 'aria-labelledby': tab.id, 'data-panel': name,
    }, ...sections);
    this.bar.append(tab);
    this.panels.append(panel);
    this.mark(this.chosen || name);
  }

  get names() { return [...this.panels.children].map(({ dataset }) => dataset.panel); }

  choose(name) {
    if (this.unfolded) return;
    this.mark(name);
    this.shown(name);
  }

  mark(name) {
    this.chosen = name;
    for (const panel of this.panels.children) {
      const here = panel.dataset.panel === name;
      const tab = this.bar.querySelector(`[aria-controls="${panel.id}"]`);
      panel.hidden = !here;
      tab.setAttribute('aria-selected', String(here));
      tab.tabIndex = here ? 0 : -1;
    }
  }

  /** Show all panels, one under the other, from now on. */
  unfold() {
    this.unfolded = true;
    for (const panel of this.panels.children) panel.hidden = false;
  }

  /** Arrow keys, Home and End, as in any tab list. */
  turn(event) {
    const step = STEPS[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    const tabs = [...this.bar.querySelectorAll('[role=tab]')];
    const next = tabs[(step(tabs.indexOf(event.target)) + tabs.length) % tabs.length];
    event.preventDefault();
    event.stopPropagation();
    next.focus();
    next.click();
  }
}
