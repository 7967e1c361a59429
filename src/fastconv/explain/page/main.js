// What is looked at: kept in the address, so that a link leads there.

let commonScale = 1;
const winner = votesAt.values.indexOf(Math.max(...votesAt.values));
const start = Math.min(1, maps.length - 1);
const state = {
  map: start, cell: maps[start].shape.map((size, axis) => (axis ? Math.floor(size / 2) : 0)), vote: winner, right: content.target,
  weight: startingWeight(), lr: 0.1, way: 0, step: -1, own: false, see: "",
};

const initial = { ...state };

/** Of the largest vote that should not be, the weight that did most for it. */
function startingWeight() {
  if (votesAt.kind !== "full" || !votesAt.weight) return [content.voteMap, 0];
  const wrong = [...classes.keys()].filter((k) => k !== content.target).sort((a, b) => votesAt.values[b] - votesAt.values[a])[0] || 0;
  const read = maps[votesAt.reads[0]].values, first = wrong * read.length;
  let best = 0;
  for (let i = 0; i < read.length; i++) if (read[i] * votesAt.weight.data[first + i] > read[best] * votesAt.weight.data[first + best]) best = i;
  return [content.voteMap, first + best];
}

function change(told, only) {
  const before = { ...state };
  Object.assign(state, told);
  if (told.weight || "right" in told) taken = [];
  history.replaceState(null, "", `#${address()}`);
  redraw(before, only);
  if (told.see) { byId(told.see).scrollIntoView(); state.see = ""; }
}

function address() {
  const parts = { map: state.map, cell: state.cell.join(","), vote: state.vote, right: state.right, weight: state.weight.join(","), lr: state.lr, way: state.way, step: state.step };
  if (state.own) parts.own = 1;
  if (state.see) parts.see = state.see;
  return Object.entries(parts).map(([name, value]) => `${name}=${value}`).join("&");
}

/** Take what an address says, as far as it makes sense for this page. */
function follow(text) {
  const told = new Map(text.replace(/^#/, "").split("&").map((part) => part.split("=")));
  const whole = (name, most) => { const n = Number(told.get(name)); return told.has(name) && Number.isInteger(n) && n >= 0 && n <= most ? n : null; };
  const found = {}, map = whole("map", maps.length - 1);
  const number = map === null ? state.map : map, shape = maps[number].shape;
  const cell = (told.get("cell") || "").split(",").map(Number);
  const fits = (place) => place.length === shape.length && place.every((at, i) => Number.isInteger(at) && at >= 0 && at < shape[i]);
  if (told.has("cell") && fits(cell)) Object.assign(found, { map: number, cell });
  else if (map !== null && !fits(state.cell)) Object.assign(found, { map, cell: shape.map(() => 0) });
  else if (map !== null) found.map = map;
  for (const [name, most] of [["vote", classes.length - 1], ["right", classes.length - 1], ["way", 9], ["step", 99]]) { const n = whole(name, most); if (n !== null) found[name] = n; }
  const weight = (told.get("weight") || "").split(",").map(Number);
  if (weight.length === 2 && maps[weight[0]] && maps[weight[0]].weight && weight[1] >= 0 && weight[1] < maps[weight[0]].weight.data.length) found.weight = weight;
  const lr = Number(told.get("lr"));
  if (lr > 0 && lr <= 10) found.lr = lr;
  if (told.has("own")) found.own = told.get("own") === "1";
  const see = told.get("see");
  if (see && byId(see) && byId(see).tagName === "SECTION") found.see = see;
  return found;
}

// ---- drawing ------------------------------------------------------------------------------------------

const differs = (before, ...names) => names.some((name) => String(before[name]) !== String(state[name]));

function redraw(before, only) {
  if (differs(before, "own")) { for (const mosaic of strip.values()) mosaic.draw(); drawCommonScale(); }
  if (differs(before, "map", "cell")) { lightField(); drawCell(); }
  if (differs(before, "vote")) { drawVotes(); drawBackwards(); drawOcclusion(); }
  if (differs(before, "weight", "right", "lr")) drawCurve();
  if (differs(before, "way", "step") && only !== "cases") drawCases();
}

function drawCommonScale() {
  if (state.own) byId("scale").replaceChildren(make("span", {}, "each layer from its own −largest to +largest"));
  else drawScale(byId("scale"), commonScale);
}

function drawAll() {
  for (const draw of [drawCell, drawVotes, drawBackwards, drawCurve, drawOcclusion, drawCases, drawWidget]) draw();
}

function begin() {
  byId("title").textContent = `${content.name} through ${content.title}`;
  const right = content.known ? (content.target === winner ? ", which is right" : `; it is ${classes[content.target]}`) : "";
  byId("verdict").textContent = `It is taken for ${classes[winner]}, with a vote of ${long(votesAt.values[winner])}${right}.`;
  byId("made").textContent = `Made by fastconv ${content.version}; the numbers of all maps are those that it computed.`;
  for (const map of maps) commonScale = Math.max(commonScale === 1 && map.number === 0 ? 0 : commonScale, largest(map.values));
  Object.assign(state, follow(location.hash));
  byId("own").checked = state.own;
  byId("own").addEventListener("change", (e) => change({ own: e.target.checked }));
  drawCommonScale();
  drawStrip();
  lightField();
  setTimeout(finish);  // the strip is there to be looked at meanwhile
}

function finish() {
  drawAll();
  if (state.see) byId(state.see).scrollIntoView();
  window.addEventListener("hashchange", () => change(follow(location.hash)));
  let width = window.innerWidth;
  window.addEventListener("resize", () => { if (window.innerWidth !== width) { width = window.innerWidth; repaint(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  window.addEventListener("beforeprint", repaint);
  window.addEventListener("afterprint", repaint);
  document.documentElement.dataset.ready = "1";
}

function repaint() {
  drawCommonScale();
  for (const mosaic of Mosaic.all) mosaic.draw();
}

/** Where a cell is on the screen, and what the page computes: for scripts that try it. */
window.explain = {
  where: (number, cell) => strip.get(number).where(cell),
  votesWith: (number, index, weight) => Array.from(votesWith(number, index, weight)),
  error: (number, index, weight) => errorAt(number, index, weight),
  field: (number, cell) => [...fieldsOf(number, cell)],
  go: (to) => change({ ...initial, ...follow(to) }),
  state: () => JSON.parse(JSON.stringify(state)),
};

begin();
