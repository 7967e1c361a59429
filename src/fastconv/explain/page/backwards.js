// Backwards: how a vote changes with every value on the way, and with every weight.

let backMosaics = [];

function drawBackwards() {
  const host = byId("gradients");
  backMosaics.forEach((each) => each.remove());
  backMosaics = [];
  if (content.gradients.reason) { host.replaceChildren(make("p", {}, `No gradients: ${content.gradients.reason}.`)); return; }
  const there = Object.keys(content.gradients).map(Number).sort((a, b) => a - b);
  const vote = there.includes(state.vote) ? state.vote : there[0];
  const pick = choice("of the vote for", there.map((k) => [k, classes[k]]), vote, (k) => change({ vote: Number(k) }));
  const told = make("p", { class: "result", "aria-live": "polite" }, "Point at a cell for its gradient.");
  const missing = classes.length > there.length ? make("span", { class: "soft" }, `in this page: the ${there.length} largest votes`) : null;
  host.replaceChildren(
    make("p", {}, "How much the vote grows if a value grows by a little: the gradient, from the votes back to the pixels. Where it is 0, nothing small changes the vote."),
    make("div", { class: "controls" }, pick, missing), told);
  const found = content.gradients[vote];
  for (let k = content.voteMap; k >= 0; k--) {
    const gradient = unpack(found.maps[k]);
    if (gradient) put(host, maps[k], k === 0 ? "at the pixels" : `at ${mapTitle(maps[k])}`, gradient, told);
    const weights = unpack(found.weights[k]);
    if (weights && maps[k].weight) put(host, maps[k], `at the ${maps[k].kind === "conv" ? "features" : "weights"} of ${mapTitle(maps[k])}`, weights, told, maps[k].weight);
  }
}

function put(host, map, title, gradient, told, weights) {
  const most = largest(gradient.data), box = make("div", { class: "maps" }), flat = weights ? featureShape(gradient.shape) : gradient.shape;
  host.append(make("h3", {}, title, make("span", { class: "soft" }, `  from ${short(-most)} to ${short(most)}`)), box);
  const shown = Math.min(48, flat[0]);
  backMosaics.push(new Mosaic(box, {
    shape: flat, values: gradient.data, most: () => most, target: 84, channels: Array.from({ length: shown }, (_, c) => c),
    label: `Gradient ${title}. Arrows move.`,
    hover: (cell) => { if (cell) told.textContent = `${title}, ${inWords(weights ? { shape: flat, kind: "conv" } : map, cell)}: ${long(gradient.data[offset(flat, cell)])}${weights ? ` (weight ${long(weights.data[offset(flat, cell)])})` : ""}`; },
    pick: (cell) => {
      if (weights) change({ weight: [map.number, offset(flat, cell)], see: "weight" });
      else change({ map: map.number, cell });
    },
  }));
  if (shown < flat[0]) box.append(make("span", { class: "soft" }, `${flat[0] - shown} more`));
}

/** Features as tiles: one per feature and channel. A full layer's weights: one row per output. */
function featureShape(shape) {
  return shape.length <= 2 ? shape : [shape[0] * shape[1], ...shape.slice(2)];
}
