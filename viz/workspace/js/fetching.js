// What the browser reads from the page's server, or from the file that it is.

/** ArrayBuffer of a file; an Error with one sentence where it cannot be had. */
export async function download(url) {
  const answer = await fetch(new URL(url, document.baseURI));
  if (!answer.ok) throw new Error('Its file is gone from the server; open it again.');
  return answer.arrayBuffer();
}

/** A decoded picture, null where there is none or it cannot be read: cells need no picture. */
export async function picture(url) {
  if (!url) return null;
  const made = new Image();
  made.src = new URL(url, document.baseURI).href;
  try {
    await made.decode();
    return made;
  } catch {
    return null;
  }
}
