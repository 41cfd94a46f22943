// What the error table asks of the server: a promise for each answer.

let count = 0;

export class Server {
  /** trigger(name, detail) of the component; null where nobody answers, as in a test. */
  constructor(trigger) {
    this.trigger = trigger;
    this.waiting = new Map(); // id -> {done, failed, progress}
    document.addEventListener('errors-news', ({ detail }) => this.hear(detail));
  }

  /** The answer to a request; progress(share) is called meanwhile. */
  ask(name, detail, progress = () => {}) {
    if (!this.trigger) return Promise.reject(new Error('no server answers here'));
    count += 1;
    const id = `${name} ${count} ${Math.random().toString(36).slice(2)}`;
    return new Promise((done, failed) => {
      this.waiting.set(id, { done, failed, progress });
      this.trigger(name, { ...detail, id });
    });
  }

  hear(news) {
    const asked = this.waiting.get(news?.id);
    if (!asked) return;
    if (news.fraction !== undefined && news.file === undefined && !news.error) {
      asked.progress(news.fraction);
      return;
    }
    this.waiting.delete(news.id);
    if (news.error) asked.failed(new Error(news.error));
    else asked.done(news);
  }
}
