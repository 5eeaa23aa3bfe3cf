// The frame with its masks: drawing, zoom, and what the pointer does with the chosen tool.

import { labels, pictures } from "./connection.js";

const FILL = 105;

export class View {
  constructor(canvas, project, act) {
    this.canvas = canvas;
    this.project = project;
    this.act = act;
    this.tool = "positive";
    this.brush = 24;
    this.zoom = null; // null fits the picture into the canvas
    this.picture = null;
    this.overlay = document.createElement("canvas");
    this.hovered = document.createElement("canvas");
    this.hasHover = false;
    this.stroke = null;
    this.box = null;
    this.pointer = null;
    this.shown = -1;
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointerleave", () => { this.pointer = null; this.clearHover(); });
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  // Show a frame; the newest call wins when pictures come late.
  async show(frame) {
    this.frame = frame;
    try {
      const [picture, runs] = await Promise.all([pictures.get(frame), labels.get(frame)]);
      if (this.frame !== frame) return;
      this.picture = picture;
      this.shown = frame;
      this.paintLabels(runs);
      this.clearHover();
      this.draw();
      document.body.dataset.shown = String(frame);
      for (const next of [frame + 1, frame + 2, frame + 3]) {
        if (next < this.project.video.frames) pictures.get(next).catch(() => {});
      }
    } catch (error) {
      this.act.fail(error.message);
    }
  }

  paintLabels(runs) {
    const { width, height } = this.project.video;
    const data = new ImageData(width, height);
    const pixels = new Uint32Array(data.data.buffer);
    const fills = new Map();
    const edges = new Map();
    for (const object of this.project.objects) {
      if (!object.visible) continue;
      const [r, g, b] = [1, 3, 5].map((at) => parseInt(object.color.slice(at, at + 2), 16));
      fills.set(object.id, (FILL << 24) | (b << 16) | (g << 8) | r);
      edges.set(object.id, (255 << 24) | (b << 16) | (g << 8) | r);
    }
    let at = 0;
    const ids = new Uint16Array(width * height);
    for (let i = 0; i < runs.length; i += 2) {
      if (runs[i]) {
        ids.fill(runs[i], at, at + runs[i + 1]);
        const fill = fills.get(runs[i]);
        if (fill !== undefined) pixels.fill(fill, at, at + runs[i + 1]);
      }
      at += runs[i + 1];
    }
    // The outline: pixels whose neighbour belongs to something else.
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i];
      if (id && (ids[i - 1] !== id || ids[i + 1] !== id || ids[i - width] !== id || ids[i + width] !== id)) {
        const edge = edges.get(id);
        if (edge !== undefined) pixels[i] = edge;
      }
    }
    this.overlay.width = width;
    this.overlay.height = height;
    this.overlay.getContext("2d").putImageData(data, 0, 0);
    document.body.dataset.pixels = String(ids.reduce((sum, id) => sum + (id ? 1 : 0), 0));
  }

  showHover(runs) {
    const { width, height } = this.project.video;
    const data = new ImageData(width, height);
    const pixels = new Uint32Array(data.data.buffer);
    let at = 0;
    for (let i = 0; i < runs.length; i += 2) {
      if (runs[i]) pixels.fill(0x70ffffff, at, at + runs[i + 1]);
      at += runs[i + 1];
    }
    this.hovered.width = width;
    this.hovered.height = height;
    this.hovered.getContext("2d").putImageData(data, 0, 0);
    this.hasHover = true;
    this.draw();
  }

  clearHover() {
    if (!this.hasHover) return;
    this.hasHover = false;
    this.draw();
  }

  // Where the picture lies on the canvas: scale and offset in canvas pixels.
  placement() {
    const { width, height } = this.project.video;
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [this.canvas.clientWidth * ratio, this.canvas.clientHeight * ratio];
    if (this.zoom) return this.zoom;
    const scale = Math.min(w / width, h / height);
    return { scale, x: (w - width * scale) / 2, y: (h - height * scale) / 2 };
  }

  // Pixel coordinates of the video: the centre of the top left pixel is (0, 0).
  position(event) {
    const ratio = window.devicePixelRatio || 1;
    const bounds = this.canvas.getBoundingClientRect();
    const { scale, x, y } = this.placement();
    return [
      ((event.clientX - bounds.left) * ratio - x) / scale - 0.5,
      ((event.clientY - bounds.top) * ratio - y) / scale - 0.5,
    ];
  }

  inside([x, y]) {
    const { width, height } = this.project.video;
    return x >= -0.5 && y >= -0.5 && x < width - 0.5 && y < height - 0.5;
  }

  draw() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.max(1, this.canvas.clientWidth * ratio);
    this.canvas.height = Math.max(1, this.canvas.clientHeight * ratio);
    if (!this.picture) return;
    const context = this.canvas.getContext("2d");
    const { scale, x, y } = this.placement();
    context.setTransform(scale, 0, 0, scale, x, y);
    context.imageSmoothingEnabled = scale < 3;
    context.drawImage(this.picture, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.overlay, 0, 0);
    if (this.hasHover) context.drawImage(this.hovered, 0, 0);
    this.drawPrompts(context, scale);
    if (this.stroke) this.drawStroke(context);
    if (this.pointer && (this.tool === "brush" || this.tool === "eraser")) {
      context.beginPath();
      context.arc(this.pointer[0] + 0.5, this.pointer[1] + 0.5, this.brush / 2, 0, 7);
      context.lineWidth = 1.5 / scale;
      context.strokeStyle = "#ffffff";
      context.stroke();
    }
  }

  drawPrompts(context, scale) {
    for (const object of this.project.objects) {
      const prompt = object.prompts[this.shown];
      if (!object.visible) continue;
      const box = object.id === this.project.selected && this.box ? this.box : prompt?.box;
      if (box) {
        context.lineWidth = 2 / scale;
        context.strokeStyle = object.color;
        context.strokeRect(box[0] + 0.5, box[1] + 0.5, box[2] - box[0], box[3] - box[1]);
      }
      for (const [x, y, label] of prompt?.points ?? []) {
        context.beginPath();
        context.arc(x + 0.5, y + 0.5, 5 / scale, 0, 7);
        context.fillStyle = label ? "#1fb141" : "#d92d20";
        context.fill();
        context.lineWidth = 1.5 / scale;
        context.strokeStyle = "#ffffff";
        context.stroke();
      }
    }
  }

  drawStroke(context) {
    context.beginPath();
    context.lineCap = context.lineJoin = "round";
    context.lineWidth = this.brush;
    context.strokeStyle = this.tool === "eraser" ? "rgb(0 0 0 / 50%)" : "rgb(255 255 255 / 50%)";
    this.stroke.forEach(([x, y], i) => (i ? context.lineTo(x + 0.5, y + 0.5) : context.moveTo(x + 0.5, y + 0.5)));
    if (this.stroke.length === 1) context.lineTo(this.stroke[0][0] + 0.51, this.stroke[0][1] + 0.5);
    context.stroke();
  }

  down(event) {
    if (!this.picture) return;
    this.canvas.focus();
    this.canvas.setPointerCapture(event.pointerId);
    if (event.button === 1) {
      this.dragging = { from: [event.clientX, event.clientY], start: { ...this.placement() } };
      return;
    }
    const at = this.position(event);
    if (!this.inside(at)) return;
    const tool = event.button === 2 ? "negative" : this.tool;
    if (tool === "box") this.box = [...at, ...at];
    else if (tool === "brush" || tool === "eraser") this.stroke = [at];
    else this.act.point(at, tool === "positive");
    this.draw();
  }

  move(event) {
    if (!this.picture) return;
    const at = this.position(event);
    this.pointer = at;
    if (this.dragging) {
      const ratio = window.devicePixelRatio || 1;
      const { from, start } = this.dragging;
      this.zoom = {
        scale: start.scale,
        x: start.x + (event.clientX - from[0]) * ratio,
        y: start.y + (event.clientY - from[1]) * ratio,
      };
    } else if (this.box) {
      this.box = [this.box[0], this.box[1], ...at];
    } else if (this.stroke) {
      this.stroke.push(at);
    } else if (this.tool === "positive" && !event.buttons && this.inside(at)) {
      this.act.hover(at);
      return;
    } else if (this.tool !== "brush" && this.tool !== "eraser") {
      return;
    }
    this.draw();
  }

  up() {
    if (this.dragging) {
      this.dragging = null;
    } else if (this.box) {
      const [x0, y0, x1, y1] = this.box;
      const { width, height } = this.project.video;
      const held = (value, most) => Math.min(most - 0.5, Math.max(-0.5, value));
      const box = [held(Math.min(x0, x1), width), held(Math.min(y0, y1), height),
        held(Math.max(x0, x1), width), held(Math.max(y0, y1), height)];
      this.box = null;
      if (box[2] - box[0] >= 2 && box[3] - box[1] >= 2) this.act.box(box);
    } else if (this.stroke) {
      const runs = this.strokeRuns();
      this.stroke = null;
      if (runs.length) this.act.paint(runs, this.tool === "eraser");
    }
    this.draw();
  }

  // The painted pixels as [first, count, first, count, …] in row order.
  strokeRuns() {
    const { width, height } = this.project.video;
    const canvas = document.createElement("canvas");
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const tool = this.tool;
    this.tool = "brush";
    this.drawStroke(context);
    this.tool = tool;
    const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
    const runs = [];
    let first = -1;
    for (let i = 0; i <= pixels.length; i++) {
      const painted = i < pixels.length && pixels[i] >>> 24 > 63;
      if (painted && first < 0) first = i;
      else if (!painted && first >= 0) {
        runs.push(first, i - first);
        first = -1;
      }
    }
    return runs;
  }

  wheel(event) {
    if (!this.picture) return;
    event.preventDefault();
    const ratio = window.devicePixelRatio || 1;
    const bounds = this.canvas.getBoundingClientRect();
    const [px, py] = [(event.clientX - bounds.left) * ratio, (event.clientY - bounds.top) * ratio];
    const { scale, x, y } = this.placement();
    const factor = Math.exp(-event.deltaY / 500);
    const next = Math.min(40, Math.max(0.05, scale * factor));
    this.zoom = { scale: next, x: px - ((px - x) * next) / scale, y: py - ((py - y) * next) / scale };
    this.draw();
  }
}
