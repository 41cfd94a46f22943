"""Fold the asking side away and back: the views get its room. A link keeps it folded."""

from __future__ import annotations

import gradio as gr

# The address is written by the workspace too, which leaves parts alone that are not its own.
FOLD = """
const button = element.querySelector('button');
const show = (folded) => {
  document.querySelector('#work').classList.toggle('folded', folded);
  button.setAttribute('aria-expanded', String(!folded));
  button.textContent = folded ? 'Show the asking side' : 'Hide the asking side';
};
button.onclick = () => {
  const folded = button.getAttribute('aria-expanded') === 'true';
  const query = new URLSearchParams(location.search);
  if (folded) query.set('ask', 'hidden');
  else query.delete('ask');
  const tail = query.toString() ? '?' + query : '';
  history.replaceState(history.state, '', location.pathname + tail + location.hash);
  show(folded);
};
show(new URLSearchParams(location.search).get('ask') === 'hidden');
"""


def fold() -> gr.HTML:
    """Return the button; it stands at the upper right of the views."""
    return gr.HTML(
        html_template='<button type="button" aria-expanded="true" aria-controls="ask"></button>',
        js_on_load=FOLD,
        apply_default_css=False,
        elem_id="fold",
    )
