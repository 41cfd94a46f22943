"""A clip from the webcam or the screen: recorded by the browser, then taken like an upload.

The browser's own recorder writes WebM (Safari: mp4) without a duration in its header. It needs a
page that was reached by https, or by this machine's own address.
"""

from __future__ import annotations

import gradio as gr

from viz.server.job import BIGGEST

LONGEST = 120  # seconds of one recording
TEMPLATE = f"""<div class="record" data-most="{BIGGEST}" data-longest="{LONGEST}">
  <div class="record-row">
    <button type="button" data-kind="webcam">Record webcam</button>
    <button type="button" data-kind="screen">Record screen</button>
    <button type="button" class="record-stop" hidden>Stop</button></div>
  <video class="record-live" muted playsinline hidden aria-label="What is being recorded"></video>
  <p class="record-said" role="status"></p></div>"""
RECORD = """
const box = element.querySelector('.record');
const [most, longest] = [Number(box.dataset.most), Number(box.dataset.longest)]; // bytes, seconds
const starts = [...box.querySelectorAll('[data-kind]')];
const stop = box.querySelector('.record-stop');
const live = box.querySelector('.record-live');
const said = box.querySelector('.record-said');
const say = (words) => { said.textContent = words; };
const KINDS = ['video/webm;codecs=vp9', 'video/webm;codecs=vp8', 'video/webm', 'video/mp4'];
let now = null; // {stream, recorder, clock} while something is recorded
let asked = 0; // times that the browser was asked; only its last answer counts

const show = () => {
  for (const button of starts) button.hidden = Boolean(now);
  stop.hidden = live.hidden = !now;
  live.srcObject = now ? now.stream : null;
  if (now) live.play().catch(() => {});
};

const end = () => {
  if (now && now.recorder.state !== 'inactive') now.recorder.stop();
};

const send = async (kind, parts, type) => {
  const size = parts.reduce((sum, part) => sum + part.size, 0);
  if (!size || size > most) {
    say(size ? 'The recording is too large; record less.' : 'Nothing was recorded.');
    return;
  }
  const name = `${kind}.${type.includes('mp4') ? 'mp4' : 'webm'}`;
  say('Uploading the recording …');
  try {
    const { path } = await upload(new File(parts, name, { type: type.split(';')[0] }));
    say('');
    trigger('taken', { name, path });
  } catch (error) {
    say(`The recording could not be uploaded: ${error?.message || error}`);
  }
};

const begin = async (kind) => {
  say('');
  const media = navigator.mediaDevices;
  if (!media || !window.MediaRecorder || (kind === 'screen' && !media.getDisplayMedia)) {
    say('This browser records nothing here: it needs https or this machine\\'s own address.');
    return;
  }
  asked += 1;
  const mine = asked;
  let stream;
  try {
    stream = await (kind === 'screen'
      ? media.getDisplayMedia({ video: true }) : media.getUserMedia({ video: true }));
  } catch (error) {
    if (mine !== asked) return;
    say(error?.name === 'NotFoundError' ? `There is no ${kind} to record.`
      : 'The browser was not allowed to record; nothing was changed.');
    return;
  }
  if (mine !== asked || now) {
    for (const track of stream.getTracks()) track.stop();
    return;
  }
  const mimeType = KINDS.find((type) => MediaRecorder.isTypeSupported(type));
  const recorder = new MediaRecorder(stream, mimeType ? { mimeType } : {});
  const parts = [];
  const began = performance.now();
  const tick = () => {
    const seconds = (performance.now() - began) / 1000;
    stop.textContent = `Stop and use (${seconds.toFixed(0)} s)`;
    if (seconds >= longest) end();
  };
  recorder.ondataavailable = ({ data }) => { if (data.size) parts.push(data); };
  recorder.onstop = () => {
    clearInterval(now.clock);
    for (const track of stream.getTracks()) track.stop();
    now = null;
    show();
    send(kind, parts, recorder.mimeType || 'video/webm');
  };
  for (const track of stream.getTracks()) track.onended = end; // by the browser's own button
  now = { stream, recorder, clock: setInterval(tick, 250) };
  tick();
  recorder.start(1000);
  show();
  stop.focus();
};

for (const button of starts) button.onclick = () => begin(button.dataset.kind);
stop.onclick = end;
"""


def record_buttons() -> gr.HTML:
    """Return the buttons; their event is ``taken``, as that of the upload."""
    return gr.HTML(
        "",
        html_template=TEMPLATE,
        js_on_load=RECORD,
        apply_default_css=False,
        elem_id="record",
    )
