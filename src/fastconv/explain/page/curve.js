// One weight: the error for other values of it, where the ball lies, and what a step downhill does.

function weighted() { return maps.filter((map) => map.weight && map.number <= content.voteMap && !unknownBehind(map.number)); }

let taken = [];

function drawCurve() {
  const host = byId("curve");
  const able = weighted();
  if (!content.loss || !able.length) {
    const why = content.loss ? unknownBehind((maps.find((m) => m.weight) || votesAt).number) : "the error it was taught by is not computed in this page";
    host.replaceChildren(make("p", {}, `No curve: ${why}.`));
    return;
  }
  let [number, index] = state.weight;
  if (!able.some((map) => map.number === number)) { number = able[able.length - 1].number; index = 0; }
  const map = maps[number];
  index = Math.min(index, map.weight.data.length - 1);
  const place = placeOf(map.weight.shape, index);
  const right = choice("right answer", classes.map((name, k) => [k, name]), state.right, (k) => change({ right: Number(k) }));
  const layers = choice("layer", able.map((each) => [each.number, mapTitle(each)]), number, (k) => change({ weight: [Number(k), 0] }));
  const parts = place.map((at, axis) => make("label", {}, axisName(map, axis), make("input", { type: "number", min: 1, max: map.weight.shape[axis], value: at + 1, onchange: (e) => {
    const moved = place.slice();
    moved[axis] = Math.min(Math.max(Math.round(e.target.value) - 1 || 0, 0), map.weight.shape[axis] - 1);
    change({ weight: [number, offset(map.weight.shape, moved)] });
  } })));
  const rate = make("input", { type: "range", min: -3, max: 1, step: 0.1, value: Math.log10(state.lr), "aria-label": "size of the step", onchange: (e) => change({ lr: Number((10 ** e.target.value).toPrecision(2)) }) });
  host.replaceChildren(
    make("p", {}, content.loss === "absolute" ? "The error is the sum over classes of |right answer − actual answer|." : "The error is cross-entropy: −log of the probability of the right answer."),
    make("div", { class: "controls" }, layers, ...parts, right),
    make("div", { class: "controls" }, make("label", {}, `step ${short(state.lr)} × slope`, rate),
      make("button", { onclick: () => { taken.push(descent(number, index).next); drawCurve(); } }, "Take the step"),
      make("button", { onclick: () => { taken = []; drawCurve(); } }, "Put the weight back")),
    plotCurve(map, number, index));
}

function axisName(map, axis) {
  if (map.kind === "full") return ["output", "input"][axis];
  return ["feature", "channel", ...{ 1: ["place"], 2: ["row", "column"], 3: ["slice", "row", "column"] }[map.weight.shape.length - 2]][axis];
}

const errorAt = (number, index, weight) => errorOf(votesWith(number, index, weight), state.right);

/** Where the ball is, the slope there by nudging, and where a step downhill ends. */
function descent(number, index) {
  const at = taken.length ? taken[taken.length - 1] : maps[number].weight.data[index], bit = 1e-4 * Math.max(1, Math.abs(at));
  const slope = (errorAt(number, index, at + bit) - errorAt(number, index, at - bit)) / (2 * bit);
  return { at, slope, next: at - state.lr * slope };
}

function plotCurve(map, number, index) {
  const { at, slope, next } = descent(number, index), behind = maps.filter((each) => each.number > number).reduce((sum, each) => sum + each.flops, map.flops);
  const points = Math.max(9, Math.min(61, Math.round(1.5e8 / (behind + 1)))), reach = 2 * Math.max(largest(map.weight.data), Math.abs(next - at), Math.abs(at - map.weight.data[index])) || 1;
  const weights = Array.from({ length: points }, (_, i) => map.weight.data[index] - reach + (2 * reach * i) / (points - 1));
  const errors = weights.map((weight) => errorAt(number, index, weight)), error = errorAt(number, index, at), after = errorAt(number, index, next);
  if (![...errors, error, after].every(Number.isFinite)) return make("p", { "data-curve": "" }, `weight ${long(at)}: the error is not finite everywhere.`);
  const low = Math.min(...errors, error, after), high = Math.max(...errors, error, after), span = high - low || 1;
  const X = (w) => 50 + ((w - weights[0]) / (2 * reach)) * 500, Y = (e) => 260 - ((e - low) / span) * 220;
  const text = (x, y, told, anchor = "middle", kind = "soft") => make("text", { x, y, "text-anchor": anchor, class: kind }, told);
  const slide = 60 / 500 * 2 * reach, kinds = { x1: X(at - slide), y1: Y(error - slide * slope), x2: X(at + slide), y2: Y(error + slide * slope) };
  const plot = make("svg", { viewBox: "0 0 600 310", class: "plot", role: "img", "aria-label": `Error ${long(error)} at weight ${long(at)}, slope ${long(slope)}; after the step weight ${long(next)}, error ${long(after)}` },
    make("line", { class: "axis", x1: 50, y1: 268, x2: 550, y2: 268 }),
    make("path", { class: "line", d: weights.map((w, i) => `${i ? "L" : "M"}${X(w).toFixed(1)} ${Y(errors[i]).toFixed(1)}`).join("") }),
    make("line", { class: "slope", ...kinds }),
    make("path", { class: "step", d: `M${X(at)} ${Y(error) - 12} L${X(next)} ${Y(after) - 12}` }),
    make("circle", { class: "step", cx: X(next), cy: Y(after), r: 6 }),
    make("circle", { class: "ball", cx: X(at), cy: Y(error), r: 9 }),
    text(50, 286, short(weights[0])), text(550, 286, short(weights[points - 1])), text(300, 304, "weight"), text(44, Y(high) + 4, short(high), "end"), text(44, Y(low) + 4, short(low), "end"), text(10, 20, "error", "start"));
  return make("div", {}, plot, make("p", { class: "result", "data-curve": "" },
    `weight ${long(at)}, error ${long(error)}, slope ${long(slope)}. One step: weight ${long(next)}, error ${long(after)} (${after < error ? "less" : after > error ? "more" : "the same"}).`),
  make("p", { class: "soft" }, "The filled ball is the weight as it is, the open one where a step ends; the dashed line is the slope, measured by nudging the weight up and down a bit."));
}
