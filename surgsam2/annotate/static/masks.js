// Masks from runs: the outline of each object as a path, and the fills of all as one picture.
//
// Runs are pairs of [value, number of pixels] in row order; a value is an object's id, 0 is none.
// The work grows with the number of runs, not with the size of the picture.

// Return the shape of each value but 0: { outline: Path2D in pixels of the video, pixels: number }.
export function shapesOf(runs, width) {
  const shapes = new Map();
  eachStretch(runs, width, (value, y, x0, x1) => {
    let shape = shapes.get(value);
    if (!shape) shapes.set(value, (shape = new Shape()));
    shape.add(y, x0, x1);
  });
  for (const shape of shapes.values()) shape.end();
  return shapes;
}

// Fill the runs of a picture on a canvas; colours are 32-bit RGBA by value. Others stay clear.
export function fill(canvas, runs, width, height, colors) {
  let [first, last] = [runs.length, -1];
  let at = 0;
  const starts = [];
  for (let i = 0; i < runs.length; i += 2) {
    starts.push(at);
    if (colors.has(runs[i])) [first, last] = [Math.min(first, i), i];
    at += runs[i + 1];
  }
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, width, height);
  if (last < 0) return;
  const top = Math.floor(starts[first / 2] / width);
  const bottom = Math.ceil((starts[last / 2] + runs[last + 1]) / width);
  const data = new ImageData(width, bottom - top);
  const pixels = new Uint32Array(data.data.buffer);
  for (let i = first; i <= last; i += 2) {
    const color = colors.get(runs[i]);
    const start = starts[i / 2] - top * width;
    if (color !== undefined) pixels.fill(color, start, start + runs[i + 1]);
  }
  context.putImageData(data, 0, top);
}

// Call `take(value, y, x0, x1)` for every run but those of 0, cut at the ends of rows.
function eachStretch(runs, width, take) {
  let at = 0;
  for (let i = 0; i < runs.length; i += 2) {
    const end = at + runs[i + 1];
    if (runs[i]) {
      while (at < end) {
        const y = Math.floor(at / width);
        const stop = Math.min(end, (y + 1) * width);
        take(runs[i], y, at - y * width, stop - y * width);
        at = stop;
      }
    }
    at = end;
  }
}

// Makes the outline of one object from its stretches, which come in row order.
class Shape {
  constructor() {
    this.outline = new Path2D();
    this.pixels = 0;
    this.row = -1;
    this.above = []; // x of the ends of stretches in the row above
    this.ends = []; // and in this row
    this.sides = new Map(); // x of a vertical side that goes on: the row in which it began
  }

  add(y, x0, x1) {
    if (y !== this.row) {
      if (this.row >= 0) this.endRow();
      if (this.row >= 0 && y > this.row + 1) this.end(); // The rows between have nothing.
      this.row = y;
    }
    this.ends.push(x0, x1);
    this.pixels += x1 - x0;
  }

  // Draw the row in work, and the lower edge of what it leaves.
  end() {
    if (this.ends.length) this.endRow();
    this.row += 1;
    this.endRow();
  }

  // Draw the edges between the row above and this one, and the sides that end here.
  endRow() {
    const { outline, row } = this;
    const here = new Set(this.ends);
    const ends = [...this.above, ...this.ends].sort((a, b) => a - b);
    for (let i = 0; i < ends.length; i += 2) {
      if (ends[i] === ends[i + 1]) continue;
      outline.moveTo(ends[i], row);
      outline.lineTo(ends[i + 1], row);
    }
    for (const [x, start] of this.sides) {
      if (here.has(x)) continue;
      outline.moveTo(x, start);
      outline.lineTo(x, row);
      this.sides.delete(x);
    }
    for (const x of this.ends) if (!this.sides.has(x)) this.sides.set(x, row);
    this.above = this.ends;
    this.ends = [];
  }
}

// Stroke an outline so that it is seen on any background: its own colour, beside the one of black
// and white that differs more from it. The width is in the context's units.
export function strokeOutline(context, outline, color, width) {
  context.lineCap = "square";
  context.lineWidth = 2 * width;
  context.strokeStyle = luminance(color) > 0.179 ? "#000000" : "#ffffff";
  context.stroke(outline);
  context.lineWidth = width;
  context.strokeStyle = color;
  context.stroke(outline);
}

// Relative luminance of #rrggbb as in WCAG 2; white and black differ as much from 0.179.
function luminance(color) {
  const linear = [1, 3, 5].map((at) => {
    const value = parseInt(color.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
}
