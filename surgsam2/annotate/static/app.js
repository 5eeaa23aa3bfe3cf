// The page: the project's state, the controls and the keyboard.

import { Connection, labels, pictures, video } from "./connection.js";
import { Timeline } from "./timeline.js";
import { MASK_STYLES, View } from "./view.js";

const element = (id) => document.getElementById(id);
const STATES = ["not looked at", "tracked", "prompted", "corrected", "good", "absent", "no mask"];
const HOVER_MS = 60; // from a move of the pointer until the engine is asked
const project = { video: null, objects: [], selected: null, frame: 0, tracking: false, follows: false };
const connection = new Connection();

// What a person marks belongs to the frame that is seen; the picture of another may be on its way.
const act = {
  go,
  fail: (message) => banner(message),
  ranged: () => { element("range").textContent = rangeText(); timeline.draw(); },
  point: ([x, y], positive) => {
    stopHover();
    connection.send("add_point", { object: project.selected, frame: view.shown, x, y, positive });
  },
  box: (box) => connection.send("set_box", { object: project.selected, frame: view.shown, box }),
  paint: (runs, erase) =>
    connection.send("paint", { object: project.selected, frame: view.shown, runs, erase }),
  hover,
};
const view = new View(element("view"), project, act);
const timeline = new Timeline(element("timeline"), project, act);

// What the server reports

connection.addEventListener("hello", ({ detail }) => {
  if (video.key !== detail.key) {
    project.frame = Number(sessionStorage.getItem(detail.key)); // 0, or where the page was before a reload
    view.forget();
  }
  video.key = detail.key;
  project.video = detail.video;
  dropRange();
  drawVideos(detail);
  element("title").textContent = detail.video.name;
  element("frame").max = detail.video.frames - 1;
  element("timeline").setAttribute("aria-valuemax", detail.video.frames - 1);
  drawFormats(detail.formats);
  element("classes").replaceChildren(...detail.classes.map(({ name }) =>
    Object.assign(document.createElement("option"), { value: name })));
  document.title = `${detail.video.name} · SurgSAM2 annotate`;
  pictures.clear();
  labels.clear();
  banner("");
  setStatus(detail.status);
  setNotice(detail.notice);
  askConsent(detail.consent);
  takeObjects(detail);
  show(project.frame);
  setTracking(detail.tracking);
});
connection.addEventListener("objects", ({ detail }) => {
  takeObjects(detail);
  element("status").textContent = "saving…"; // a change, which is saved within a second
});
connection.addEventListener("selected", ({ detail }) => select(detail.object));
connection.addEventListener("status", ({ detail }) => setStatus(detail.status));
connection.addEventListener("engine", ({ detail }) => setNotice(detail.notice));
connection.addEventListener("saved", () => { element("status").textContent = "saved"; });
connection.addEventListener("advice", ({ detail }) => banner(detail.message, "advice"));
connection.addEventListener("error", ({ detail }) => banner(detail.message));
connection.addEventListener("lost", ({ detail }) => { banner(detail.message); setTracking(false); });
connection.addEventListener("tracking", ({ detail }) => {
  setTracking(detail.running);
  if (!detail.running) element("speed").textContent = detail.status ?? "";
});
connection.addEventListener("labels", ({ detail }) => refresh(detail.frames));
connection.addEventListener("progress", ({ detail }) => {
  element("progress").max = Math.max(1, detail.total);
  element("progress").value = detail.done;
  element("speed").textContent = `${detail.done} of ${detail.total} frames, ${detail.fps.toFixed(1)} per second`;
  labels.forget(detail.frames);
  if (project.follows && detail.frames.length) show(detail.frames.at(-1));
  else if (detail.frames.includes(project.frame)) view.show(project.frame);
});
connection.addEventListener("timelines", ({ detail }) => {
  for (const object of project.objects) Object.assign(object, detail.timelines[object.id]);
  timeline.draw();
});
connection.addEventListener("hover", ({ detail }) => {
  if (detail.frame === view.shown && view.pointer) view.showHover(detail.runs);
});

function drawVideos({ videos, chosen }) {
  const list = element("videos");
  element("choice").hidden = videos.length < 2;
  element("title").hidden = videos.length > 1;
  const at = videos.indexOf(chosen);
  element("previousVideo").disabled = at <= 0;
  element("nextVideo").disabled = at < 0 || at === videos.length - 1;
  list.replaceChildren(...videos.map((name) =>
    Object.assign(document.createElement("option"), { value: name, textContent: name, selected: name === chosen })));
}

function openVideo(name) {
  if (playing) play();
  connection.send("open", { video: name });
}

function openBeside(step) {
  const list = element("videos");
  const option = list.options[list.selectedIndex + step];
  if (option) openVideo(option.value);
}

const FORMATS = {
  coco: "COCO", csv: "table", overlay: "overlay video", scene: "3D Slicer",
  polygons: "COCO polygons", yolo: "YOLO", vos: "VOS", cvat: "CVAT", "label-studio": "Label Studio",
  "mask-video": "mask video", "cutout-video": "cut-out video", "dicom-seg": "DICOM SEG",
};
const FIRST_FORMATS = ["coco", "csv", "overlay", "scene"];
function drawFormats(names) {
  const chosen = chosenFormats();
  const boxes = (values) => values.map((value) => {
    const input = Object.assign(document.createElement("input"), { type: "checkbox", value });
    input.checked = chosen.length ? chosen.includes(value) : value === "coco" || value === "csv";
    const label = document.createElement("label");
    label.append(input, ` ${FORMATS[value] ?? value}`);
    return label;
  });
  element("formats").replaceChildren(...boxes(FIRST_FORMATS));
  element("moreFormats").replaceChildren(...boxes(names.filter((name) => !FIRST_FORMATS.includes(name))));
}

function takeObjects(event) {
  project.objects = event.objects;
  if (!project.objects.some((object) => object.id === project.selected)) {
    project.selected = project.objects.at(0)?.id ?? null;
  }
  setStep("undo", event.undo);
  setStep("redo", event.redo);
  drawObjects();
  timeline.draw();
  if (view.shown >= 0) view.show(project.frame);
}

function refresh(frames) {
  labels.forget(frames);
  if (frames.includes(project.frame)) view.show(project.frame);
}

// Controls

// Show a frame because the user wants it; then the page no longer follows the tracking.
function go(frame) {
  project.follows = false;
  show(frame);
}

function show(frame) {
  if (!project.video) return;
  project.frame = Math.min(project.video.frames - 1, Math.max(0, Math.round(frame)));
  sessionStorage.setItem(video.key, project.frame);
  element("frame").value = project.frame;
  if (anchor !== null) timeline.select(anchor, project.frame);
  element("timeline").setAttribute("aria-valuenow", project.frame);
  element("timeline").setAttribute("aria-valuetext", frameText());
  element("time").textContent = `${(project.frame / project.video.fps).toFixed(2)} s`;
  timeline.draw();
  view.show(project.frame);
}

function frameText() {
  const object = project.objects.find((one) => one.id === project.selected);
  return object ? `frame ${project.frame}, ${object.name}: ${STATES[stateAt(object, project.frame)]}` : `frame ${project.frame}`;
}

function select(id) {
  project.selected = id;
  drawObjects();
  timeline.draw();
}

let hoverTimer = 0;
// Ask for what a click would give, a moment after the pointer has moved; a click comes first.
function hover() {
  hoverTimer ||= setTimeout(() => {
    hoverTimer = 0;
    const object = project.objects.find((one) => one.id === project.selected);
    if (!view.pointer || view.tool !== "positive" || object?.locked) return;
    if (view.shown < 0 || (object && stateAt(object, view.shown))) return;
    const [x, y] = view.pointer;
    connection.send("hover", { frame: view.shown, x, y });
  }, HOVER_MS);
}

function stopHover() {
  clearTimeout(hoverTimer);
  hoverTimer = 0;
}

function stateAt(object, frame) {
  let at = 0;
  for (const [value, count] of object.states) {
    at += count;
    if (frame < at) return value;
  }
  return 0;
}

// The rows are made anew after every change; the control that has the focus gets it again.
function drawObjects() {
  const list = element("objects");
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  if (focused?.type === "text") return;
  const [part, object] = [focused?.dataset.part, focused?.closest("li").dataset.object];
  list.replaceChildren(...project.objects.map(objectRow));
  if (focused) list.querySelector(`li[data-object="${object}"] [data-part="${part}"]`)?.focus();
}

function objectRow(object) {
  const change = (changes) => connection.send("update_object", { object: object.id, changes });
  const row = document.createElement("li");
  row.dataset.object = object.id;
  row.classList.toggle("chosen", object.id === project.selected);
  row.onclick = (event) => { if (event.target === row) select(object.id); };
  const choose = input("select", { type: "radio", name: "selected", checked: object.id === project.selected },
    `Select ${object.name}`);
  choose.onchange = () => select(object.id);
  const color = input("color", { type: "color", value: object.color }, `Colour of ${object.name}`);
  color.onchange = () => change({ color: color.value });
  const name = input("name", { type: "text", value: object.name }, `Name or class of object ${object.id}`);
  name.setAttribute("list", "classes");
  name.onchange = () => { name.blur(); change({ name: name.value }); };
  name.onfocus = () => { project.selected = object.id; timeline.draw(); };
  const visible = toggle("visible", object.visible ? "shown" : "hidden", object.visible, `Show ${object.name}`);
  visible.onclick = () => change({ visible: !object.visible });
  const locked = toggle("locked", object.locked ? "locked" : "open", object.locked, `Lock ${object.name}: nothing changes it`);
  locked.onclick = () => change({ locked: !object.locked });
  const remove = toggle("remove", "✕", null, `Remove ${object.name}`);
  remove.onclick = () => connection.send("remove_object", { object: object.id });
  row.append(choose, color, name, visible, locked, remove);
  return row;
}

function input(part, values, label) {
  const made = Object.assign(document.createElement("input"), values, { title: label });
  made.dataset.part = part;
  made.setAttribute("aria-label", label);
  return made;
}

function toggle(part, text, pressed, label) {
  const button = Object.assign(document.createElement("button"), { textContent: text, title: label });
  button.dataset.part = part;
  button.setAttribute("aria-label", label);
  if (pressed !== null) button.setAttribute("aria-pressed", String(pressed));
  return button;
}

function setStep(id, name) {
  element(id).disabled = !name;
  element(id).title = name ? `${id === "undo" ? "Undo" : "Redo"}: ${name}` : "";
}

function setStatus(status) {
  element("status").textContent = element("status").title = status;
  document.body.dataset.status = status;
}

// What the engine's process suffers from stays on the page as long as it lasts.
function setNotice(notice) {
  element("notice").querySelector("span").textContent = notice;
  element("notice").hidden = !notice;
}

// An engine on another machine gets nothing before the person agrees.
function askConsent(address) {
  element("engine").textContent = address;
  if (address && !element("consent").open) element("consent").showModal();
}

function setTracking(running) {
  project.tracking = running;
  document.body.dataset.tracking = String(running);
  project.follows = running;
  element("cancel").disabled = !running;
  for (const button of document.querySelectorAll("[data-track]")) button.disabled = running;
}

let bannerTimer = 0;
function banner(message, kind = "error") {
  clearTimeout(bannerTimer);
  element("banner").textContent = message;
  element("banner").dataset.kind = kind;
  element("banner").hidden = !message;
  if (message) bannerTimer = setTimeout(() => banner(""), 12000);
}

function rangeText() {
  return timeline.range ? `selected: ${timeline.range[0]} to ${timeline.range[1]}` : "";
}

function setTool(tool) {
  view.tool = tool;
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
  }
  view.clearHover();
  view.draw();
}

function setMaskStyle(style) {
  view.maskStyle = style;
  element("maskStyle").value = style;
  view.draw();
}

// Begin a range at this frame, which moving then extends; or leave the range as it is.
let anchor = null;
function selectRange() {
  anchor = anchor === null ? project.frame : null;
  if (anchor !== null) timeline.select(anchor, anchor);
}

function dropRange() {
  anchor = null;
  timeline.range = null;
  act.ranged();
}

function setBrush(size) {
  view.brush = Math.min(120, Math.max(2, size));
  element("brush").value = view.brush;
  view.draw();
}

function track(direction) {
  const values = { direction };
  if (element("onlySelected").checked && project.selected !== null) values.objects = [project.selected];
  if (element("onlyRange").checked && timeline.range) {
    [values.start, values.stop] = [timeline.range[0], timeline.range[1] + 1];
  }
  connection.send("track", values);
}

function mark(state) {
  if (project.selected === null) return;
  const [first, last] = timeline.range ?? [project.frame, project.frame];
  connection.send("mark", { objects: [project.selected], first, last, state });
}

// Go to the beginning of the next doubtful stretch of any object.
function nextDoubtful() {
  const count = project.video.frames;
  let best = null;
  for (const object of project.objects) {
    let at = 0;
    for (const [value, length] of object.doubtful) {
      const ahead = (at - project.frame + count) % count;
      if (value && ahead && (best === null || ahead < best)) best = ahead;
      at += length;
    }
  }
  if (best === null) banner("No other frame is doubtful.");
  else go((project.frame + best) % count);
}

let playing = 0;
function play() {
  if (playing) {
    clearInterval(playing);
    playing = 0;
  } else {
    playing = setInterval(() => {
      if (view.shown !== project.frame) return; // The picture is still on its way.
      if (project.frame + 1 >= project.video.frames) play();
      else go(project.frame + 1);
    }, 1000 / project.video.fps);
  }
  element("play").textContent = playing ? "Pause" : "Play";
}

function chosenFormats() {
  const boxes = document.querySelectorAll("#formats input:checked, #moreFormats input:checked");
  return [...boxes].map((box) => box.value);
}

async function exportFiles() {
  const formats = chosenFormats();
  element("exported").textContent = "exporting…";
  try {
    const files = await connection.exportFiles(formats);
    element("exported").textContent = `written: ${files.join(", ")}`;
  } catch (error) {
    element("exported").textContent = `not written: ${error.message}`;
  }
}

for (const button of document.querySelectorAll("[data-tool]")) button.onclick = () => setTool(button.dataset.tool);
for (const button of document.querySelectorAll("[data-track]")) button.onclick = () => track(button.dataset.track);
for (const button of document.querySelectorAll("[data-mark]")) button.onclick = () => mark(button.dataset.mark);
element("videos").onchange = () => {
  element("videos").blur();
  openVideo(element("videos").value);
};
element("previousVideo").onclick = () => openBeside(-1);
element("nextVideo").onclick = () => openBeside(1);
element("maskStyle").onchange = () => {
  element("maskStyle").blur();
  setMaskStyle(element("maskStyle").value);
};
element("add").onclick = () => connection.send("add_object");
element("undo").onclick = () => connection.send("undo");
element("redo").onclick = () => connection.send("redo");
element("cancel").onclick = () => connection.send("cancel");
element("agree").onclick = () => connection.send("agree_engine");
element("restart").onclick = () => connection.send("restart_engine");
element("doubtful").onclick = nextDoubtful;
element("export").onclick = exportFiles;
element("play").onclick = play;
element("helpButton").onclick = () => element("help").showModal();
element("frame").onchange = () => {
  element("frame").blur();
  go(Number(element("frame").value));
};
element("brush").oninput = () => setBrush(Number(element("brush").value));

// Keyboard

const keys = {
  ArrowLeft: (event) => go(project.frame - (event.shiftKey ? 10 : 1)),
  ArrowRight: (event) => go(project.frame + (event.shiftKey ? 10 : 1)),
  Home: () => go(0),
  End: () => go(project.video.frames - 1),
  " ": play,
  p: () => setTool("positive"),
  n: () => setTool("negative"),
  b: () => setTool("box"),
  r: () => setTool("brush"),
  e: () => setTool("eraser"),
  "[": () => setBrush(view.brush - 4),
  "]": () => setBrush(view.brush + 4),
  o: () => connection.send("add_object"),
  t: (event) => track(event.shiftKey ? "backward" : "forward"),
  g: () => mark("good"),
  a: () => mark("absent"),
  d: nextDoubtful,
  s: selectRange,
  m: () => setMaskStyle(MASK_STYLES[(MASK_STYLES.indexOf(view.maskStyle) + 1) % MASK_STYLES.length]),
  PageUp: () => openBeside(-1),
  PageDown: () => openBeside(1),
  i: (event) => aim(event, 0, -1),
  k: (event) => aim(event, 0, 1),
  j: (event) => aim(event, -1, 0),
  l: (event) => aim(event, 1, 0),
  Enter: () => view.press(),
  0: () => { view.zoom = null; view.draw(); },
  "?": () => element("help").showModal(),
  Escape: () => {
    if (project.tracking) connection.send("cancel");
    view.box = null;
    dropRange();
  },
};

function aim(event, dx, dy) {
  const step = event.shiftKey ? 1 : 12;
  element("view").focus();
  view.aim(dx * step, dy * step);
}

// Keys that the control with the focus uses itself.
function ownKey(control, key) {
  if (control instanceof HTMLSelectElement) return key !== "Escape";
  if (control instanceof HTMLButtonElement) return key === " " || key === "Enter";
  if (!(control instanceof HTMLInputElement)) return false;
  if (control.type === "checkbox" || control.type === "color") return key === " " || key === "Enter";
  if (control.type === "radio") return [" ", "ArrowUp", "ArrowDown"].includes(key);
  if (control.type === "range") return key.startsWith("Arrow") || ["Home", "End", "PageUp", "PageDown"].includes(key);
  return true;
}

// A control that was used with the mouse leaves the keys to the page.
document.addEventListener("click", (event) => {
  const used = event.target.closest?.("button, input:is([type=checkbox], [type=radio], [type=range])");
  if (used && event.detail && !document.querySelector("dialog[open]")) used.blur();
});

document.addEventListener("keydown", (event) => {
  const dialog = document.querySelector("dialog[open]");
  if (ownKey(event.target, event.key) || dialog || event.altKey || !project.video) return;
  if (event.ctrlKey || event.metaKey) {
    if (event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    connection.send(event.shiftKey ? "redo" : "undo");
    return;
  }
  if (/^[1-9]$/.test(event.key)) {
    const object = project.objects[Number(event.key) - 1];
    if (object) select(object.id);
    return;
  }
  const action = keys[event.key] ?? keys[event.key.toLowerCase()];
  if (!action) return;
  event.preventDefault();
  action(event);
});
