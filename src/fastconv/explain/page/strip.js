// The strip: every layer's maps with what there is to say about each.

const SHOWN = 64;
const strip = new Map();

function drawStrip() {
  const host = byId("strip");
  for (const map of maps) {
    const box = make("div", { class: "maps" });
    const frame = make("article", { class: "layer", id: `map${map.number}` },
      make("h3", {}, mapTitle(map), make("span", { class: "soft" }, `  ${shapeText(map.shape)}${map.name && map.number ? `, layer ${map.name}` : ""}`)),
      box, facts(map));
    host.append(frame);
    if (map.kind === "input" && map.shape.length === 3 && map.shape[0] === 3) inColour(box, map);
    putMaps(box, map, Math.min(SHOWN, map.shape[0]));
  }
}

function putMaps(box, map, shown) {
  const mosaic = new Mosaic(box, {
    shape: map.shape, values: map.values, most: () => (state.own ? largest(map.values) : commonScale),
    channels: Array.from({ length: shown }, (_, c) => c),
    label: `Map ${mapTitle(map)}, ${shapeText(map.shape)}. Arrows move, Enter shows the arithmetic.`,
    hover: (cell) => hoverCell(map, cell),
    pick: (cell) => change({ map: map.number, cell }),
  });
  strip.set(map.number, mosaic);
  if (shown < map.shape[0]) {
    const more = make("button", { onclick: () => { more.remove(); mosaic.remove(); putMaps(box, map, map.shape[0]); lightField(); } }, `${map.shape[0] - shown} more`);
    box.append(more);
  }
}

/** A colour picture as a whole, before its channels. */
function inColour(box, map) {
  const plane = map.shape[1] * map.shape[2];
  let low = Infinity, high = -Infinity;
  for (const v of map.values) { low = Math.min(low, v); high = Math.max(high, v); }
  new Mosaic(box, {
    shape: [1, map.shape[1], map.shape[2]], values: map.values, target: 160,
    frame: (value, into, at, p) => { for (let c = 0; c < 3; c++) into[at + c] = (255 * (map.values[c * plane + p] - low)) / (high - low || 1); into[at + 3] = 255; },
  });
}

function facts(map) {
  const list = make("dl", { class: "facts" });
  const add = (term, text) => list.append(make("div", {}, make("dt", {}, term), make("dd", {}, text)));
  if (map.number) {
    add("layer", map.text);
    add("made from", map.reads.map((read) => mapTitle(maps[read])).join(" and "));
    if (map.parameters) add("parameters", thousands(map.parameters));
    add("FLOPs", thousands(map.flops));
    if (map.field.length) add("sees", `${shapeText(map.field)} of the input`);
  }
  add("bytes", thousands(map.bytes));
  const [low, mean, high] = map.range.map((v) => (v === null ? "not finite" : long(v)));
  add("from, to", `${low}, ${high}`);
  add("mean", mean);
  if (map.dead.length && map.kind !== "input")
    add("dead", `${map.dead.length} of ${map.shape[0]} are 0 everywhere: ${map.dead.slice(0, 12).map((c) => c + 1).join(", ")}${map.dead.length > 12 ? ", …" : ""}`);
  list.append(histogram(map));
  return list;
}

function histogram(map) {
  const { counts, edges } = map.histogram, most = Math.max(...counts, 1);
  const drawn = make("svg", { viewBox: "0 0 240 54", role: "img", "aria-label": `Histogram of ${map.values.length} values from ${short(edges[0])} to ${short(edges[1])}; the fullest bar has ${most}` });
  counts.forEach((n, i) => {
    const high = n ? Math.max(1, (n / most) * 38) : 0;
    drawn.append(make("rect", { class: "bar", x: (240 / counts.length) * i, y: 38 - high, width: 240 / counts.length - 1, height: high }));
  });
  const text = (x, anchor, told) => make("text", { x, y: 51, "text-anchor": anchor, class: "soft", "font-size": 11 }, told);
  drawn.append(text(0, "start", short(edges[0])), text(240, "end", short(edges[1])));
  return drawn;
}

// ---- pointing -----------------------------------------------------------------------------------------

let pointed = null;

function hoverCell(map, cell) {
  pointed = cell && { map: map.number, cell };
  lightField();
}

/** Outline the receptive field of what is pointed at, or else of what is chosen. */
function lightField() {
  const { map, cell } = pointed || state;
  const fields = fieldsOf(map, cell);
  for (const [number, mosaic] of strip) mosaic.light(fields.get(number) || null);
  const value = maps[map].values[offset(maps[map].shape, cell)];
  const seen = fields.get(0);
  const reach = map && seen ? `; sees ${seen.map((places) => (places.length > 1 ? `${places[0] + 1}–${places[places.length - 1] + 1}` : places[0] + 1)).join(" × ")} of the input` : "";
  byId("readout").textContent = `${mapTitle(maps[map])}, ${inWords(maps[map], cell)}: ${long(value)}${reach}`;
  for (const frame of document.querySelectorAll(".layer")) frame.classList.toggle("chosen", frame.id === `map${state.map}`);
}
