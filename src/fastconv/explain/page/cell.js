// One cell: how its number comes about.

const PATCHES = 3;

function drawCell() {
  const host = byId("cell"), map = maps[state.map], cell = state.cell;
  const index = offset(map.shape, cell), value = map.values[index];
  host.replaceChildren(make("p", {}, `${mapTitle(map)}, ${inWords(map, cell)}.`), ...explained(map, cell, index, value));
  host.append(readers(map, cell));
}

const result = (text) => make("p", { class: "result", "data-result": "" }, text);

function explained(map, cell, index, value) {
  const read = map.number ? maps[map.reads[0]] : null;
  if (!read) return [result(`A pixel: ${long(value)}`)];
  if (map.kind === "conv" && map.weight && map.axes) return convolved(map, read, cell, value);
  if (map.kind === "full" && map.weight && read.shape.length === 1) return [voters(map, cell[0], 12), result(sumText(map, cell, fullSum(map, cell[0]), value))];
  if (map.kind === "max pool" && map.axes) return [windowTable(map, read, cell), result(winnerText(map, read, cell, value))];
  if (map.kind === "average pool" && map.axes) {
    const at = windowIndices(map, cell), by = averagedOver(map, cell, at.length), sum = at.reduce((s, k) => s + read.values[k], 0);
    return [windowTable(map, read, cell), result(`sum ${long(sum)} ÷ ${by} = ${long(value)}`)];
  }
  if (map.kind === "softmax") return [softmaxTable(read.values), result(long(value))];
  if (map.kind === "norm" && map.factor) {
    const c = cell[0];
    return [result(`${long(read.values[index])} × ${long(map.factor.data[c])} + ${long(map.shift.data[c])} = ${long(value)}`)];
  }
  if (map.kind === "add") return [result(`${map.reads.map((r) => long(maps[r].values[index])).join(" + ")} = ${long(value)}`)];
  if (["activation", "flatten", "identity"].includes(map.kind)) {
    const from = fieldsOf(map.number, cell).get(read.number).map((places) => places[0]);
    const before = read.values[offset(read.shape, from)], name = map.kind === "activation" ? map.function : "the same value";
    const where = map.kind === "flatten" ? ` (${inWords(read, from)} of ${mapTitle(read)})` : "";
    return [result(`${long(before)}${where} → ${name} → ${long(value)}`)];
  }
  return [result(`${map.text}: ${long(value)}`)];
}

// ---- convolutions -------------------------------------------------------------------------------------

function convolved(map, read, cell, value) {
  const feature = map.weight.shape.slice(1), own = count(feature), first = cell[0] * own;
  const patch = [], weights = [], outside = [];
  eachTap(map, cell, (at, tap) => { patch.push(at < 0 ? 0 : read.values[at]); outside.push(at < 0); weights.push(map.weight.data[first + tap]); });
  const products = patch.map((p, i) => p * weights[i]);
  const sum = products.reduce((a, b) => a + b, 0), plane = own / feature[0];
  const made = [];
  const put = (channels) => {
    for (const c of channels) {
      const part = (list) => list.slice(c * plane, (c + 1) * plane), size = feature.slice(1);
      const subtotal = feature[0] > 1 ? make("span", { class: "soft" }, `sum ${long(part(products).reduce((a, b) => a + b, 0))}`) : null;
      made.push(make("div", { class: "equation scroll" },
        numbers(`patch${feature[0] > 1 ? `, channel ${c + 1}` : ""}`, part(patch), size, part(outside)), make("span", { class: "op" }, "×"),
        numbers("feature", part(weights), size), make("span", { class: "op" }, "="), numbers("products", part(products), size), subtotal));
    }
  };
  put(Array.from({ length: Math.min(PATCHES, feature[0]) }, (_, c) => c));
  const rest = make("div");
  if (feature[0] > PATCHES) {
    const more = make("button", { onclick: () => { made.length = 0; put(Array.from({ length: feature[0] - PATCHES }, (_, c) => c + PATCHES)); rest.replaceChildren(...made); } }, `${feature[0] - PATCHES} more channels`);
    rest.append(more);
  }
  return [...made, rest, result(sumText(map, cell, sum, value))];
}

/** Sum, division or bias, activation: in one line. */
function sumText(map, cell, sum, value) {
  let text = `sum of products ${long(sum)}`, total = sum;
  if (map.divisor) { total /= map.divisor; text += `, ÷ ${map.divisor} = ${long(total)}`; }
  if (map.bias) { const bias = map.bias.data[cell[0]]; total += bias; text += `, ${bias < 0 ? "−" : "+"} bias ${long(Math.abs(bias))} = ${long(total)}`; }
  if (map.activation) return `${text}, ${map.activation} → ${long(value)}`;
  const next = maps.filter((each) => each.reads.includes(map.number));
  if (next.length === 1 && next[0].kind === "activation") text += `; then ${next[0].function} → ${long(next[0].values[offset(map.shape, cell)])}`;
  return text;
}

function fullSum(map, output) {
  const read = maps[map.reads[0]].values;
  let sum = 0;
  for (let i = 0; i < read.length; i++) sum += read[i] * map.weight.data[output * read.length + i];
  return sum;
}

/** Numbers in a grid; volumes as their slices below each other. */
function numbers(caption, values, size, outside = []) {
  const width = size[size.length - 1] || 1, table = make("table", { class: "grid" }, make("caption", {}, caption));
  for (let i = 0; i < values.length; i += width) {
    const row = make("tr");
    for (let j = i; j < i + width; j++) row.append(make("td", outside[j] ? { class: "outside", title: "padding" } : {}, outside[j] ? "pad" : short(values[j])));
    table.append(row);
  }
  return table;
}

// ---- pools --------------------------------------------------------------------------------------------

function windowTable(map, read, cell) {
  const at = windowIndices(map, cell), width = inside(map.axes[map.axes.length - 1], cell[cell.length - 1]).length;
  const winner = map.kind === "max pool" ? winnerOf(read, at) : -1, best = read.values[at[winner]];
  const table = make("table", { class: "grid" }, make("caption", {}, `window over ${mapTitle(read)}`));
  for (let i = 0; i < at.length; i += width) {
    const row = make("tr");
    at.slice(i, i + width).forEach((k, j) => {
      const won = i + j === winner, tied = winner >= 0 && !won && read.values[k] === best;
      row.append(make("td", won ? { class: "winner" } : {}, short(read.values[k]) + (won ? " ★" : tied ? " ☆" : "")));
    });
    table.append(row);
  }
  return make("div", { class: "scroll" }, table);
}

/** Which element of a window wins: the first of the largest; one that is no number before all others. */
function winnerOf(read, at) {
  let best = 0;
  for (let i = 0; i < at.length; i++) {
    if (Number.isNaN(read.values[at[i]])) return i;
    if (read.values[at[i]] > read.values[at[best]]) best = i;
  }
  return best;
}

function winnerText(map, read, cell, value) {
  const at = windowIndices(map, cell), winner = winnerOf(read, at), best = read.values[at[winner]];
  const ties = at.filter((k) => read.values[k] === best).length;
  const size = map.axes.reduce((n, axis) => n * (axis[6] ? 1 : axis[2]), 1);
  const hangs = !map.axes[0][6] && at.length < size ? `; the window hangs over the edge and covers ${at.length} of ${size}` : "";
  const tied = ties > 1 ? `; ${ties} are tied (☆), the first in reading order wins` : "";
  return `winner ★ ${long(value)}, at ${inWords(read, placeOf(read.shape, at[winner]))}${tied}${hangs}`;
}

// ---- onwards ------------------------------------------------------------------------------------------

/** Links to what this cell is made from and what reads it, so that the way can be walked by keyboard. */
function readers(map, cell) {
  const line = make("p", { class: "soft" });
  if (map.number) {
    const back = fieldsOf(map.number, cell);
    line.append("Made from ");
    map.reads.forEach((read, i) => line.append(i ? ", " : "", linkTo(read, back.get(read) ? back.get(read).map((places) => places[Math.floor(places.length / 2)]) : maps[read].shape.map(() => 0))));
    line.append(". ");
  }
  const next = maps.filter((each) => each.reads.includes(map.number));
  if (next.length) {
    line.append("Goes on to ");
    next.forEach((each, i) => line.append(i ? ", " : "", linkTo(each.number, each.shape.length === cell.length && each.shape.every((size, axis) => cell[axis] < size) ? cell : each.shape.map(() => 0))));
    line.append(".");
  }
  return line;
}

const linkTo = (number, cell) => make("a", { href: `#map=${number}&cell=${cell.join(",")}&see=one` }, mapTitle(maps[number]));
