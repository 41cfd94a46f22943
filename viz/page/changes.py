"""Tell the server of changes on either side of the page, and of nothing else.

Gradio's "change" comes for every field as the page opens, and again where an event fills it. The
browser compares what is asked and shown with what it was before: only a difference reaches the
server.
"""

from __future__ import annotations

import gradio as gr

from viz.page.guard import LAST
from viz.page.inspect_tab import Controls

# [live, workspace, clip, question, settings...] as one value; a clip is the file, not its address.
# What is followed comes first among the settings; the model stands after it.
COLLECT = """(live, shown, video, question, ...settings) => ({
  live, key: shown?.key ?? null, ran: Boolean(shown?.ran),
  clip: video?.path ?? video?.video?.path ?? video ?? null,
  left: JSON.stringify([question, settings.slice(0, %d)]),
  model: JSON.stringify(settings.slice(%d)),
})"""
# A trace that opens with the page, where no link asks for one, is of what stands to the left.
WATCH = """
let before = null;
let late = false; // changed while Run is under way, which does not ask this
const linked = new URLSearchParams(location.search).has('trace');
watch('value', () => {
  const now = props.value;
  if (!now) return;
  const earlier = before ?? { ...now, key: null };
  const moved = (...names) => names.some((name) => now[name] !== earlier[name]);
  before = now;
  if (!now.key || (!earlier.key && !linked)) return; // the page is being opened
  if (moved('clip')) trigger('clip');
  if (moved('key', 'live', 'ran', 'clip', 'left', 'model')) trigger('either');
  const changed = moved('live', 'clip', 'left');
  if (now.live && now.ran && (changed || (late && moved('key')))) trigger('asked');
  late = (late && !moved('key')) || (changed && document.querySelector('#run').disabled);
});
"""


def changes(controls: Controls, workspace: gr.HTML) -> gr.HTML:
    """Return a component with the events "clip", "asked" (what the settings say) and "either".

    "asked" comes only while the settings are followed and the trace shown is of a run.
    """
    gate = gr.HTML(
        value=None, html_template="", js_on_load=WATCH, visible="hidden", elem_id="changes"
    )
    settings = controls.settings
    followed = [part for name, part in settings.items() if name not in ("baseline", "model")]
    model = [settings["model"]] if "model" in settings else []
    parts = [controls.live, workspace, controls.video, controls.question, *followed, *model]
    gr.on(
        [part.change for part in parts],
        None,
        parts,
        gate,
        js=COLLECT % (len(followed), len(followed)),
        **LAST,
    )
    return gate
