// The page: the project's state, the controls and the keyboard.

import { Connection, labels, pictures, video } from "./connection.js";
import { Timeline } from "./timeline.js";
import { View } from "./view.js";

const element = (id) => document.getElementById(id);
const project = { video: null, objects: [], selected: null, frame: 0, tracking: false };
const connection = new Connection();

const act = {
  go,
  fail: (message) => banner(message),
  ranged: () => { element("range").textContent = rangeText(); timeline.draw(); },
  point: ([x, y], positive) => withObject((object) =>
    connection.send("add_point", { object, frame: project.frame, x, y, positive })),
  box: (box) => withObject((object) => connection.send("set_box", { object, frame: project.frame, box })),
  paint: (runs, erase) => withObject((object) =>
    connection.send("paint", { object, frame: project.frame, runs, erase })),
  hover,
};
const view = new View(element("view"), project, act);
const timeline = new Timeline(element("timeline"), project, act);

// What the server reports

connection.addEventListener("hello", ({ detail }) => {
  if (video.key !== detail.key) project.frame = 0;
  video.key = detail.key;
  project.video = detail.video;
  timeline.range = null;
  drawVideos(detail);
  element("title").textContent = detail.video.name;
  element("frame").max = detail.video.frames - 1;
  element("classes").replaceChildren(...detail.classes.map(({ name }) =>
    Object.assign(document.createElement("option"), { value: name })));
  document.title = `${detail.video.name} · SurgSAM2 annotate`;
  pictures.clear();
  labels.clear();
  banner("");
  setStatus(detail.status);
  setNotice(detail.notice);
  askConsent(detail.consent);
  setTracking(detail.tracking);
  takeObjects(detail);
  go(Math.min(project.frame, detail.video.frames - 1));
});
connection.addEventListener("objects", ({ detail }) => takeObjects(detail));
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
  if (detail.frames.length) go(detail.frames.at(-1));
});
connection.addEventListener("hover", ({ detail }) => {
  if (detail.frame === project.frame && view.pointer) view.showHover(detail.runs);
});

function drawVideos({ videos, chosen }) {
  const list = element("videos");
  list.hidden = videos.length < 2;
  element("title").hidden = !list.hidden;
  list.replaceChildren(...videos.map((name) =>
    Object.assign(document.createElement("option"), { value: name, textContent: name, selected: name === chosen })));
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

function go(frame) {
  if (!project.video) return;
  project.frame = Math.min(project.video.frames - 1, Math.max(0, Math.round(frame)));
  element("frame").value = project.frame;
  element("time").textContent = `${(project.frame / project.video.fps).toFixed(2)} s`;
  timeline.draw();
  view.show(project.frame);
}

function select(id) {
  project.selected = id;
  drawObjects();
  timeline.draw();
}

function withObject(action) {
  if (project.selected !== null) action(project.selected);
  else {
    // The first click makes the first object; the command waits for its number.
    connection.addEventListener("selected", ({ detail }) => action(detail.object), { once: true });
    connection.send("add_object");
  }
}

let hoverDue = 0;
function hover([x, y]) {
  if (project.selected === null || project.tracking || performance.now() < hoverDue) return;
  const object = project.objects.find((one) => one.id === project.selected);
  if (object.locked || (object.states.length && stateAt(object, project.frame))) return;
  hoverDue = performance.now() + 120;
  connection.send("hover", { object: object.id, frame: project.frame, x, y });
}

function stateAt(object, frame) {
  let at = 0;
  for (const [value, count] of object.states) {
    at += count;
    if (frame < at) return value;
  }
  return 0;
}

function drawObjects() {
  const list = element("objects");
  if (list.contains(document.activeElement) && document.activeElement.type === "text") return;
  list.replaceChildren(...project.objects.map(objectRow));
}

function objectRow(object) {
  const row = document.createElement("li");
  row.setAttribute("aria-selected", String(object.id === project.selected));
  row.dataset.object = object.id;
  const change = (changes) => connection.send("update_object", { object: object.id, changes });
  const color = Object.assign(document.createElement("input"), { type: "color", value: object.color });
  color.setAttribute("aria-label", `Colour of ${object.name}`);
  color.onchange = () => change({ color: color.value });
  const name = Object.assign(document.createElement("input"), { type: "text", value: object.name });
  name.setAttribute("aria-label", `Name or class of object ${object.id}`);
  name.setAttribute("list", "classes");
  name.onchange = () => { name.blur(); change({ name: name.value }); };
  name.onfocus = () => { project.selected = object.id; timeline.draw(); };
  const visible = toggle(object.visible ? "shown" : "hidden", object.visible, () => change({ visible: !object.visible }));
  const locked = toggle(object.locked ? "locked" : "open", object.locked, () => change({ locked: !object.locked }));
  visible.title = "Show or hide";
  locked.title = "A locked object does not change";
  const remove = Object.assign(document.createElement("button"), { textContent: "✕", title: "Remove" });
  remove.setAttribute("aria-label", `Remove ${object.name}`);
  remove.onclick = () => connection.send("remove_object", { object: object.id });
  row.append(color, name, visible, locked, remove);
  row.onclick = (event) => { if (event.target === row) select(object.id); };
  return row;
}

function toggle(text, pressed, action) {
  const button = Object.assign(document.createElement("button"), { textContent: text, onclick: action });
  button.setAttribute("aria-pressed", String(pressed));
  return button;
}

function setStep(id, name) {
  element(id).disabled = !name;
  element(id).title = name ? `${id === "undo" ? "Undo" : "Redo"}: ${name}` : "";
}

function setStatus(status) {
  element("status").textContent = status;
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

function nextDoubtful() {
  const count = project.video.frames;
  let best = null;
  for (const object of project.objects) {
    let at = 0;
    for (const [value, length] of object.doubtful) {
      if (value) {
        const ahead = (Math.max(at, project.frame + 1 < at + length ? project.frame + 1 : at) - project.frame + count) % count;
        if (ahead && (best === null || ahead < best)) best = ahead;
      }
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

async function exportFiles() {
  const formats = [...document.querySelectorAll("#formats input:checked")].map((box) => box.value);
  element("exported").textContent = "exporting…";
  try {
    const files = await connection.exportFiles(formats);
    element("exported").textContent = `written: ${files.join(", ")}`;
  } catch (error) {
    element("exported").textContent = "";
    banner(error.message);
  }
}

for (const button of document.querySelectorAll("[data-tool]")) button.onclick = () => setTool(button.dataset.tool);
for (const button of document.querySelectorAll("[data-track]")) button.onclick = () => track(button.dataset.track);
for (const button of document.querySelectorAll("[data-mark]")) button.onclick = () => mark(button.dataset.mark);
element("videos").onchange = () => {
  if (playing) play();
  connection.send("open", { video: element("videos").value });
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
element("frame").onchange = () => go(Number(element("frame").value));
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
  0: () => { view.zoom = null; view.draw(); },
  "?": () => element("help").showModal(),
  Escape: () => {
    if (project.tracking) connection.send("cancel");
    timeline.range = null;
    act.ranged();
  },
};

document.addEventListener("keydown", (event) => {
  const target = event.target;
  const writes = target instanceof HTMLInputElement && !["checkbox", "range", "color"].includes(target.type);
  if (writes || document.querySelector("dialog[open]") || event.altKey || !project.video) return;
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
