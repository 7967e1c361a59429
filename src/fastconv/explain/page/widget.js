// Padding, stride and dilation tried on the picture itself.

const knobs = { kernel: 3, stride: 1, padding: 0, dilation: 1 };
let widgetMosaics = [];

function drawWidget() {
  const host = byId("widget"), map = maps[0];
  if (map.shape.length !== 3) { host.replaceChildren(make("p", {}, "The input is no picture.")); return; }
  widgetMosaics.forEach((each) => each.remove());
  widgetMosaics = [];
  const [channels, height, width] = map.shape, { kernel, stride, padding, dilation } = knobs, span = (kernel - 1) * dilation + 1;
  const sizes = [height, width].map((size) => Math.floor((size + 2 * padding - span) / stride) + 1);
  const inputs = Object.keys(knobs).map((name) => make("label", {}, name, make("input", { type: "number", min: name === "padding" ? 0 : 1, max: Math.max(height, width), value: knobs[name], onchange: (e) => {
    knobs[name] = Math.min(Math.max(Math.round(Number(e.target.value)) || 0, name === "padding" ? 0 : 1), Math.max(height, width));
    drawWidget();
  } })));
  const formula = `(${height} + 2 × ${padding} − ${span}) ÷ ${stride}, rounded down, + 1 = ${sizes[0]}`;
  const text = make("p", { class: "result", "data-widget": "" }, `a window spans ${span}: ${formula} rows${height === width ? " and columns" : `, ${sizes[1]} columns`}`);
  const left = make("div", { class: "grow" }), right = make("div", { class: "grow" });
  host.replaceChildren(make("p", {}, "Each output is the mean of the pixels under its window; zeros stand in the padding. Point at an output to see its window."),
    make("div", { class: "controls" }, ...inputs), text, make("div", { class: "side" }, left, right));
  if (Math.min(...sizes) < 1) { text.textContent = `a window spans ${span}, more than the picture and its padding: nothing comes out`; return; }
  const framed = [1, height + 2 * padding, width + 2 * padding], values = new Float32Array(count(framed));
  for (let r = 0; r < height; r++) for (let c = 0; c < width; c++) {
    let sum = 0;
    for (let k = 0; k < channels; k++) sum += map.values[(k * height + r) * width + c];
    values[(r + padding) * framed[2] + c + padding] = sum / channels;
  }
  const taps = (place) => Array.from({ length: kernel }, (_, i) => place * stride + i * dilation);
  const made = new Float32Array(sizes[0] * sizes[1]);
  for (let r = 0; r < sizes[0]; r++) for (let c = 0; c < sizes[1]; c++) {
    let sum = 0;
    for (const y of taps(r)) for (const x of taps(c)) sum += values[y * framed[2] + x];
    made[r * sizes[1] + c] = sum / (kernel * kernel);
  }
  left.append(make("h3", {}, `the picture${padding ? " with its padding" : ""}, ${framed[1]} × ${framed[2]}`));
  right.append(make("h3", {}, `what comes out, ${sizes[0]} × ${sizes[1]}`));
  const source = new Mosaic(left, { shape: framed, values, most: () => commonScale, target: 300 });
  const show = (cell) => {
    if (!cell) return;
    source.light([[0], taps(cell[1]), taps(cell[2])]);
    output.light([[0], [cell[1]], [cell[2]]]);
  };
  const output = new Mosaic(right, { shape: [1, ...sizes], values: made, most: () => commonScale, target: 300, label: "What comes out. Arrows move.", hover: show, pick: show });
  widgetMosaics = [source, output];
  show([0, Math.floor(sizes[0] / 2), Math.floor(sizes[1] / 2)]);
}
