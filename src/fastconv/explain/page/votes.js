// Votes: which value voted for what, with which weight; and softmax.

const TOP = 12;

function drawVotes() {
  const host = byId("voting"), votes = votesAt.values;
  const pick = choice("for", classes.map((name, k) => [k, name]), state.vote, (k) => change({ vote: Number(k) }));
  host.replaceChildren(voteBars(votes), make("div", { class: "controls" }, make("h3", {}, "Who voted"), pick));
  if (votesAt.kind === "full" && votesAt.weight && maps[votesAt.reads[0]].shape.length === 1) {
    host.append(voters(votesAt, state.vote, TOP));
    host.append(result(sumText(votesAt, [state.vote], fullSum(votesAt, state.vote), votes[state.vote])));
  } else host.append(make("p", { class: "soft" }, `The votes are made by ${mapTitle(votesAt)}, not by a fully connected layer whose weights are in this page.`));
  host.append(make("h3", {}, "Softmax: votes as probabilities"), softmaxTable(votes));
}

/** Rows of name, bar and text; bars of numbers below zero go to the left and are hatched. */
function bars(rows, most) {
  const signed = rows.some((row) => row[1] < 0), room = signed ? 50 : 100;
  const made = make("div", { class: signed ? "bars signed" : "bars", role: "list" });
  for (const [name, value, text, won] of rows) {
    const length = `${Math.min(room, (Math.abs(value) / (most || 1)) * room)}%`;
    made.append(
      make("span", { class: won ? "name won" : "name", role: "listitem" }, name),
      make("span", { class: "track", "aria-hidden": "true" }, value === 0 ? null : make("span", { class: value < 0 ? "down" : "up", style: `width:${length}` })),
      make("span", { class: won ? "won" : "" }, text));
  }
  return made;
}

function voteBars(votes, limit = 20) {
  const order = Array.from(votes.keys()).sort((a, b) => votes[b] - votes[a]), most = largest(votes);
  const shown = classes.length > limit ? order.slice(0, limit) : Array.from(votes.keys());
  return bars(shown.map((k) => [classes[k] + (k === order[0] ? " ✓" : ""), votes[k], long(votes[k]), k === order[0]]), most);
}

/** The inputs of a full layer with their votes for one output, the largest either way first. */
function voters(map, output, shown) {
  const read = maps[map.reads[0]], size = read.values.length, votes = Array.from(read.values, (v, i) => v * map.weight.data[output * size + i]);
  const order = votes.map((_, i) => i).sort((a, b) => Math.abs(votes[b]) - Math.abs(votes[a]) || a - b);
  const most = largest(votes), box = make("div");
  const put = (n) => {
    const rows = order.slice(0, n).map((i) => [voterName(read, i), votes[i], `${long(read.values[i])} × ${short(map.weight.data[output * size + i])} = ${long(votes[i])}`]);
    box.replaceChildren(bars(rows, most));
    const rest = order.slice(n);
    if (rest.length) box.append(make("p", {}, `${rest.length} others together: ${long(rest.reduce((s, i) => s + votes[i], 0))} `, make("button", { onclick: () => put(n + 48) }, "more")));
  };
  put(shown);
  return box;
}

/** Where a flattened value comes from. */
function voterName(read, index) {
  if (read.kind !== "flatten") return `value ${index + 1}`;
  const before = maps[read.reads[0]];
  return inWords(before, placeOf(before.shape, index));
}

function softmaxTable(votes) {
  const { powers, sum, parts } = softmax(votes), most = Math.max(...votes);
  const order = Array.from(votes.keys()).sort((a, b) => votes[b] - votes[a]).slice(0, 20);
  const table = make("table", { class: "list" }, make("tr", {}, ...["class", "vote", `exp(vote − ${short(most)})`, `÷ ${sum.toPrecision(5)}`].map((t) => make("th", {}, t))));
  for (const k of order) table.append(make("tr", {}, make("td", {}, classes[k]), make("td", {}, long(votes[k])), make("td", {}, powers[k].toPrecision(4)), make("td", {}, parts[k].toFixed(4))));
  return make("div", { class: "scroll" }, table);
}
