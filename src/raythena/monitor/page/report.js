/* What a report can do beyond being read: show all rows of a long table, save tables, and search the records it carries, which
   are a Parquet file in the page. Foreign text is put in as text, never as markup. */
"use strict";

const PAGE_ROWS = 100;
const NUMBERS = ["first_event", "last_event", "session", "attempt", "started_at", "wall_s", "cpu_s", "size_bytes"];
const COLUMNS = [["range_id", "range"], ["lfn", "file"], ["first_event", "first event"], ["last_event", "last event"], ["state", "state"], ["attempt", "attempt"],
  ["node", "node"], ["started_at", "began"], ["wall_s", "took"], ["cpu_s", "CPU"], ["size_bytes", "size"], ["output", "output"], ["session", "session"], ["reason", "reason"], ["message", "message"]];

function seconds(value) {
  if (value < 0) return "-" + seconds(-value);
  if (value > 0 && value < 0.001) return Math.round(value * 1e6) + " µs";
  if (value < 1) return Math.round(value * 1000) + " ms";
  if (value < 60) return value.toFixed(value < 10 ? 2 : 0) + " s";
  const minutes = Math.floor(value / 60);
  return minutes < 60 ? minutes + " min " + String(Math.round(value % 60)).padStart(2, "0") + " s" : Math.floor(minutes / 60) + " h " + String(minutes % 60).padStart(2, "0") + " min";
}

function bytes(value) {
  let unit = 0;
  for (; value >= 1000 && unit < 4; unit++) value /= 1000;
  return (unit ? value.toFixed(1) : Math.round(value)) + " " + ["B", "kB", "MB", "GB", "TB"][unit];
}

const clock = (at) => new Date(at * 1000).toISOString().slice(0, 19).replace("T", " ") + " UTC";

const WORDS = { count: whole, seconds, bytes, speed: (value) => bytes(value) + "/s", rate: (value) => Number(value.toPrecision(3)) + "/s",
  share: (value) => (100 * value).toFixed(1) + " %", factor: (value) => value.toFixed(2) + " ×", time: clock, text: String };

function save(name, content, kind) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: kind }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/* ---- tables */

const tables = JSON.parse(element("tables").textContent);

function showAll(button) {
  const table = tables[button.dataset.more], body = element(button.dataset.more + "-rows").tBodies[0];
  for (const row of table.rows.slice(body.rows.length)) {
    const line = make("tr", undefined, body);
    table.columns.forEach((column, at) => {
      const number = column.kind !== "text" && column.kind !== "time";
      make("td", row[at] === null ? "" : typeof row[at] === "string" ? row[at] : WORDS[column.kind](row[at]), line, number ? "number" : "");
    });
  }
  button.remove();
}

for (const button of document.querySelectorAll("button[data-more]")) button.addEventListener("click", () => showAll(button));
for (const button of document.querySelectorAll("button[data-save]")) {
  button.addEventListener("click", () => save(button.dataset.save + ".json", JSON.stringify(tables[button.dataset.save]), "application/json"));
}

/* ---- records: columns are read from the Parquet file when they are first needed, and kept */

let file = null, metadata = null, found = null, offset = 0;
const columns = new Map();
const DERIVED = element("parquet")?.dataset.ids === "derived";

function opened() {
  if (file) return;
  const text = atob(element("parquet").textContent), content = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) content[at] = text.charCodeAt(at);
  file = content.buffer;
  metadata = hyparquet.parquetMetadata(file);
}

async function column(name) {
  opened();
  if (columns.has(name)) return columns.get(name);
  const rows = Number(metadata.num_rows);
  const values = NUMBERS.includes(name) ? new Float64Array(rows) : new Array(rows);
  const take = ({ columnData, rowStart }) => {
    for (let at = 0; at < columnData.length; at++) {
      const value = columnData[at];
      values[rowStart + at] = NUMBERS.includes(name) ? (value === null || value === undefined ? NaN : Number(value)) : value;
    }
  };
  await hyparquet.parquetRead({ file, metadata, columns: [name], onChunk: take });
  columns.set(name, values);
  return values;
}

/* The rows that are asked for: their numbers, and where an order is asked for the keys of all rows and those of the matching ones,
   sorted. What has no value comes last. */
async function query(asked) {
  const tests = [];
  for (const name of ["node", "lfn", "message"]) {
    if (!asked[name]) continue;
    const values = await column(name), known = new Map();
    tests.push((at) => {
      const value = values[at] || "";
      if (!known.has(value)) known.set(value, value.includes(asked[name]));
      return known.get(value);
    });
  }
  if (asked.state) { const states = await column("state"); tests.push((at) => states[at] === asked.state); }
  if (asked.longer) { const walls = await column("wall_s"); tests.push((at) => walls[at] > asked.longer); }
  const rows = (await column("state")).length, chosen = new Uint32Array(rows);
  let count = 0;
  for (let at = 0; at < rows; at++) if (tests.every((test) => test(at))) chosen[count++] = at;
  const matching = chosen.subarray(0, count);
  if (!asked.sort) return { matching };
  const values = await column(asked.sort), sign = asked.descending ? -1 : 1, keys = new Float64Array(rows), sorted = new Float64Array(count);
  for (let at = 0; at < rows; at++) keys[at] = Number.isNaN(values[at]) ? Infinity : sign * values[at];
  for (let at = 0; at < count; at++) sorted[at] = keys[matching[at]];
  return { matching, keys, sorted: sorted.sort() };
}

/* A page of an order: the sorted keys say between which ones its rows lie, so that only those are put in order. */
function pageOf({ matching, keys, sorted }, from) {
  if (!sorted) return matching.subarray(from, from + PAGE_ROWS);
  const low = sorted[from], high = sorted[Math.min(from + PAGE_ROWS, sorted.length) - 1];
  const near = matching.filter((at) => keys[at] >= low && keys[at] <= high).sort((one, other) => keys[one] - keys[other] || one - other);
  const skipped = from - sorted.indexOf(low);
  return near.subarray(skipped, skipped + PAGE_ROWS);
}

async function show() {
  const asked = Object.fromEntries(new FormData(element("filter")));
  found = await query({ ...asked, longer: Number(asked.longer) || 0 });
  const walls = await column("wall_s");
  found.sum = found.computed = 0;
  for (const at of found.matching) if (!Number.isNaN(walls[at])) { found.sum += walls[at]; found.computed++; }
  offset = 0;
  await turn(0);
}

async function turn(by) {
  if (!found) return;
  const count = found.matching.length;
  if (offset + by >= 0 && offset + by < Math.max(1, count)) offset += by;
  for (const [name] of COLUMNS) if (name !== "range_id" || !DERIVED) await column(name);
  const table = element("range-table"), body = table.tBodies[0];
  table.tHead.replaceChildren();
  const head = make("tr", undefined, table.tHead);
  for (const [, title] of COLUMNS) make("th", title, head).scope = "col";
  body.replaceChildren();
  for (const at of count ? pageOf(found, offset) : []) {
    const line = make("tr", undefined, body);
    for (const [name] of COLUMNS) make("td", words(name, at), line, NUMBERS.includes(name) && name !== "started_at" ? "number" : "");
  }
  const last = Math.min(count, offset + PAGE_ROWS);
  element("found").textContent = count ? "rows " + whole(offset + 1) + " to " + whole(last) + " of " + whole(count) +
    (found.computed ? "; " + seconds(found.sum) + " of core time, " + seconds(found.sum / found.computed) + " an event" : "") : "no range is like that";
  document.body.dataset.found = count;
}

function words(name, at) {
  if (name === "range_id" && DERIVED) return columns.get("lfn")[at] + "-" + columns.get("first_event")[at];
  const value = columns.get(name)[at];
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  if (name === "started_at") return value ? clock(value) : "";
  if (name === "wall_s" || name === "cpu_s") return seconds(value);
  return name === "size_bytes" ? bytes(value) : value;
}

if (element("parquet")) {
  element("filter").addEventListener("submit", (event) => { event.preventDefault(); show(); });
  element("previous").addEventListener("click", () => turn(-PAGE_ROWS));
  element("next").addEventListener("click", () => turn(PAGE_ROWS));
  element("save").addEventListener("click", () => { opened(); save("ranges.parquet", file, "application/vnd.apache.parquet"); });
  new IntersectionObserver((seen, observer) => { if (seen.some((one) => one.isIntersecting)) { observer.disconnect(); show(); } }).observe(element("ranges"));
}
