// What can be chosen above the table: methods, kinds, numbers of frames, tags.

import { make } from './elements.js';
import { RULES, short } from './results.js';

export class Choices {
  /** field(name): the element of that name. */
  constructor(field, results) {
    Object.assign(this, { field, results });
  }

  offer(marks) {
    const { results } = this, { methods, order } = results;
    const stock = order.find((method) => methods[method].uncompressed);
    this.options('reference', order.map((method) => [method, results.nameOf(method)]), stock);
    const others = order.filter((method) => method !== stock);
    const shares = [...new Set((others.length ? others : order).map((m) => methods[m].retention))];
    const close = shares.includes(0.02) ? 0.02 : shares[0]; // the paper's setting
    this.options('retention', shares.map((share) => [
      share, share === null ? 'not given' : `${short(share)} %`]), close);
    this.offerMethods();
    this.options('rule', Object.entries(RULES).map(([key, rule]) => [key, rule.label]));
    this.options('kind', [['', 'all kinds'],
      ...results.values('kind').filter(Boolean).map((kind) => [kind, kind])]);
    const known = new Set(results.answers.why ?? []);
    this.options('why', [['', 'all causes'], ...results.whys.flatMap((why, place) => (
      known.has(place) ? [[place, why]] : []))]);
    this.field('why').parentElement.hidden = !results.explained;
    // one number at a time: the same question at another is no new one for a test
    const frames = results.values('frames');
    const asked = (count) => results.questions.frames.filter((one) => one === count).length;
    const usual = frames.reduce((best, count) => (asked(count) > asked(best) ? count : best));
    this.options('frames', frames.map((count) => [count, String(count)]), usual);
    this.field('frames').parentElement.hidden = frames.length < 2;
    this.offerMarks(marks);
  }

  /** The methods of the chosen retention; what was chosen stays where it is there too. */
  offerMethods() {
    const { methods, order } = this.results;
    const share = this.field('retention').value;
    const here = order.filter((method) => String(methods[method].retention) === share);
    const pairs = here.map((method) => [method, methods[method].label]);
    const former = (name) => {
      const label = this.field(name).selectedOptions[0]?.textContent;
      return pairs.find((pair) => pair[1] === label)?.[0];
    };
    this.options('first', pairs, former('first'));
    this.options('second', [['', 'none'], ...pairs], former('second'));
  }

  offerMarks(marks) {
    const tags = marks.tags().map((tag) => [`#${tag}`, `tag: ${tag}`]);
    this.options('mark', [['', 'all'], ['#', 'any tag or note'], ...tags],
      this.field('mark').value);
  }

  options(name, pairs, chosen) {
    const field = this.field(name);
    field.replaceChildren(...pairs.map(([value, label]) => (
      make('option', { value: String(value) }, label))));
    if (chosen !== undefined && pairs.some(([value]) => String(value) === String(chosen))) {
      field.value = String(chosen);
    }
  }
}
