// The views of a workspace: where each stands, behind which tab, and what is drawn when it comes in sight.

import { el, tableOf } from './dom.js';
import { allowDragging } from './lasso.js';
import { Room } from './room.js';
import { Tabs } from './tabs.js';
import { BarsView } from './view-bars.js';
import { BudgetView } from './view-budget.js';
import { CardView } from './view-card.js';
import { CompareView } from './view-compare.js';
import { ControlsView } from './view-controls.js';
import { EditsView } from './view-edits.js';
import { EmbeddingView } from './view-embedding.js';
import { EvidenceView } from './view-evidence.js';
import { FlowView } from './view-flow.js';
import { LegendView } from './view-legend.js';
import { PlaneView } from './view-plane.js';
import { PlayerView } from './view-player.js';
import { ProofView } from './view-proof.js';
import { ReplayView } from './view-replay.js';
import { ScrubView } from './view-scrub.js';
import { SheetView } from './view-sheet.js';
import { StripView } from './view-strip.js';
import { WhyView } from './view-why.js';
import { WordsView } from './view-words.js';

// Panels in which frames are bracketed over the bars, or cells are chosen and followed in the strip.
const ALONGSIDE = { bars: ['evidence'], strip: ['scrub', 'replay', 'compare', 'edits'] };

/** Base of Workspace: ``views``, ``sections``, ``deck`` and ``room``. */
export class Layout {
  constructor() {
    this.untold = new Set(); // names of State that have changed since the tables were made
    this.stale = new Set(); // views out of sight whose tables are of before
  }

  // --- the page ---------------------------------------------------------------------------------

  build() {
    const place = (name, ViewClass, title) => {
      const { section, host } = this.frame(name, title);
      this.views[name] = this.guard(new ViewClass(host, this), name);
      return section;
    };
    this.message = el('p', { class: 'ws-message', role: 'status' }, 'No trace is open yet.');
    this.body = el('div', { class: 'ws-body', hidden: true });
    this.deck = new Tabs('Views', (name) => this.id(name), (name) => this.reveal(name));
    this.screen = el('div', { class: 'ws-screen' },
      place('player', PlayerView, 'Clip'), this.deck.panels,
      el('div', { class: 'ws-column' }, place('card', CardView, 'Token'), place('legend', LegendView)));
    this.deck.add('overview', 'Overview',
      place('bars', BarsView, 'Tokens per frame, over time'), place('strip', StripView, 'Every frame, every token'));
    this.body.append(place('why', WhyView), place('controls', ControlsView), this.deck.bar, this.screen);
    this.root.replaceChildren(this.message, this.body);
    this.room = new Room(this.root, this.screen, () => this.refit(), () => this.rest());
    this.register('proof', 'Why?', ProofView, 'Why?: the runs that prove it');
    this.register('sheet', 'What the LLM got', SheetView);
    this.register('plane', 'Space and time', PlaneView);
    this.register('words', 'Words', WordsView, 'Question and answer, word by word');
    this.register('budget', 'Budget', BudgetView);
    this.register('scrub', 'Scrub', ScrubView, 'Scrub: the same question at many settings');
    this.register('replay', 'Replay', ReplayView);
    this.register('compare', 'Compare', CompareView);
    allowDragging(this);
    this.register('flow', 'Flow', FlowView);
    this.register('embedding', 'Likeness', EmbeddingView);
    this.register('edits', 'What if', EditsView);
    this.register('evidence', 'Evidence', EvidenceView);
  }

  /** A section with heading, host and, for views that have one, the table that says the same. */
  frame(name, title) {
    const host = el('div', { class: 'ws-host' });
    const section = el('section', { class: `ws-view ws-${name}-view`, 'data-view': name });
    if (title) {
      const heading = el('h3', { id: `${this.id(name)}-title` }, title);
      section.setAttribute('aria-labelledby', heading.id);
      section.append(heading);
    }
    const broken = el('p', { class: 'ws-broken', role: 'status', hidden: true }, 'This view could not be drawn.');
    section.append(host, broken);
    const twin = el('details', { class: 'ws-twin' }, el('summary', {}, 'Read as table'));
    twin.addEventListener('toggle', () => this.tell(name));
    if (title) section.append(twin);
    this.sections[name] = section;
    return { section, host };
  }

  /** Add a panel behind the tabs. The view is drawn when its tab is chosen. */
  register(name, title, ViewClass, heading = title) {
    const { section, host } = this.frame(name, heading);
    section.classList.add('ws-bare');
    section.querySelector('h3').hidden = true; // the tab says it
    this.deck.add(name, title, section);
    const view = this.guard(new ViewClass(host, this), name);
    this.views[name] = view;
    if (this.trace) this.give(view);
    return view;
  }

  /**
   * Let a view that throws stop no other: it is cleared, says so, and is tried again with the next
   * trace, or, where only drawing failed, as soon as all of it is to be drawn. Wraps the methods, as
   * views also draw by themselves, when their size changes.
   */
  guard(view, name) {
    const { load, draw } = view;
    const attempt = (what, act) => {
      try {
        act();
      } catch (error) {
        console.error(`The view "${name}" could not be drawn.`, error);
        this.mark(view, what);
      }
    };
    view.load = (trace) => {
      this.mark(view, '');
      attempt('load', () => load.call(view, trace));
    };
    view.draw = (changed) => {
      if (view.broken === 'load' || (view.broken && !changed.has('all'))) return;
      if (view.broken) this.mark(view, '');
      attempt('draw', () => draw.call(view, changed));
    };
    return view;
  }

  /** Hide a view and say so, after ``what`` failed; show it again where that is empty. */
  mark(view, what) {
    view.broken = what;
    view.host.hidden = Boolean(what);
    view.host.parentElement.querySelector(':scope > .ws-broken').hidden = !what;
  }

  get tabs() { return this.deck.bar; }

  get panels() { return this.deck.panels; }

  get chosen() { return this.deck.chosen; }

  /** Bring a panel in sight. */
  choose(name) { this.deck.choose(name); }

  /** Draw the views of a panel that has come in sight. */
  reveal(panel) {
    this.accompany(panel);
    if (!this.trace) return;
    for (const [name, section] of Object.entries(this.sections)) {
      const view = this.views[name];
      if (section.closest('[data-panel]')?.dataset.panel !== panel || this.hidden(name)) continue;
      if (view.late) this.hand(view);
      view.draw(new Set(['all']));
      if (this.stale.has(name)) this.tell(name);
    }
  }

  /** Bars and strip go with the panels that are used together with them, else they are the overview. */
  accompany(panel) {
    for (const [name, panels] of Object.entries(ALONGSIDE)) {
      const home = panels.includes(panel) ? panel : 'overview';
      const place = this.panels.querySelector(`[data-panel="${home}"]`);
      const section = this.sections[name];
      if (section.parentElement === place) continue;
      if (name === 'bars') place.prepend(section);
      else place.append(section);
    }
  }

  /** Show these views and no others, one under the other and without tabs. */
  only(names) {
    this.tabs.hidden = true;
    this.room.stacked = true;
    this.deck.unfold();
    if (names.includes('controls')) names = [...names, 'legend'];
    for (const [name, section] of Object.entries(this.sections)) section.hidden = !names.includes(name);
    for (const panel of this.panels.children) panel.hidden = !panel.querySelector('[data-view]:not([hidden])');
    this.panels.hidden = !this.panels.querySelector('[data-panel]:not([hidden])');
    this.room.measure();
    for (const panel of this.deck.names) this.reveal(panel);
  }

  /** The row of clip, views and token has another size. */
  refit() {
    if (!this.trace || !this.look) return;
    for (const name of Object.keys(this.views)) {
      const view = this.views[name]; // one that has not been given the trace yet will be drawn with it
      if (view.trace === this.trace && !this.hidden(name)) view.draw(new Set(['size']));
    }
  }

  /** Nobody sees the workspace: what plays stops. */
  rest() {
    if (this.state.playing) this.views.player.pause();
    this.state.set({ replaying: false });
  }

  id(name) {
    this.prefix = this.prefix || `ws${Math.random().toString(36).slice(2, 8)}`;
    return `${this.prefix}-${name}`;
  }

  /** Whether a view is out of sight; it is drawn in full when it comes back. */
  hidden(name) {
    if (this.stage?.name) return !this.stage.shows(name) || this.views[name].absent;
    if (this.views[name].absent || this.sections[name].hidden) return true;
    return Boolean(this.sections[name].closest('[data-panel]')?.hidden);
  }

  /** Fill or drop the table under a view. */
  tell(name) {
    const twin = this.root.querySelector(`[data-view="${name}"] > details`);
    this.stale.delete(name);
    if (!twin) return;
    twin.querySelector('.ws-scroll')?.remove();
    const told = this.trace && this.tableOf(name);
    twin.hidden = !told;
    if (told && twin.open) twin.append(tableOf(told, twin.parentElement.querySelector('h3').textContent));
  }

  /** {head, rows} of a view; null where it has none or cannot give it. */
  tableOf(name) {
    if (this.views[name].broken || this.views[name].absent) return null;
    try {
      return this.views[name].table();
    } catch (error) {
      console.error(`The view "${name}" has no table.`, error);
      return null;
    }
  }

  /**
   * Tables follow what they describe, but not the pointer. Each can have hundreds of rows: while
   * something plays they wait for its end, and those out of sight until they are seen.
   */
  retell(changed) {
    for (const key of changed) this.untold.add(key);
    if (this.state.playing || this.state.replaying) return;
    const told = this.untold;
    this.untold = new Set();
    if (!['all', 'look', 'frame', 'locked'].some((key) => told.has(key))) return;
    const anew = told.has('all') && !told.has('stop'); // a closed table is made when it is opened
    for (const name of Object.keys(this.views)) {
      const twin = this.root.querySelector(`[data-view="${name}"] > details`);
      if (!twin?.open && !anew) continue;
      if (this.hidden(name)) this.stale.add(name);
      else this.tell(name);
    }
  }
}
