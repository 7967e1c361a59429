// The net itself, as far as the page needs it: what comes of the votes when one weight changes.

const FUNCTIONS = {
  ReLU: (x) => (x > 0 ? x : 0), relu: (x) => (x > 0 ? x : 0),
  ReLU6: (x) => Math.min(Math.max(x, 0), 6), relu6: (x) => Math.min(Math.max(x, 0), 6),
  LeakyReLU: (x, slope = 0.01) => (x > 0 ? x : x * slope),
  ELU: (x, alpha = 1) => (x > 0 ? x : alpha * Math.expm1(x)),
  SELU: (x) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x)),
  Sigmoid: (x) => 1 / (1 + Math.exp(-x)), sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  Tanh: Math.tanh, tanh: Math.tanh,
  SiLU: (x) => x / (1 + Math.exp(-x)), silu: (x) => x / (1 + Math.exp(-x)),
  Hardtanh: (x, low = -1, high = 1) => Math.min(Math.max(x, low), high),
  Hardsigmoid: (x) => Math.min(Math.max(x / 6 + 0.5, 0), 1),
  Hardswish: (x) => x * Math.min(Math.max(x / 6 + 0.5, 0), 1),
  Softplus: (x) => Math.log1p(Math.exp(-Math.abs(x))) + Math.max(x, 0),
  Softsign: (x) => x / (1 + Math.abs(x)),
};

const withoutChange = (x) => x;

/** The function that a layer applies to every value, or undefined if the page does not know it. */
function functionOf(map) {
  const name = map.kind === "activation" ? map.function : map.activation;
  if (!name) return withoutChange;
  const known = FUNCTIONS[name], settings = map.settings || [];
  return known && ((x) => known(x, ...settings));
}

/** Whether the page can compute what this layer does. */
function isKnown(map) {
  if (map.kind === "conv" || map.kind === "full") return Boolean(map.weight && functionOf(map)) && maps[map.reads[0]].shape.length === (map.kind === "full" ? 1 : map.shape.length) && (map.kind === "full" || Boolean(map.axes));
  if (map.kind === "max pool" || map.kind === "average pool") return Boolean(map.axes);
  if (map.kind === "activation") return Boolean(functionOf(map));
  if (map.kind === "affine") return false;
  return ["norm", "flatten", "identity", "add", "join"].includes(map.kind);
}

/** Why the votes cannot be computed again from map `number` on, or "". */
function unknownBehind(number) {
  const changed = new Set([number]);
  for (let k = number + 1; k <= content.voteMap; k++) {
    if (!maps[k].reads.some((read) => changed.has(read))) continue;
    changed.add(k);
    if (!isKnown(maps[k])) return `${mapTitle(maps[k])} is not computed in this page`;
  }
  return isKnown(maps[number]) ? "" : `the weights of ${mapTitle(maps[number])} are not in this page`;
}

/** The votes with one weight of the layer that makes map `number` set to a value. */
function votesWith(number, index, weight) {
  const map = maps[number], kept = map.weight.data[index];
  const changed = new Map();
  const own = Float64Array.from(map.values);
  const output = placeOf(map.weight.shape, index)[0];
  const weights = Float64Array.from(map.weight.data);
  weights[index] = weight;
  if (weight !== kept) computeRow(map, maps[map.reads[0]].values, weights, output, own);
  changed.set(number, own);
  return votesFrom(changed, number);
}

/** The votes when some maps have other values. */
function votesFrom(changed, number) {
  for (let k = number + 1; k <= content.voteMap; k++) {
    const map = maps[k];
    if (!map.reads.some((read) => changed.has(read))) continue;
    changed.set(k, compute(map, map.reads.map((read) => changed.get(read) || maps[read].values)));
  }
  return changed.get(content.voteMap) || Float64Array.from(votesAt.values);
}

function compute(map, reads) {
  const [input] = reads, made = new Float64Array(count(map.shape));
  if (map.kind === "conv" || map.kind === "full") {
    for (let c = 0; c < map.shape[0]; c++) computeRow(map, input, map.weight.data, c, made);
  } else if (map.axes) pooled(map, input, made);
  else if (map.kind === "norm") {
    const plane = count(map.shape) / map.shape[0];
    for (let i = 0; i < made.length; i++) made[i] = input[i] * map.factor.data[Math.floor(i / plane)] + map.shift.data[Math.floor(i / plane)];
  } else if (map.kind === "add") {
    for (const read of reads) for (let i = 0; i < made.length; i++) made[i] += read.length === made.length ? read[i] : read[0];
  } else if (map.kind === "join") {
    let at = 0;
    for (const read of reads) { made.set(read, at); at += read.length; }
  } else {
    const apply = map.kind === "activation" ? functionOf(map) : withoutChange;
    for (let i = 0; i < made.length; i++) made[i] = apply(input[i]);
  }
  return made;
}

/** One output channel of a convolution, or one output of a full layer. */
function computeRow(map, input, weights, output, made) {
  const apply = functionOf(map), plane = count(map.shape.slice(1)), own = count(map.weight.shape.slice(1));
  for (let p = 0; p < plane; p++) {
    let sum = 0;
    if (map.kind === "full") for (let i = 0; i < own; i++) sum += input[i] * weights[output * own + i];
    else eachTap(map, [output, ...placeOf(map.shape.slice(1), p)], (at, tap) => { if (at >= 0) sum += input[at] * weights[output * own + tap]; });
    if (map.divisor) sum /= map.divisor;
    if (map.bias) sum += map.bias.data[output];
    made[output * plane + p] = apply(sum);
  }
}

/** Calls `visit(index into the input or -1, index into the feature)` for each element of a cell's patch. */
function eachTap(map, cell, visit) {
  const shape = maps[map.reads[0]].shape, steps = strides(shape), feature = map.weight.shape.slice(1);
  const first = Math.floor(cell[0] / (map.shape[0] / map.groups)) * feature[0];
  const windows = map.axes.map((axis, i) => windowOf(axis, cell[i + 1]).map((at) => (at >= 0 && at < axis[0] ? at * steps[i + 1] : -1)));
  let tap = 0;
  for (let c = 0; c < feature[0]; c++) {
    const walk = (axis, at) => {
      if (axis === windows.length) { visit(at, tap++); return; }
      for (const step of windows[axis]) walk(axis + 1, at < 0 || step < 0 ? -1 : at + step);
    };
    walk(0, (first + c) * steps[0]);
  }
}

/** The elements of a pool's window: indices into the input. */
function windowIndices(map, cell) {
  const steps = strides(maps[map.reads[0]].shape);
  let found = [cell[0] * steps[0]];
  map.axes.forEach((axis, i) => { found = found.flatMap((at) => inside(axis, cell[i + 1]).map((place) => at + place * steps[i + 1])); });
  return found;
}

function pooled(map, input, made) {
  for (let i = 0; i < made.length; i++) {
    const at = windowIndices(map, placeOf(map.shape, i));
    if (map.kind === "max pool") { made[i] = -Infinity; for (const k of at) if (!(input[k] <= made[i])) made[i] = input[k]; }
    else { for (const k of at) made[i] += input[k]; made[i] /= averagedOver(map, placeOf(map.shape, i), at.length); }
  }
}

/** By what an average pool divides. */
function averagedOver(map, cell, covered) {
  if (map.divisor) return map.divisor;
  if (!map.counted) return covered;
  return map.axes.reduce((product, [size, , kernel, stride, before], i) => {
    const first = cell[i + 1] * stride - before;
    return product * (Math.min(first + kernel, size + before) - first);
  }, 1);
}

function softmax(votes) {
  const most = Math.max(...votes), powers = Array.from(votes, (v) => Math.exp(v - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return { powers, sum, parts: powers.map((p) => p / sum) };
}

/** The error of votes if a class is right. */
function errorOf(votes, target) {
  if (content.loss === "absolute") return Array.from(votes).reduce((sum, vote, k) => sum + Math.abs((k === target ? 1 : 0) - vote), 0);
  const { parts } = softmax(votes);
  return 0 - Math.log(Math.max(parts[target], 1e-300));
}
