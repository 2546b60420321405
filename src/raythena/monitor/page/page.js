/* The page of a task. It asks the server for plain values and shows them; whatever comes from a job is put in as text, never as
   markup, with what would turn or hide it made visible. One part is shown at a time, and only that part is asked for. */
"use strict";

const PARTS = { overview: "Overview", occupancy: "Occupancy", ranges: "Event ranges", merges: "Merges", failures: "Failures", harvester: "Harvester", scan: "Scan", nodes: "Nodes", logs: "Logs" };
const NOT_EVERYWHERE = { harvester: "talks", scan: "scan" }; /* parts that some jobs have, by what the header says of them */
const PAGE_ROWS = 100;
const COLOURS = { computing_kept: "#2da44e", computing_under_way: "#8ddb8c", computing_thrown_away: "#cf222e", initialisation: "#9a6700", between_events: "#bf8700", waiting_for_ranges: "#8250df", waiting_for_steering: "#bf3989", waiting_for_disk: "#bc4c00", tail: "#0969da", draining: "#6e7781", merging: "#1b7c83", node_start: "#b58407", node_lost: "#82071e", after_the_end: "#8c959f" };

const view = { part: "overview", version: -1, offset: 0, sort: "", descending: false, count: 0, merges: 0, heat: null, ended: false, node: null };

const percent = (share) => (Math.floor(share * 1000 + 1e-9) / 10).toFixed(1) + " %";
const inWords = (name) => name.replaceAll("_", " ");

function seconds(value) {
  if (value === null || value === undefined) return "?";
  if (value < 0) return "−" + seconds(-value);
  if (value < 0.001 && value > 0) return Math.round(value * 1e6) + " µs";
  if (value < 1) return Math.round(value * 1000) + " ms";
  if (value < 60) return value.toFixed(value < 10 ? 2 : 0) + " s";
  const minutes = Math.round(value / 60);
  if (minutes < 60) return minutes + " min";
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return hours + " h " + String(minutes % 60).padStart(2, "0") + " min";
  return Math.floor(hours / 24) + " d " + String(hours % 24).padStart(2, "0") + " h";
}

function bytes(value) {
  if (value === null || value === undefined) return "";
  let unit = 0;
  for (; value >= 1000 && unit < 4; unit++) value /= 1000;
  return (unit ? value.toFixed(1) : value) + " " + ["B", "kB", "MB", "GB", "TB"][unit];
}

const clock = (at) => (at ? new Date(at * 1000).toLocaleString("sv") : "");

async function ask(path) {
  const answer = await fetch("api/" + path);
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

const document_of = async (path) => (await ask(path)).json();

/* ---- the header, told by the server once a second when it has changed */

function showHeader(header) {
  element("job").textContent = shown(header.job);
  document.title = shown(header.job) + " – Raythena";
  const ids = [header.panda_id && "PandaID " + header.panda_id, header.task_id && "task " + header.task_id, header.jobset_id && "jobset " + header.jobset_id,
    header.queue && "queue " + header.queue];
  for (const [part, named] of Object.entries(NOT_EVERYWHERE)) element("parts").querySelector("a[href='#" + part + "']").parentElement.hidden = !header[named];
  element("identity").textContent = shown(ids.filter(Boolean).join(", "));
  const status = header.status;
  if (status) showStatus(status);
  else element("phase").textContent = "no status";
  tell([header.problem, status && status.stale, status && status.message, ...(status ? status.warnings : [])]);
  view.ended = Boolean(status && status.ended);
  if (header.version !== view.version) {
    view.version = header.version;
    refresh();
  }
}

function showStatus(status) {
  const phase = element("phase");
  phase.textContent = status.ended ? shown(status.verdict || "ended") : status.stale ? "stale" : status.phase;
  phase.className = "badge" + (status.ended ? (status.exit_code === 0 ? " good" : " bad") : status.stale ? " bad" : "");
  element("done").max = Math.max(1, status.events);
  element("done").value = status.finished + status.failed;
  const left = status.ended || status.remaining_s === null ? "" : seconds(status.remaining_s) + " left";
  element("left").textContent = shown([left, status.so_far].filter(Boolean).join(" · "));
  const outputs = whole(status.outputs_merged) + " of " + whole(status.outputs) + " outputs merged" + (status.merging ? ", " + status.merging + " merging" : "");
  element("figures").textContent = [whole(status.finished) + " of " + whole(status.events) + " events", status.failed ? whole(status.failed) + " failed" : "",
    status.rate_per_s.toPrecision(3) + "/s", outputs, status.nodes + " nodes", percent(status.occupancy) + " occupancy", seconds(status.elapsed_s) + " so far"].filter(Boolean).join(" · ");
}

function tell(words) {
  const told = [...new Set(words.filter(Boolean))].map(shown).join(" · ");
  if (element("trouble").textContent !== told) element("trouble").textContent = told;
  element("trouble").hidden = !told;
}

/* ---- drawing */

function canvas(id, height = 160) {
  const drawn = element(id);
  const scale = window.devicePixelRatio || 1;
  const width = drawn.clientWidth;
  drawn.width = width * scale;
  drawn.height = height * scale;
  drawn.style.height = height + "px";
  const pen = drawn.getContext("2d");
  pen.scale(scale, scale);
  const style = getComputedStyle(document.documentElement);
  return { drawn, pen, width, height, ink: style.getPropertyValue("--ink"), accent: style.getPropertyValue("--accent") };
}

/* Bars with what they stand for on both axes. */
function bars(id, values, left, right, unit) {
  const { drawn, pen, width, height, ink, accent } = canvas(id);
  const most = Math.max(1e-12, ...values), base = height - 22, step = (width - 8) / Math.max(1, values.length);
  pen.fillStyle = accent;
  values.forEach((value, at) => pen.fillRect(4 + at * step, base - (base - 18) * value / most, Math.max(1, step - 0.5), (base - 18) * value / most));
  pen.fillStyle = ink;
  pen.font = "12px system-ui, sans-serif";
  pen.fillText("up to " + most.toPrecision(3) + " " + unit, 6, 13);
  pen.fillText(left, 6, height - 6);
  pen.fillText(right, width - 6 - pen.measureText(right).width, height - 6);
  drawn.setAttribute("aria-label", drawn.getAttribute("aria-label").split(":")[0] + ": up to " + most.toPrecision(3) + " " + unit + ", from " + left + " to " + right);
}

async function showOverview() {
  const told = await document_of("overview");
  const cards = element("counts");
  cards.replaceChildren();
  const counts = { ...told.counts, "attempts failed": told.attempts_failed };
  for (const [name, count] of Object.entries(counts)) {
    const card = make("div", undefined, cards);
    make("dt", name, card);
    make("dd", whole(count), card);
  }
  showCoreTime(told.core_time, told.thrown_away);
  const end = told.began_at ? told.began_at + told.finished.length * told.width_s : 0;
  bars("throughput", told.finished.map((count) => count / told.width_s), clock(told.began_at), clock(end), "events/s");
  const times = told.event_times;
  bars("durations", times.map((row) => row[2]), times.length ? seconds(times[0][0]) : "", times.length ? seconds(times[times.length - 1][1]) : "", "events");
}

function showCoreTime(told, thrown) {
  const bar = element("core-time-bar"), body = element("core-time").tBodies[0];
  bar.replaceChildren();
  body.replaceChildren();
  const row = (name, value) => {
    const line = make("tr", undefined, body);
    make("th", inWords(name), line).scope = "row";
    make("td", seconds(value), line, "number");
    make("td", (100 * value / told.allocated_s).toFixed(1) + " %", line, "number");
  };
  for (const [name, value] of Object.entries(told.core_s)) {
    const piece = make("span", undefined, bar);
    piece.style.width = 100 * Math.max(0, value) / told.allocated_s + "%";
    piece.style.background = COLOURS[name] || "#888";
    piece.title = inWords(name) + " " + (100 * value / told.allocated_s).toFixed(1) + " %";
    row(name, value);
    if (name === "computing_thrown_away") for (const [why, lost] of Object.entries(thrown)) row("– " + why, lost);
  }
  if (told.allocated_s) row("allocated", told.allocated_s);
  else make("td", "The nodes have not told yet.", make("tr", undefined, body)).colSpan = 3;
}

async function showOccupancy() {
  const buffer = await (await ask("occupancy")).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const about = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const cells = new Uint8Array(buffer, 4 + length);
  const drawn = element("heat");
  const wide = Math.max(1, Math.floor(900 / Math.max(1, about.columns)));
  const high = about.hosts.length > 200 ? 1 : about.hosts.length > 40 ? 6 : 16;
  drawn.width = Math.max(1, about.columns);
  drawn.height = Math.max(1, about.hosts.length);
  drawn.style.width = Math.max(1, about.columns) * wide + "px";
  drawn.style.height = Math.max(1, about.hosts.length) * high + "px";
  const [red, green, blue] = getComputedStyle(document.documentElement).getPropertyValue("--heat").split(",").map(Number);
  if (about.columns && about.hosts.length) {
    const image = new ImageData(about.columns, about.hosts.length);
    for (let at = 0; at < cells.length; at++) image.data.set([red, green, blue, cells[at]], 4 * at);
    drawn.getContext("2d").putImageData(image, 0, 0);
  }
  let sum = 0;
  for (const cell of cells) sum += cell;
  const mean = cells.length ? percent(sum / cells.length / 255) : "nothing yet";
  drawn.setAttribute("aria-label", "Occupancy of " + about.hosts.length + " nodes over time, " + mean + " in the mean");
  view.heat = { about, cells };
}

function cellAt(event) {
  if (!view.heat) return null;
  const { about } = view.heat, box = element("heat").getBoundingClientRect();
  const column = Math.floor((event.clientX - box.left) / box.width * about.columns), row = Math.floor((event.clientY - box.top) / box.height * about.hosts.length);
  return row < 0 || row >= about.hosts.length || column < 0 || column >= about.columns ? null : { row, column };
}

function showCell(event) {
  const cell = cellAt(event);
  if (!cell) return;
  const { about, cells } = view.heat;
  element("cell").textContent = shown(about.hosts[cell.row]) + ", " + clock(about.began_at + cell.column * about.width_s) + ", " + seconds(about.width_s) + ": " + percent(cells[cell.row * about.columns + cell.column] / 255);
}

/* ---- one node: what each of its cores did, in a stretch of time that can be moved and widened */

function openNode(row, column) {
  if (!view.heat || !view.heat.about.hosts.length) return;
  const { about } = view.heat, middle = about.began_at + (column + 0.5) * about.width_s, half = Math.max(8 * about.width_s, 30);
  view.node = { host: about.hosts[row], from: middle - half, to: middle + half };
  element("node-names").replaceChildren(...about.hosts.map((host) => new Option(host, host)));
  element("one-node").hidden = false;
  showNode();
}

function moveNode(by, wider) {
  if (!view.node) return;
  const half = (view.node.to - view.node.from) / 2, middle = view.node.from + half + by * half;
  view.node.from = middle - half * wider;
  view.node.to = middle + half * wider;
  showNode();
}

async function showNode() {
  const { host, from, to } = view.node, asked = view.nodeAsked = (view.nodeAsked || 0) + 1;
  const told = await document_of("cores?host=" + encodeURIComponent(host) + "&from=" + from + "&to=" + to).catch((problem) => tell([problem.message]));
  if (!told || asked !== view.nodeAsked) return;
  if (document.activeElement !== element("one-node-name")) element("one-node-name").value = host;
  element("one-node-title").textContent = shown(host) + ", " + clock(from) + " to " + clock(to).slice(11);
  element("one-event").textContent = told.count && !told.slices.length ? whole(told.count) + " events are too many to show: look closer"
    : whole(told.count) + " events on " + told.cores + " cores; a click tells an event's story";
  view.node.slices = told.slices;
  const high = told.cores > 40 ? 6 : 16;
  const { pen, width, accent, ink } = canvas("cores", told.cores * high + 2);
  pen.font = "11px system-ui, sans-serif";
  for (const [core, start, wall] of told.slices) {
    const x = (start - from) / (to - from) * width, wide = Math.max(1, wall / (to - from) * width - 1);
    pen.fillStyle = accent;
    pen.fillRect(x, (core - 1) * high + 1, wide, high - 1);
  }
  pen.fillStyle = ink;
  element("cores").setAttribute("aria-label", "Events on each core of " + shown(host) + ": " + element("one-event").textContent);
  document.body.dataset.node = host;
}

function sliceAt(event) {
  if (!view.node || !view.node.slices) return null;
  const { from, to, slices } = view.node, box = element("cores").getBoundingClientRect();
  const cores = Math.max(...slices.map((one) => one[0]), 1), at = from + (event.clientX - box.left) / box.width * (to - from);
  const core = 1 + Math.floor((event.clientY - box.top) / box.height * cores);
  return slices.find((one) => one[0] === core && one[1] <= at && at <= one[1] + one[2]);
}

function tellSlice(event) {
  const slice = sliceAt(event);
  if (slice) element("one-event").textContent = "core " + slice[0] + ", " + clock(slice[1]) + ", " + seconds(slice[2]) + ": range " + slice[3];
}

/* ---- tables */

function table(id, columns, rows) {
  const shownTable = element(id), head = shownTable.tHead, body = shownTable.tBodies[0];
  head.replaceChildren();
  const line = make("tr", undefined, head);
  for (const column of columns) {
    const cell = make("th", column.sort ? undefined : column.name, line);
    cell.scope = "col";
    if (!column.sort) continue;
    const mine = view.sort === column.sort;
    cell.setAttribute("aria-sort", mine ? (view.descending ? "descending" : "ascending") : "none");
    make("button", column.name + (mine ? (view.descending ? " ▾" : " ▴") : ""), cell).addEventListener("click", () => order(column.sort));
  }
  const lines = rows.map((row) => {
    const made = document.createElement("tr");
    for (const column of columns) column.put ? column.put(make("td", undefined, made), row) : make("td", column.of(row), made, column.number ? "number" : "");
    return made;
  });
  body.replaceChildren(...lines);
}

const RANGE_COLUMNS = [
  { name: "range", put: (cell, row) => make("button", row.range_id, cell).addEventListener("click", () => showStory(row.index)) },
  { name: "file", of: (row) => row.lfn },
  { name: "first event", of: (row) => row.first_event, number: true },
  { name: "last event", of: (row) => row.last_event, number: true },
  { name: "process", of: (row) => row.process },
  { name: "status", put: (cell, row) => { cell.textContent = row.state; if (row.state === "failed") cell.className = "failed"; } },
  { name: "attempt", of: (row) => row.attempt || "", number: true, sort: "attempt" },
  { name: "node", of: (row) => row.node, sort: "node" },
  { name: "error", of: (row) => (row.message ? row.reason + ": " + row.message.slice(0, 200) : row.reason ? row.reason + ", tried again" : "") },
  { name: "began", of: (row) => clock(row.started_at), sort: "start" },
  { name: "took", of: (row) => (row.wall_s === null ? "" : seconds(row.wall_s)), number: true, sort: "wall_s" },
  { name: "CPU", of: (row) => (row.cpu_s === null ? "" : seconds(row.cpu_s)), number: true, sort: "cpu_s" },
  { name: "size", of: (row) => bytes(row.size_bytes), number: true, sort: "size" },
  { name: "output", of: (row) => row.output },
  { name: "session", of: (row) => row.session || "", number: true },
];

function order(name) {
  view.descending = view.sort === name ? !view.descending : true;
  view.sort = name;
  view.offset = 0;
  refresh();
}

async function showRanges() {
  const asked = new URLSearchParams(new FormData(element("filter")));
  asked.set("offset", view.offset);
  asked.set("limit", PAGE_ROWS);
  asked.set("sort", view.sort);
  asked.set("descending", view.descending ? "1" : "0");
  const told = await document_of("ranges?" + asked);
  view.count = told.count;
  table("range-table", RANGE_COLUMNS, told.rows);
  const last = Math.min(told.count, told.offset + told.rows.length);
  element("ranges-count").textContent = told.count ? "rows " + whole(told.offset + 1) + " to " + whole(last) + " of " + whole(told.count) : "no range is like that";
  element("row").max = Math.max(1, told.count);
  element("row").value = told.offset + 1;
}

function turn(offset) {
  view.offset = Math.max(0, Math.min(offset, Math.max(0, view.count - 1)));
  refresh();
}

async function showMerges() {
  const told = await document_of("merges?offset=" + view.merges + "&limit=" + PAGE_ROWS);
  element("merges-count").textContent = whole(told.count) + " of " + whole(told.promised) + " outputs are merged";
  table("merge-table", [
    { name: "output", of: (row) => row.lfn },
    { name: "events", of: (row) => whole(row.events), number: true },
    { name: "missing", of: (row) => row.missing || "", number: true },
    { name: "inputs", of: (row) => whole(row.inputs), number: true },
    { name: "of inputs", of: (row) => bytes(row.input_bytes), number: true },
    { name: "size", of: (row) => bytes(row.size_bytes), number: true },
    { name: "took", of: (row) => seconds(row.wall_s), number: true },
    { name: "speed", of: (row) => (row.bytes_per_s ? bytes(row.bytes_per_s) + "/s" : ""), number: true },
    { name: "GUID", of: (row) => row.guid },
  ], told.rows);
  view.merged = told.count;
}

async function showFailures() {
  const told = await document_of("failures");
  const causes = element("causes");
  causes.replaceChildren();
  if (!told.causes.length) make("p", "No event was given up.", causes);
  for (const cause of told.causes) {
    const box = make("div", undefined, causes, "cause");
    make("p", whole(cause.count) + " × " + (cause.text || cause.kind), box);
    make("p", cause.kind + ", the fault of: " + cause.who + " (" + cause.what + "). " + cause.hint, box);
    const events = make("p", "events ", box);
    for (const one of cause.events) make("button", one.id, events).addEventListener("click", () => showStory(one.index));
  }
}

async function showNodes() {
  const told = await document_of("nodes");
  table("node-table", [
    { name: "node", of: (row) => row.name },
    { name: "state", of: (row) => row.state },
    { name: "busy", of: (row) => row.busy + "/" + row.cores, number: true },
    { name: "held", of: (row) => whole(row.leased), number: true },
    { name: "done", of: (row) => whole(row.finished), number: true },
    { name: "an event", of: (row) => seconds(row.mean_event_s), number: true },
    { name: "occupancy", of: (row) => percent(row.occupancy), number: true },
  ], told.nodes);
  const names = [...new Set(told.core_time.flatMap((row) => Object.keys(row.core_s)))];
  table("life-table", [
    { name: "session", of: (row) => row.session },
    { name: "node", of: (row) => row.host },
    { name: "cores", of: (row) => row.cores, number: true },
    ...names.map((name) => ({ name: inWords(name), of: (row) => percent((row.core_s[name] || 0) / row.allocated_s), number: true })),
  ], told.core_time);
}

async function showHarvester() {
  const told = await document_of("harvester"), cards = element("ledger-talk");
  cards.replaceChildren();
  for (const [name, count] of [["ranges given", told.given], ["their ends acknowledged", told.acknowledged]]) {
    const card = make("div", undefined, cards);
    make("dt", name, card);
    make("dd", whole(count), card);
  }
  const said = (row, what) => row.said[what] || { times: 0, items: 0, last_at: null };
  const columns = [{ name: "session", of: (row) => row.session }, { name: "access point", of: (row) => row.place }];
  for (const what of ["asked", "given", "told", "acknowledged"]) {
    columns.push({ name: what, of: (row) => whole(said(row, what).items) + " in " + whole(said(row, what).times), number: true });
    columns.push({ name: "last " + what, of: (row) => clock(said(row, what).last_at) });
  }
  columns.push({ name: "trouble", of: (row) => row.trouble });
  table("talk-table", columns, told.talks);
}

/* Lines or dots in a frame; each of `lines` is { xs, ys, strong, dots }. */
function plot(id, lines, xName, yName) {
  const { drawn, pen, width, height, ink, accent } = canvas(id, 220);
  const all = (key) => lines.flatMap((line) => line[key]).filter(Number.isFinite);
  const [left, right] = [Math.min(...all("xs")), Math.max(...all("xs"))], [low, high] = [Math.min(...all("ys")), Math.max(...all("ys"))];
  pen.fillStyle = ink;
  pen.font = "12px system-ui, sans-serif";
  if (!lines.length) { pen.fillText("nothing yet", 8, 16); return; }
  const x = (value) => 8 + (width - 16) * (right > left ? (value - left) / (right - left) : 0.5);
  const y = (value) => height - 24 - (height - 44) * (high > low ? (value - low) / (high - low) : 0.5);
  for (const line of lines) {
    pen.globalAlpha = line.strong ? 1 : 0.35;
    pen.strokeStyle = pen.fillStyle = accent;
    pen.lineWidth = line.strong ? 2 : 1;
    pen.beginPath();
    line.xs.forEach((value, at) => (line.dots ? pen.fillRect(x(value) - 2, y(line.ys[at]) - 2, 4, 4) : pen.lineTo(x(value), y(line.ys[at]))));
    pen.stroke();
  }
  pen.globalAlpha = 1;
  pen.fillStyle = ink;
  pen.fillText(shown(yName) + ": " + low.toPrecision(3) + " to " + high.toPrecision(3), 8, 13);
  pen.fillText(xName + ": " + left + " to " + right, 8, height - 6);
  drawn.setAttribute("aria-label", drawn.getAttribute("aria-label").split(":")[0] + ": " + lines.length + " lines, from " + low.toPrecision(3) + " to " + high.toPrecision(3));
}

async function showScan() {
  const told = await document_of("scan"), cards = element("scan-counts");
  cards.replaceChildren();
  for (const [name, count] of Object.entries(told.counts)) {
    const card = make("div", undefined, cards);
    make("dt", name, card);
    make("dd", whole(count), card);
  }
  let best = told.maximise ? -Infinity : Infinity;
  const better = told.history.map(([, value]) => (best = told.maximise ? Math.max(best, value) : Math.min(best, value)));
  const numbers = told.history.map(([number]) => number);
  plot("scan-history", numbers.length ? [{ xs: numbers, ys: told.history.map(([, value]) => value), dots: true }, { xs: numbers, ys: better, strong: true }] : [], "point", told.objective);
  plot("scan-curves", told.curves.map((curve) => ({ xs: curve.steps, ys: curve.values, strong: curve.best })), "step", told.objective);
  element("scan-told").textContent = told.rows.length < told.count ? "The best and the latest of " + whole(told.count) + " points; `raythena tune` writes tables of all." : "";
  const cell = (value) => (value === null ? "" : typeof value === "number" ? Number(value.toPrecision(6)) : typeof value === "object" ? JSON.stringify(value) : value);
  table("scan-table", told.columns.map((name, at) => ({ name: shown(name), of: (row) => cell(row[at]), number: typeof (told.rows[0] || [])[at] === "number" })), told.rows);
}

async function showLogs() {
  const told = await document_of("logs");
  const choice = element("log-name"), before = choice.value;
  choice.replaceChildren();
  for (const of of ["coordinator", "nodes", "payloads"]) {
    const group = make("optgroup", undefined, choice);
    group.label = of;
    group.append(...told.logs.filter((log) => log.of === of).map((log) => new Option(shown(log.name), log.name)));
    if (!group.children.length) group.remove();
  }
  if (told.logs.some((log) => log.name === before)) choice.value = before;
  await showLog();
}

async function showLog() {
  const name = element("log-name").value;
  if (!name) return;
  const told = await document_of("log?name=" + encodeURIComponent(name));
  const log = element("log");
  log.textContent = shown(told.text);
  log.scrollTop = log.scrollHeight;
}

async function showStory(index) {
  const told = await document_of("range?index=" + index).catch((problem) => tell([problem.message]));
  if (!told) return;
  element("story-title").textContent = shown(told.record.range_id);
  element("story-facts").textContent = shown(told.record.lfn + ", events " + told.record.first_event + " to " + told.record.last_event + ": " + told.record.state);
  const lines = element("story-lines");
  lines.replaceChildren();
  for (const line of told.lines) make("li", (line.at ? clock(line.at) + "  " : "") + line.source + ": " + line.text, lines);
  if (!told.lines.length) make("li", "Nothing has happened to it yet.", lines);
  element("story").showModal();
}

/* ---- which part is shown */

const SHOW = { overview: showOverview, occupancy: showOccupancy, ranges: showRanges, merges: showMerges, failures: showFailures, harvester: showHarvester, scan: showScan, nodes: showNodes, logs: showLogs };
let asking = false, again = false;

/* Ask for the part that is shown; while an answer is on its way, remember that there is more to ask for. */
async function refresh() {
  if (asking) { again = true; return; }
  asking = true;
  const part = view.part; // another may be chosen before the answer comes
  try {
    await SHOW[part]();
    document.body.dataset.shown = part;
  } catch (problem) {
    tell([problem.message]);
  }
  asking = false;
  if (again) { again = false; refresh(); }
}

function choose() {
  const wanted = location.hash.slice(1);
  view.part = wanted in PARTS ? wanted : "overview";
  for (const name of Object.keys(PARTS)) element(name).hidden = name !== view.part;
  for (const link of element("parts").querySelectorAll("a")) {
    if (link.hash.slice(1) === view.part) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  refresh();
}

for (const [name, title] of Object.entries(PARTS)) make("a", title, make("li", undefined, element("parts"))).href = "#" + name;
addEventListener("hashchange", choose);
element("filter").addEventListener("submit", (event) => { event.preventDefault(); view.offset = 0; refresh(); });
element("first").addEventListener("click", () => turn(0));
element("previous").addEventListener("click", () => turn(view.offset - PAGE_ROWS));
element("next").addEventListener("click", () => turn(view.offset + PAGE_ROWS < view.count ? view.offset + PAGE_ROWS : view.offset));
element("last").addEventListener("click", () => turn(Math.floor(Math.max(0, view.count - 1) / PAGE_ROWS) * PAGE_ROWS));
element("row").addEventListener("change", () => turn(Number(element("row").value) - 1));
element("newer").addEventListener("click", () => { view.merges = Math.max(0, view.merges - PAGE_ROWS); refresh(); });
element("older").addEventListener("click", () => { if (view.merges + PAGE_ROWS < view.merged) view.merges += PAGE_ROWS; refresh(); });
element("log-name").addEventListener("change", showLog);
element("log-again").addEventListener("click", showLogs);
element("story-close").addEventListener("click", () => element("story").close());
element("heat").addEventListener("mousemove", showCell);
element("heat").addEventListener("click", (event) => { const cell = cellAt(event); if (cell) openNode(cell.row, cell.column); });
element("one-node-open").addEventListener("click", () => view.heat && openNode(0, view.heat.about.columns / 2));
element("one-node-name").addEventListener("change", (event) => { if (view.node) { view.node.host = event.target.value; showNode(); } });
element("earlier").addEventListener("click", () => moveNode(-1, 1));
element("later").addEventListener("click", () => moveNode(1, 1));
element("closer").addEventListener("click", () => moveNode(0, 0.5));
element("wider").addEventListener("click", () => moveNode(0, 2));
element("cores").addEventListener("mousemove", tellSlice);
element("cores").addEventListener("click", (event) => { const slice = sliceAt(event); if (slice) showStory(slice[3]); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refresh);
addEventListener("resize", refresh);

const stream = new EventSource("api/stream");
stream.addEventListener("message", (event) => showHeader(JSON.parse(event.data)));
setInterval(() => { if (view.part === "logs" && element("log-follow").checked && !document.hidden) showLog().catch((problem) => tell([problem.message])); }, 2000);
stream.addEventListener("error", () => tell(["the page's server does not answer; what is shown may be old"]));
setInterval(() => { if (!view.ended && !document.hidden && view.part !== "ranges" && view.part !== "logs") refresh(); }, 10000);
choose();
