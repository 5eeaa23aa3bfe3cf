// The connection to the server: commands out, events in, pictures and label images by frame.

const ALREADY_OPEN = 4001;

export class Connection extends EventTarget {
  constructor() {
    super();
    this.waiting = 500;
    this.open();
  }

  open() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.socket = new WebSocket(`${scheme}://${location.host}/session`);
    this.socket.onmessage = (message) => {
      const event = JSON.parse(message.data);
      this.waiting = 500;
      this.dispatchEvent(new CustomEvent(event.type, { detail: event }));
    };
    this.socket.onclose = (closed) => this.closed(closed);
  }

  closed(closed) {
    if (closed.code === ALREADY_OPEN) {
      this.lost("This project is open in another tab. Close that tab, then reload this page.");
      return;
    }
    this.lost("The connection to surgsam2 is lost. Everything so far is saved; connecting again…");
    setTimeout(() => this.again(), this.waiting);
    this.waiting = Math.min(8000, this.waiting * 2);
  }

  // A server that was started anew has another token: then this address is stale.
  async again() {
    const answer = await fetch("/labels/0").catch(() => null);
    if (answer?.status === 403) {
      this.lost("The address is not valid any more. Open the one that the command printed last.");
    } else {
      this.open();
    }
  }

  lost(message) {
    this.dispatchEvent(new CustomEvent("lost", { detail: { message } }));
  }

  send(command, values = {}) {
    if (this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify({ command, ...values }));
    return true;
  }

  async exportFiles(formats) {
    const response = await fetch("/export", { method: "POST", body: JSON.stringify({ formats }) });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    return answer.files;
  }
}

async function fetched(address) {
  const response = await fetch(address);
  if (response.ok) return response;
  let reason = response.statusText;
  try {
    reason = (await response.json()).error;
  } catch {
    // The answer has no reason.
  }
  throw new Error(reason);
}

// Keeps what was fetched for the frames that were used last.
class FrameCache {
  constructor(size, load) {
    this.size = size;
    this.load = load;
    this.kept = new Map();
  }

  get(frame) {
    let found = this.kept.get(frame);
    if (found === undefined) {
      found = this.load(frame);
      found.catch(() => this.kept.delete(frame));
    } else {
      this.kept.delete(frame);
    }
    this.kept.set(frame, found);
    if (this.kept.size > this.size) this.kept.delete(this.kept.keys().next().value);
    return found;
  }

  forget(frames) {
    for (const frame of frames) this.kept.delete(frame);
  }

  clear() {
    this.kept.clear();
  }
}

// 24 decoded 4K pictures are 800 MB; for the frames around the current one these suffice.
export const pictures = new FrameCache(24, async (frame) =>
  createImageBitmap(await (await fetched(`/frames/${video.key}/${frame}.jpg`)).blob()));

// The open video: its key is part of the addresses of its frames, which the browser keeps.
export const video = { key: "" };

// Runs of [object id, number of pixels] in row order.
export const labels = new FrameCache(64, async (frame) =>
  new Uint32Array(await (await fetched(`/labels/${frame}`)).arrayBuffer()));
