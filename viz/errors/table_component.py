"""Show the table as one HTML component: a page of its own files that fetches only the table."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from viz.workspace.modules import joined

HERE = Path(__file__).parent

# Values come as {"table": its name, "url": its file, "opens": whether choosing opens}, or as
# {"missing": true} where there is no file to begin with. The event "appear"
# says that the tab is seen for the first time: no file is read before.
MOUNT = """
const table = new ErrorTable(element.querySelector('.errors'), trigger);
const update = () => {
  const { table: name, url, opens, missing } = props.value ?? {};
  element.querySelector('.reading').hidden = Boolean(missing);
  element.querySelector('.none').hidden = !missing;
  if (!name) return;
  const open = (question, methods) => trigger('choose', { table: name, question, methods });
  table.load(url, opens ? open : null, name).catch((error) => table.fail(error));
};
watch('value', update);
update();
document.addEventListener('errors-flip', ({ detail }) => {
  if (!table.flip(detail.by, true)) detail.none();
});
new IntersectionObserver((seen, observer) => {
  if (!seen.some((one) => one.isIntersecting)) return;
  observer.disconnect();
  trigger('appear');
}).observe(element);
new IntersectionObserver((seen) => {
  table.appear(seen.some((one) => one.isIntersecting));
}).observe(element);
"""


def table_html() -> gr.HTML:
    """Return the component; its events are ``appear`` and ``choose``."""
    return gr.HTML(
        None,
        html_template=(HERE / "errors.html").read_text(encoding="utf-8"),
        css_template=(HERE / "errors.css").read_text(encoding="utf-8"),
        js_on_load=joined(HERE / "view.js", ["ErrorTable"]) + MOUNT,
        apply_default_css=False,
        elem_id="errors-table",
    )
