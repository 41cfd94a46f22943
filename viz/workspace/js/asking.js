// What a view asks of the page's server: one request at a time, Cancel, and the news that come back.

import { announce, el } from './dom.js';

let count = 0; // of requests of this page: no two share an id

/**
 * busy    {id, about} while the server works, else null
 * stop    the button Cancel, in sight while there is something to cancel
 * status  the line that says where the work is; ``look`` is its class
 * meter   how much of it is done
 */
export class Asking {
  /**
   * send(name, detail) reaches the server, which answers by events ``tokens-name``.
   *
   * stops               the event that ends a request; written out, as Gradio reads the names of events in the script
   * changed()           something was asked, has ended or was cancelled
   * ended(news, about)  the last news: ``done``, ``opened`` or ``error`` is in them
   * take(news, about)   each of the news, before that; the next wait until it is settled
   * dropped(about)      the request was cancelled
   * cancelled           the words after Cancel
   */
  constructor(name, send, { stops, changed, ended, take = () => {}, dropped = () => {}, cancelled = 'Cancelled; nothing was changed.', look = '' }) {
    Object.assign(this, { name, send, stops, changed, ended, take, dropped, cancelled, busy: null });
    this.stop = el('button', { type: 'button', class: 'ws-act', hidden: true, onclick: () => this.cancel() }, 'Cancel');
    this.status = el('p', { class: look, role: 'status' });
    this.meter = el('progress', { max: '1', 'aria-label': 'Progress', hidden: true });
    document.addEventListener(`tokens-${name}`, ({ detail }) => this.hear(detail));
  }

  /** Send ``detail``; ``about`` is what the view wants to know of it when the news come. */
  ask(detail, about = {}) {
    count += 1;
    this.busy = { id: `${this.name}-${count}-${Math.random().toString(36).slice(2, 10)}`, about, heard: Promise.resolve() };
    this.tell('Waiting for the model …', 0);
    this.send(this.name, { id: this.busy.id, ...detail });
    this.turn();
  }

  cancel(words = this.cancelled) {
    const { busy } = this;
    if (!busy) return; // it has just ended
    this.send(this.stops, { id: busy.id });
    this.busy = null;
    this.tell(words);
    this.dropped(busy.about);
    this.turn();
  }

  /** Stop it and say nothing: another trace is shown, which it is not about. */
  forget() {
    if (this.busy) this.send(this.stops, { id: this.busy.id });
    this.busy = null;
    this.stop.hidden = true;
    this.tell('');
  }

  /** News of other workspaces and of cancelled requests are nobody's; none overtakes the one before it. */
  hear(news) {
    const { busy } = this;
    if (!news || !busy || news.id !== busy.id) return;
    busy.heard = busy.heard.then(() => this.follow(busy, news));
  }

  async follow(busy, news) {
    if (this.busy !== busy) return;
    if (news.stage) this.tell(`${news.stage} …`, news.fraction, news.elapsed);
    let { error } = news;
    try {
      await this.take(news, busy.about);
    } catch (problem) {
      error = problem.message;
    }
    if (this.busy !== busy || !(news.done || news.opened || error)) return;
    this.busy = null;
    this.tell(error || '', null, null, error ? 'error' : 'done');
    this.ended({ ...news, error }, busy.about);
    this.turn();
  }

  turn() {
    this.stop.hidden = !this.busy;
    this.changed();
  }

  tell(words, fraction = null, elapsed = null, kind = 'quiet') {
    announce(this.status, words, elapsed);
    this.status.dataset.kind = kind;
    this.status.setAttribute('role', kind === 'error' ? 'alert' : 'status');
    this.meter.hidden = fraction === null;
    this.meter.value = fraction || 0;
  }
}
