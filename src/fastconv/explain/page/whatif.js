// What if: parts hidden, and the trickier cases.

let whatMosaics = {};

function replaceMosaic(name, host, told) {
  if (whatMosaics[name]) whatMosaics[name].remove();
  whatMosaics[name] = new Mosaic(host, told);
}

function drawOcclusion() {
  const host = byId("occlusion"), told = content.occlusion;
  if (!told) { host.replaceChildren(make("p", {}, "The input is no picture.")); return; }
  const there = Object.keys(told.votes).map(Number), vote = there.includes(state.vote) ? state.vote : there[0];
  const votes = unpack(told.votes[vote]), before = votesAt.values[vote], drop = Float32Array.from(votes.data, (v) => before - v), most = largest(drop);
  const [high, wide] = told.size, text = make("p", { class: "result", "aria-live": "polite" });
  const left = make("div", {}), right = make("div", {});
  const show = (cell) => {
    const [, r, c] = cell, top = told.starts[0][r], from = told.starts[1][c];
    text.textContent = `rows ${top + 1}–${top + high}, columns ${from + 1}–${from + wide} hidden: the vote for ${classes[vote]} is ${long(votes.data[r * votes.shape[1] + c])} instead of ${long(before)}`;
    const values = Float32Array.from(maps[0].values), [channels, rows, columns] = maps[0].shape, fill = unpack(told.fill).data;
    for (let k = 0; k < channels; k++) for (let y = top; y < top + high; y++) values.fill(fill[k], (k * rows + y) * columns + from, (k * rows + y) * columns + from + wide);
    replaceMosaic("hidden", right, { shape: maps[0].shape, values, most: () => commonScale, target: 150 });
    whatMosaics.hidden.light([[...Array(channels).keys()], range(top, high), range(from, wide)]);
  };
  host.replaceChildren(
    make("p", {}, `A window of ${high} × ${wide} hides one part of the picture after the other. Each cell: how much the vote falls with that part hidden (from ${short(-most)} to ${short(most)}; with a bar: it rises).`),
    make("div", { class: "controls" }, choice("vote for", there.map((k) => [k, classes[k]]), vote, (k) => change({ vote: Number(k) }))),
    make("div", { class: "side" }, make("div", { class: "grow" }, make("h3", {}, "how much it falls"), left), make("div", { class: "grow" }, make("h3", {}, "the picture with that part hidden"), right)), text);
  replaceMosaic("drop", left, {
    shape: [1, ...votes.shape], values: drop, most: () => most, target: 260, label: "Drop of the vote. Arrows move.",
    hover: (cell) => cell && show(cell), pick: show,
  });
  let best = 0;
  drop.forEach((d, i) => { if (d > drop[best]) best = i; });
  show([0, ...placeOf(votes.shape, best)]);
}

const range = (first, n) => Array.from({ length: n }, (_, i) => first + i);

// ---- cases --------------------------------------------------------------------------------------------

const UNITS = { rotation: "°", scale: "×", thickness: " steps of the pen" };

function drawCases() {
  const host = byId("tricky"), all = content.cases;
  if (!all.length) { host.replaceChildren(make("p", {}, "The input is no picture.")); return; }
  const which = Math.min(state.way, all.length - 1), told = all[which], still = told.amounts.indexOf(told.name === "scale" ? 1 : 0);
  const at = state.step >= 0 && state.step < told.amounts.length ? state.step : still;
  const votes = unpack(told.votes), pictures = unpack(told.pictures), text = make("p", { class: "result", "aria-live": "polite", "data-case": "" });
  const left = make("div"), right = make("div", { class: "grow" }), chart = make("div");
  const slider = make("input", { type: "range", min: 0, max: told.amounts.length - 1, step: 1, value: at, "aria-label": told.name, oninput: (e) => { change({ step: Number(e.target.value) }, "cases"); show(Number(e.target.value)); } });
  const show = (k) => {
    const own = votes.data.subarray(k * classes.length, (k + 1) * classes.length), unit = UNITS[told.name] || " pixels";
    const best = own.indexOf(Math.max(...own));
    text.textContent = `${told.name} ${minus(told.amounts[k])}${unit}: ${classes[best]}, ${long(own[best])}`;
    slider.setAttribute("aria-valuetext", text.textContent);
    if (pictures) replaceMosaic("case", left, { shape: maps[0].shape, values: pictures.data.subarray(k * count(maps[0].shape), (k + 1) * count(maps[0].shape)), most: () => commonScale, target: 200 });
    right.replaceChildren(voteBars(own, 10));
    chart.replaceChildren(plotVotes(told, votes, k));
  };
  host.replaceChildren(
    make("div", { class: "controls" }, choice("what changes", all.map((each, k) => [k, each.name]), which, (k) => change({ way: Number(k), step: -1 })), slider), text,
    make("div", { class: "side" }, left, right), chart);
  show(at);
}

/** The votes over the amounts: one line per class, told apart by dashes and a name at its end. */
function plotVotes(told, votes, at) {
  const n = classes.length, size = told.amounts.length;
  const order = [...classes.keys()].sort((a, b) => votesAt.values[b] - votesAt.values[a]).slice(0, 5);
  const shown = order.map((k) => told.amounts.map((_, i) => votes.data[i * n + k])), low = Math.min(0, ...shown.flat()), high = Math.max(...shown.flat());
  if (!shown.flat().every(Number.isFinite)) return make("p", { class: "soft" }, "Some votes are not finite.");
  const X = (i) => 50 + (i / (size - 1)) * 430, Y = (v) => 190 - ((v - low) / (high - low || 1)) * 165;
  const drawn = make("svg", { viewBox: "0 0 600 235", class: "plot", role: "img", "aria-label": `Votes over ${told.name}` },
    make("line", { class: "axis", x1: 50, x2: 480, y1: Y(low), y2: Y(low) }), make("line", { class: "slope", x1: X(at), x2: X(at), y1: 20, y2: 195 }));
  const ends = shown.map((line, i) => ({ i, y: Y(line[size - 1]) })).sort((a, b) => a.y - b.y);
  ends.forEach((end, k) => { end.label = k ? Math.max(end.y, ends[k - 1].label + 15) : end.y; });
  for (const { i, label } of ends) {
    drawn.append(make("path", { class: "line", "stroke-dasharray": ["none", "8 4", "2 4", "12 3 2 3", "4 4"][i], d: shown[i].map((v, k) => `${k ? "L" : "M"}${X(k).toFixed(1)} ${Y(v).toFixed(1)}`).join("") }),
      make("text", { x: 488, y: label + 4 }, classes[order[i]].slice(0, 16)));
  }
  const text = (x, y, anchor, t) => make("text", { x, y, "text-anchor": anchor, class: "soft" }, t);
  drawn.append(text(50, 212, "middle", minus(told.amounts[0])), text(480, 212, "middle", minus(told.amounts[size - 1])), text(265, 228, "middle", told.name), text(44, Y(high) + 4, "end", short(high)), text(44, Y(low) + 4, "end", short(low)));
  return drawn;
}
