// The frame with its masks: drawing, zoom, and what the pointer does with the chosen tool.

import { labels, pictures } from "./connection.js";
import { fill, shapesOf, strokeOutline } from "./masks.js";

const FILL = 105; // the opacity of fills, of 255
const LINE = 1.6; // the width of outlines in pixels of the window
const AHEAD = 3; // frames that are fetched before they are shown
export const MASK_STYLES = ["both", "fill", "outline"];

export class View {
  constructor(canvas, project, act) {
    this.canvas = canvas;
    this.project = project;
    this.act = act;
    this.tool = "positive";
    this.brush = 24;
    this.zoom = null; // null fits the picture into the canvas
    this.picture = null;
    this.maskStyle = MASK_STYLES[0];
    this.fills = document.createElement("canvas");
    this.outlines = [];
    this.hovered = null; // the outline of what a click would give
    this.aimed = false; // whether the keyboard moves the pointer
    this.waits = false; // whether drawing is due
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

  // Forget the picture: another video is open.
  forget() {
    this.picture = null;
    this.shown = -1;
    delete document.body.dataset.shown;
    delete document.body.dataset.pixels;
  }

  // Show a frame; the newest call wins when pictures come late.
  async show(frame) {
    this.frame = frame;
    try {
      const [picture, runs] = await Promise.all([pictures.get(frame), labels.get(frame)]);
      if (this.frame !== frame) return;
      this.picture = picture;
      this.shown = frame;
      this.takeLabels(runs);
      this.hovered = null;
      this.draw();
      const last = Math.min(frame + AHEAD, this.project.video.frames - 1);
      for (let next = frame + 1; next <= last; next++) {
        for (const cache of [pictures, labels]) cache.get(next).catch(() => {});
      }
    } catch (error) {
      this.act.fail(error.message);
    }
  }

  takeLabels(runs) {
    const { width, height } = this.project.video;
    const shown = this.project.objects.filter((object) => object.visible);
    const colors = new Map(shown.map(({ id, color }) => {
      const [r, g, b] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
      return [id, ((FILL << 24) | (b << 16) | (g << 8) | r) >>> 0];
    }));
    fill(this.fills, runs, width, height, colors);
    const shapes = shapesOf(runs, width);
    this.outlines = shown.filter(({ id }) => shapes.has(id))
      .map(({ id, color }) => ({ color, outline: shapes.get(id).outline }));
    this.pixels = [...shapes.values()].reduce((sum, shape) => sum + shape.pixels, 0);
  }

  showHover(runs) {
    this.hovered = shapesOf(runs, this.project.video.width).get(1)?.outline ?? null;
    document.body.dataset.hovered = String(Boolean(this.hovered));
    this.draw();
  }

  clearHover() {
    if (!this.hovered) return;
    this.hovered = null;
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

  // Draw before the window is shown next, once for all changes until then.
  draw() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      this.drawNow();
    });
  }

  drawNow() {
    const ratio = window.devicePixelRatio || 1;
    const size = [this.canvas.clientWidth, this.canvas.clientHeight];
    const [wide, high] = size.map((length) => Math.max(1, Math.round(length * ratio)));
    if (this.canvas.width !== wide) this.canvas.width = wide;
    if (this.canvas.height !== high) this.canvas.height = high;
    if (!this.picture) return;
    const context = this.canvas.getContext("2d");
    context.resetTransform();
    context.clearRect(0, 0, wide, high);
    const { scale, x, y } = this.placement();
    const pixel = ratio / scale; // one pixel of the window in pixels of the video
    context.setTransform(scale, 0, 0, scale, x, y);
    context.imageSmoothingEnabled = scale < 3;
    context.drawImage(this.picture, 0, 0);
    context.imageSmoothingEnabled = false;
    if (this.maskStyle !== "outline") context.drawImage(this.fills, 0, 0);
    if (this.maskStyle !== "fill") {
      for (const { outline, color } of this.outlines) strokeOutline(context, outline, color, LINE * pixel);
    }
    if (this.hovered) strokeOutline(context, this.hovered, "#ffffff", LINE * pixel);
    this.drawPrompts(context, pixel);
    if (this.stroke) this.drawStroke(context);
    if (this.pointer && (this.tool === "brush" || this.tool === "eraser")) this.drawBrush(context, pixel);
    if (this.pointer && this.aimed) this.drawAim(context, pixel);
    document.body.dataset.shown = String(this.shown);
    document.body.dataset.pixels = String(this.pixels);
  }

  drawBrush(context, pixel) {
    const circle = new Path2D();
    circle.arc(this.pointer[0] + 0.5, this.pointer[1] + 0.5, this.brush / 2, 0, 7);
    strokeOutline(context, circle, "#ffffff", 1.5 * pixel);
  }

  drawAim(context, pixel) {
    const [x, y] = this.pointer.map((value) => value + 0.5);
    const cross = new Path2D();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      cross.moveTo(x + 3 * dx * pixel, y + 3 * dy * pixel);
      cross.lineTo(x + 12 * dx * pixel, y + 12 * dy * pixel);
    }
    strokeOutline(context, cross, "#ffffff", 1.5 * pixel);
  }

  drawPrompts(context, pixel) {
    for (const object of this.project.objects) {
      const prompt = object.prompts[this.shown];
      if (!object.visible) continue;
      const box = object.id === this.project.selected && this.box ? this.box : prompt?.box;
      if (box) {
        const outline = new Path2D();
        outline.rect(box[0] + 0.5, box[1] + 0.5, box[2] - box[0], box[3] - box[1]);
        strokeOutline(context, outline, object.color, 2 * pixel);
      }
      for (const [x, y, label] of prompt?.points ?? []) {
        const dot = new Path2D();
        dot.arc(x + 0.5, y + 0.5, 5 * pixel, 0, 7);
        strokeOutline(context, dot, "#ffffff", 1.5 * pixel);
        context.fillStyle = label ? "#1fb141" : "#d92d20";
        context.fill(dot);
        if (label) continue;
        const minus = new Path2D(); // Red and green look alike to many people.
        minus.moveTo(x + 0.5 - 2 * pixel, y + 0.5);
        minus.lineTo(x + 0.5 + 2 * pixel, y + 0.5);
        context.lineWidth = 2 * pixel;
        context.strokeStyle = "#ffffff";
        context.stroke(minus);
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
    this.canvas.focus({ focusVisible: false });
    this.canvas.setPointerCapture(event.pointerId);
    if (event.button === 1) {
      this.dragging = { from: [event.clientX, event.clientY], start: { ...this.placement() } };
      return;
    }
    const at = this.position(event);
    if (this.inside(at)) this.begin(at, event.button === 2 ? "negative" : this.tool);
  }

  begin(at, tool) {
    if (tool === "box") this.box = [...at, ...at];
    else if (tool === "brush" || tool === "eraser") this.stroke = [at];
    else this.act.point(at, tool === "positive");
    this.draw();
  }

  // Move the pointer by the keyboard, by pixels of the window.
  aim(dx, dy) {
    if (!this.picture) return;
    const { width, height } = this.project.video;
    const pixel = (window.devicePixelRatio || 1) / this.placement().scale;
    const [x, y] = this.pointer ?? [width / 2, height / 2];
    const held = (value, length) => Math.min(length - 1, Math.max(0, value));
    this.pointer = [held(x + dx * pixel, width), held(y + dy * pixel, height)];
    this.aimed = true;
    if (this.box) this.box = [this.box[0], this.box[1], ...this.pointer];
    else if (this.tool === "positive") this.act.hover();
    this.draw();
  }

  // Use the chosen tool where the keyboard has moved the pointer; a box needs two corners.
  press() {
    if (!this.picture || !this.aimed || !this.pointer) return;
    if (this.box) {
      this.up();
      return;
    }
    this.begin(this.pointer, this.tool);
    if (this.stroke) this.up();
  }

  move(event) {
    if (!this.picture) return;
    const at = this.position(event);
    this.pointer = at;
    if (this.aimed) this.draw();
    this.aimed = false;
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
      this.act.hover();
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
