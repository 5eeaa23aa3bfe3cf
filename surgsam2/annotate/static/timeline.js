// One row per object, coloured by the state of each frame. Rows are drawn from runs, so that an
// hour of video costs as much as its changes of state.

const COLORS = { 1: "#4f9470", 2: "#2f7be0", 3: "#9b58cf", 4: "#1c8a3c", 5: "#6c7681", 6: "#8b939c" };
const DOUBTFUL = "#c97a12";
const NAMES = 90;
const ROW = 16; // the height of a row in pixels, while there is room

export class Timeline {
  constructor(canvas, project, act) {
    this.canvas = canvas;
    this.project = project;
    this.act = act;
    this.range = null;
    this.from = null;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.from = this.frameAt(event);
      this.range = null;
      act.go(this.from);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (this.from === null) return;
      const to = this.frameAt(event);
      this.range = to === this.from ? null : [Math.min(this.from, to), Math.max(this.from, to)];
      act.go(to);
      act.ranged();
    });
    canvas.addEventListener("pointerup", () => { this.from = null; act.ranged(); });
  }

  // Select the frames between two, both included.
  select(one, other) {
    this.range = [Math.min(one, other), Math.max(one, other)];
    this.act.ranged();
  }

  frameAt(event) {
    const bounds = this.canvas.getBoundingClientRect();
    const share = (event.clientX - bounds.left - NAMES) / (bounds.width - NAMES);
    const count = this.project.video.frames;
    return Math.min(count - 1, Math.max(0, Math.floor(share * count)));
  }

  draw() {
    const { video, objects, selected, frame } = this.project;
    if (!video) return;
    this.canvas.style.height = `${objects.length * ROW + 4}px`; // within the bounds of the style sheet
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const context = this.canvas.getContext("2d");
    const text = getComputedStyle(document.body).color;
    context.scale(ratio, ratio);
    context.textBaseline = "middle";
    const row = Math.min(22, (height - 4) / Math.max(1, objects.length));
    context.font = `${Math.min(12, row)}px system-ui, sans-serif`;
    const step = (width - NAMES) / video.frames;
    objects.forEach((object, i) => {
      const y = 2 + i * row;
      context.fillStyle = text;
      context.globalAlpha = object.id === selected ? 1 : 0.7;
      context.fillText(object.name.slice(0, 14), 2, y + row / 2, NAMES - 6);
      context.globalAlpha = 1;
      this.runs(context, object.states, y, row - 3, step, (value) => COLORS[value]);
      this.runs(context, object.doubtful, y, row - 3, step, (value) => (value ? DOUBTFUL : null));
      // A line below says the same to those who see no difference between the colours.
      this.runs(context, object.doubtful, y + row - 3, 2, step, (value) => (value ? text : null));
    });
    if (this.range) {
      const [first, last] = this.range;
      context.fillStyle = "rgb(80 150 255 / 30%)";
      context.fillRect(NAMES + first * step, 0, (last - first + 1) * step, height);
    }
    context.fillStyle = "#e5261f";
    context.fillRect(NAMES + (frame + 0.5) * step - 1, 0, 2, height);
  }

  runs(context, runs, y, height, step, color) {
    let at = 0;
    for (const [value, count] of runs) {
      const fill = color(value);
      if (fill) {
        context.fillStyle = fill;
        context.fillRect(NAMES + at * step, y, Math.max(1, count * step), height);
      }
      at += count;
    }
  }
}
