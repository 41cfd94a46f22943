// What is selected and how it is shown: one flat object, shared by every view.

export const START = {
  hover: -1, // token under the pointer
  locked: [], // tokens that were clicked, the last one in focus
  frame: 0,
  time: 0, // seconds of the clip
  playing: false,
  stage: 'end', // key of TokenTrace.stages
  overlay: 'seen', // seen, fate, contribution, similarity, relevance, members, attention, full
  fill: 'carrier', // of merged cells in "seen": carrier, or mean of the cluster
  wipe: 0, // share of the clip's width, from the left, that shows the original
  opacity: 0.8, // of the colors over the picture
  scale: 'viridis', // or cividis
  sinks: false, // outline cells that are attended to in most frames
  evidence: true, // outline the cells with the evidence, where they are known
  image: false, // nothing over the picture
  step: -1, // of the replay: how many tokens were considered; -1 off
  replaying: false,
  word: -1, // index into TokenTrace.words
  compare: [], // specs of the runs that are compared with the shown one, such as "uniform@0.02"
  pair: 'AB', // which two of them are marked in the pictures
  tool: 'pick', // what a drag does: pick, lasso or evidence
};

/** Fields as properties; ``set`` tells every listener once per animation frame what has changed. */
export class State {
  constructor() {
    this.fields = { ...START };
    this.listeners = new Set();
    this.changed = new Set();
    this.pending = 0;
    for (const key of Object.keys(START)) {
      Object.defineProperty(this, key, { get: () => this.fields[key] });
    }
  }

  /** The token that everything talks about: under the pointer, else the last one clicked. */
  get focus() {
    const { hover, locked } = this.fields;
    return hover >= 0 ? hover : locked.length ? locked[locked.length - 1] : -1;
  }

  /** Change some fields; unknown names are an error. */
  set(patch) {
    for (const [key, value] of Object.entries(patch)) {
      if (!(key in this.fields)) throw new Error(`the workspace has no state "${key}"`);
      if (Object.is(this.fields[key], value)) continue;
      this.fields[key] = value;
      this.changed.add(key);
    }
    if (this.changed.size && !this.pending) {
      this.pending = requestAnimationFrame(() => this.flush());
    }
  }

  /** Tell the listeners now; they must not wait for an animation frame in a hidden tab. */
  flush() {
    cancelAnimationFrame(this.pending);
    this.pending = 0;
    const changed = this.changed;
    this.changed = new Set();
    for (const listener of this.listeners) {
      try {
        listener(this, changed);
      } catch (error) {
        console.error(error); // the others must hear of it all the same
      }
    }
  }

  /** Call ``listener(state, Set of changed names)`` from now on; returns the way to stop it. */
  on(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Back to the start, as for another trace. */
  reset(keep = ['opacity', 'scale', 'fill', 'sinks', 'evidence']) {
    const patch = { ...START, locked: [] };
    for (const key of keep) delete patch[key];
    this.set(patch);
  }
}
