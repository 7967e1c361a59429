"use strict";
// Arrays out of the page's JSON, numbers as text, and small helpers for the document.

const content = JSON.parse(document.getElementById("content").textContent);

function unpack(packed) {
  if (!packed) return null;
  const text = atob(packed.b), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const data = packed.t === "h" ? fromHalf(new Uint16Array(bytes.buffer)) : new Float32Array(bytes.buffer);
  return { shape: packed.s, data };
}

function fromHalf(words) {
  const made = new Float32Array(words.length);
  for (let i = 0; i < words.length; i++) {
    const w = words[i], exponent = (w >> 10) & 31, fraction = w & 1023, sign = w & 0x8000 ? -1 : 1;
    if (exponent === 0) made[i] = sign * fraction * 2 ** -24;
    else if (exponent === 31) made[i] = fraction ? NaN : sign * Infinity;
    else made[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return made;
}

/** A number in few characters: two decimals, cut off, where the network counts in ninths. */
function short(value) {
  if (!Number.isFinite(value)) return String(value);
  if (content.ninths) {
    const hundredths = Math.trunc(Math.abs(value) * 100 + 1e-5);
    const text = `${Math.trunc(hundredths / 100)}.${String(hundredths % 100).padStart(2, "0")}`;
    return (value < 0 && hundredths ? "−" : "") + text;
  }
  const size = Math.abs(value);
  const text = size === 0 ? "0" : size >= 1e5 || size < 1e-3 ? size.toExponential(1) : size >= 100 ? size.toFixed(0) : size.toPrecision(3);
  return (value < 0 ? "−" : "") + text;
}

/** A number with all that is to be said: as a fraction where the network counts in ninths. */
function long(value) {
  if (!Number.isFinite(value)) return String(value);
  if (content.ninths) {
    for (const below of [1, 9, 36, 45]) {
      const above = Math.round(value * below);
      if (Math.abs(value * below - above) > 1e-4) continue;
      const shared = below === 9 ? 1 : divisor(above, below);
      return (below === 1 ? "" : `${minus(above / shared)}/${below / shared} = `) + short(value);
    }
    return short(value);
  }
  return minus(Number(value.toPrecision(6)));
}

const divisor = (a, b) => (b ? divisor(b, a % b) : Math.abs(a));
const minus = (number) => String(number).replace("-", "−");
const thousands = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, " ");

/** An element with attributes and children; text is always text. */
function make(tag, told = {}, ...inside) {
  const svg = ["svg", "path", "line", "circle", "rect", "text", "g"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(told)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...inside.flat().filter((each) => each !== null && each !== undefined));
  return made;
}

const byId = (id) => document.getElementById(id);

function choice(label, options, chosen, change) {
  const select = make("select", { onchange: () => change(select.value) });
  for (const [value, text] of options) select.append(make("option", { value, selected: String(value) === String(chosen) }, text));
  return make("label", {}, label, select);
}

// ---- the net ------------------------------------------------------------------------------------------

const maps = content.maps.map((told, number) => {
  const values = unpack(told.values);
  return {
    ...told, number, shape: values.shape, values: values.data,
    weight: unpack(told.weight), bias: unpack(told.bias), factor: unpack(told.factor), shift: unpack(told.shift),
  };
});
const classes = content.classes;
const votesAt = maps[content.voteMap];

const strides = (shape) => shape.map((_, i) => shape.slice(i + 1).reduce((a, b) => a * b, 1));
const offset = (shape, place) => strides(shape).reduce((sum, step, i) => sum + step * place[i], 0);
const count = (shape) => shape.reduce((a, b) => a * b, 1);
function placeOf(shape, index) {
  return strides(shape).map((step) => { const at = Math.floor(index / step); index -= at * step; return at; });
}

/** A cell in words: "feature 2, row 1, column 3", counted from 1. */
function inWords(map, place) {
  const first = map.kind === "input" ? (map.shape[0] > 1 ? `channel ${place[0] + 1}` : "") : map.shape.length === 1 ? `value ${place[0] + 1}` : `feature ${place[0] + 1}`;
  const names = { 1: ["place"], 2: ["row", "column"], 3: ["slice", "row", "column"] }[map.shape.length - 1] || [];
  return [first, ...names.map((name, i) => `${name} ${place[i + 1] + 1}`)].filter(Boolean).join(", ");
}

const shapeText = (shape) => shape.join(" × ");
const mapTitle = (map) => (map.number ? `${map.number} ${map.title}` : "input");
