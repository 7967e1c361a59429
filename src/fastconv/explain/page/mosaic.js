// Maps drawn as tiles, one per channel, in a canvas that mouse, finger and keyboard can point into.

const GAP = 6, LINE = 128;

/** How a channel is laid out in rows and columns: long lines are folded, slices of volumes stand side by side. */
function tileOf(shape) {
  const sizes = shape.slice(1);
  if (sizes.length === 0) return { rows: 1, columns: 1, place: () => [], at: () => [0, 0] };
  if (sizes.length === 1 && sizes[0] > LINE) return {
    rows: Math.ceil(sizes[0] / LINE), columns: LINE, folded: true,
    place: (r, c) => (r * LINE + c < sizes[0] ? [r * LINE + c] : null), at: (p) => [Math.floor(p[0] / LINE), p[0] % LINE],
  };
  if (sizes.length === 1) return { rows: 1, columns: sizes[0], place: (r, c) => [c], at: (p) => [0, p[0]] };
  if (sizes.length === 2) return { rows: sizes[0], columns: sizes[1], place: (r, c) => [r, c], at: (p) => p };
  const [slices, rows, width] = sizes;
  return {
    rows, columns: slices * (width + 1) - 1,
    place: (r, c) => (c % (width + 1) === width ? null : [Math.floor(c / (width + 1)), r, c % (width + 1)]),
    at: (p) => [p[1], p[0] * (width + 1) + p[2]],
  };
}

function colour(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(name).trim().slice(1);
  const wide = text.length === 3 ? [...text].map((c) => c + c).join("") : text;
  return [0, 2, 4].map((i) => parseInt(wide.slice(i, i + 2), 16));
}

const css = ([r, g, b]) => `rgb(${r},${g},${b})`;

/** The colours for values up to `most` either way, as a function that fills three bytes. */
function palette(most) {
  const above = colour("--above"), below = colour("--below"), zero = colour("--zero");
  return (value, into, at) => {
    const part = Number.isFinite(value) ? Math.min(Math.abs(value) / (most || 1), 1) ** 0.8 : 1;
    const end = value < 0 ? below : above;
    for (let i = 0; i < 3; i++) into[at + i] = Number.isNaN(value) ? 128 : zero[i] + (end[i] - zero[i]) * part;
    into[at + 3] = 255;
  };
}

class Mosaic {
  /** told: shape, values, most(), label, and if wanted: target (width of a tile), channels, hover, pick, frame. */
  constructor(host, told) {
    Object.assign(this, { target: 104, largest: 40, hover: () => {}, pick: null, say: (cell) => "" }, told);
    this.host = host;
    this.tile = tileOf(this.shape);
    this.plane = count(this.shape.slice(1));
    this.spots = Int32Array.from({ length: this.plane }, (_, p) => { const [r, c] = this.tile.at(placeOf(this.shape.slice(1), p)); return r * this.tile.columns + c; });
    this.channels = this.channels || Array.from({ length: this.shape[0] }, (_, c) => c);
    this.canvas = make("canvas", { "aria-hidden": "true" });
    this.overlay = make("canvas", { "aria-hidden": "true" });
    this.box = make("div", { class: "mosaic" }, this.canvas, this.overlay);
    host.append(this.box);
    if (this.pick) this.listen();
    Mosaic.all.add(this);
    this.draw();
  }

  listen() {
    Object.entries({ tabindex: 0, role: "application", "aria-label": this.label }).forEach(([k, v]) => this.box.setAttribute(k, v));
    this.box.style.cursor = "crosshair";
    this.box.addEventListener("pointermove", (e) => { if (e.pointerType !== "touch") this.hover(this.under(e)); });
    this.box.addEventListener("pointerleave", () => this.hover(null));
    this.box.addEventListener("click", (e) => { const cell = this.under(e); if (cell) { this.cursor = cell; this.pick(cell); } });
    this.box.addEventListener("focus", () => { if (this.box.matches(":focus-visible")) this.hover(this.cursor || this.first()); });
    this.box.addEventListener("blur", () => this.hover(null));
    this.box.addEventListener("keydown", (e) => this.key(e));
  }

  first() { return [this.channels[0], ...this.shape.slice(1).map(() => 0)]; }

  key(event) {
    const cell = (this.cursor || this.first()).slice(), last = cell.length - 1;
    const move = (axis, by, size) => { cell[axis] = Math.min(Math.max(cell[axis] + by, 0), size - 1); };
    const channel = (by) => { const i = this.channels.indexOf(cell[0]) + by; cell[0] = this.channels[Math.min(Math.max(i, 0), this.channels.length - 1)]; };
    const across = last === 0 ? channel : (by) => move(last, by, this.shape[last]);
    const down = last >= 2 ? (by) => move(last - 1, by, this.shape[last - 1]) : channel;
    const keys = {
      ArrowLeft: () => across(-1), ArrowRight: () => across(1), ArrowUp: () => down(-1), ArrowDown: () => down(1),
      PageUp: () => (last === 3 && event.shiftKey ? move(1, -1, this.shape[1]) : channel(-1)),
      PageDown: () => (last === 3 && event.shiftKey ? move(1, 1, this.shape[1]) : channel(1)),
      Enter: () => this.pick(cell), " ": () => this.pick(cell),
    };
    if (!keys[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
    this.cursor = cell;
    this.hover(cell);
  }

  /** Sizes for the width there is. */
  layOut() {
    const room = Math.max(120, this.host.clientWidth || 320), { rows, columns, folded } = this.tile, line = this.shape.length === 2 && !folded;
    const wide = folded ? 2 * LINE : this.shape.length === 1 ? (this.channels.length <= 24 ? 36 : 22) : this.target;
    this.zoom = Math.max(1, Math.min(this.largest, Math.floor(Math.min(wide, room) / Math.max(rows, columns)), Math.floor(room / columns)));
    if (line) this.zoom = Math.max(2, Math.min(columns <= 24 && this.channels.length <= 24 ? 34 : 16, Math.floor(room / columns)));
    const roomy = 34 * columns * this.channels.length + GAP * (this.channels.length - 1);
    if (this.pick && !line && Math.max(rows, columns) <= 16 && roomy <= room) this.zoom = Math.max(this.zoom, 34);
    this.gap = line ? 1 : this.shape.length === 1 ? 2 : GAP;
    this.perRow = line ? 1 : Math.max(1, Math.floor((room + this.gap) / (columns * this.zoom + this.gap)));
    this.perRow = Math.min(this.perRow, this.channels.length);
    this.width = this.perRow * (columns * this.zoom + this.gap) - this.gap;
    this.height = Math.ceil(this.channels.length / this.perRow) * (rows * this.zoom + this.gap) - this.gap;
  }

  corner(i) {
    return [(i % this.perRow) * (this.tile.columns * this.zoom + this.gap), Math.floor(i / this.perRow) * (this.tile.rows * this.zoom + this.gap)];
  }

  draw() {
    this.layOut();
    const ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.overlay]) {
      canvas.width = Math.round((this.width + 2) * ratio);
      canvas.height = Math.round((this.height + 2) * ratio);
      canvas.style.width = `${this.width + 2}px`;
      canvas.style.height = `${this.height + 2}px`;
    }
    const pen = this.canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, ratio, ratio);
    pen.imageSmoothingEnabled = false;
    const paint = this.frame || palette(this.most()), { rows, columns } = this.tile, plane = this.plane;
    const image = new ImageData(columns, rows), small = make("canvas", { width: columns, height: rows });
    this.channels.forEach((channel, i) => {
      image.data.fill(0);
      for (let p = 0; p < plane; p++) paint(this.values[channel * plane + p], image.data, 4 * this.spots[p], p);
      small.getContext("2d").putImageData(image, 0, 0);
      const [x, y] = this.corner(i);
      pen.drawImage(small, x, y, columns * this.zoom, rows * this.zoom);
      pen.strokeStyle = css(colour("--gap"));
      pen.strokeRect(x - 0.5, y - 0.5, columns * this.zoom + 1, rows * this.zoom + 1);
      if (!this.frame) this.mark(pen, channel, x, y);
    });
    this.light(this.lit);
  }

  /** Signs, and numbers where there is room: nothing is said by colour alone. */
  mark(pen, channel, x, y) {
    if (this.zoom < 7) return;
    const { plane } = this, most = this.most();
    const number = this.zoom >= 30;
    const size = Math.min(14, this.zoom / 2.4), font = (px) => `${px}px system-ui, sans-serif`;
    this.whole ??= number && this.values.every((v) => Number.isInteger(v));
    pen.font = font(size);
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    const pixel = [0, 0, 0, 0], paint = palette(most);
    for (let p = 0; p < plane; p++) {
      const value = this.values[channel * plane + p], r = Math.floor(this.spots[p] / this.tile.columns), c = this.spots[p] % this.tile.columns;
      if (!number && !(value < 0)) continue;
      paint(value, pixel, 0);
      pen.fillStyle = 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2] > 140 ? "#000" : "#fff";
      const left = x + c * this.zoom, top = y + r * this.zoom;
      if (number) {
        const text = this.whole ? minus(value) : short(value), wide = pen.measureText(text).width;
        if (wide > this.zoom - 3) pen.font = font((size * (this.zoom - 3)) / wide);
        pen.fillText(text, left + this.zoom / 2, top + this.zoom / 2 + 1);
        pen.font = font(size);
      }
      else pen.fillRect(left + this.zoom * 0.3, top + this.zoom / 2 - 0.5, this.zoom * 0.4, 1);
    }
  }

  /** Outline the places of a field; null for none. */
  light(field) {
    this.lit = field;
    const ratio = window.devicePixelRatio || 1, pen = this.overlay.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, ratio, ratio);
    pen.clearRect(-2, -2, this.width + 4, this.height + 4);
    if (!field) return;
    const boxes = [];
    const channels = new Set(field[0]);
    this.channels.forEach((channel, i) => {
      if (!channels.has(channel)) return;
      const [x, y] = this.corner(i);
      for (const [top, left, rows, columns] of this.boxes(field.slice(1)))
        boxes.push([x + left * this.zoom, y + top * this.zoom, columns * this.zoom, rows * this.zoom]);
    });
    for (const [style, width] of [["--halo", 4], ["--mark", 2]]) {
      pen.strokeStyle = css(colour(style));
      pen.lineWidth = width;
      for (const [x, y, w, h] of boxes) pen.strokeRect(x + 0.5, y + 0.5, w - 1, h - 1);
    }
  }

  /** Runs of places along both axes, as rectangles of cells. */
  boxes(places) {
    const runs = (list) => {
      const found = [];
      for (const at of list) {
        if (found.length && found[found.length - 1][0] + found[found.length - 1][1] === at) found[found.length - 1][1]++;
        else found.push([at, 1]);
      }
      return found;
    };
    if (this.tile.folded) return runs(places[0]).flatMap(([first, n]) => {
      const found = [];
      for (let at = first; at < first + n; at += LINE - (at % LINE)) found.push([Math.floor(at / LINE), at % LINE, 1, Math.min(LINE - (at % LINE), first + n - at)]);
      return found;
    });
    const [slices, rows, columns] = [...[[0], [0], [0]].slice(places.length), ...places];
    const width = places.length === 3 ? this.shape[3] + 1 : 0;
    return slices.flatMap((s) => runs(rows).flatMap(([top, high]) => runs(columns).map(([left, wide]) => [top, s * width + left, high, wide])));
  }

  /** The cell under a pointer, or null. */
  under(event) {
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left - 1, y = event.clientY - box.top - 1, { rows, columns } = this.tile;
    const across = Math.floor(x / (columns * this.zoom + this.gap)), down = Math.floor(y / (rows * this.zoom + this.gap));
    const i = down * this.perRow + across;
    if (across < 0 || across >= this.perRow || down < 0 || i >= this.channels.length) return null;
    const [left, top] = this.corner(i);
    const c = Math.floor((x - left) / this.zoom), r = Math.floor((y - top) / this.zoom);
    if (r < 0 || c < 0 || r >= rows || c >= columns) return null;
    const place = this.tile.place(r, c);
    return place && [this.channels[i], ...place];
  }

  /** Where the middle of a cell is on the screen. */
  where(cell) {
    const box = this.canvas.getBoundingClientRect(), [x, y] = this.corner(this.channels.indexOf(cell[0]));
    const [r, c] = this.tile.at(cell.slice(1));
    return [box.left + 1 + x + (c + 0.5) * this.zoom, box.top + 1 + y + (r + 0.5) * this.zoom];
  }

  remove() { Mosaic.all.delete(this); this.box.remove(); }
}
Mosaic.all = new Set();

/** A strip of colours with its range in numbers. */
function drawScale(host, most) {
  const canvas = make("canvas", { width: 120, height: 14, "aria-hidden": "true" });
  const image = new ImageData(120, 14), paint = palette(most);
  for (let y = 0; y < 14; y++) for (let x = 0; x < 120; x++) paint(((x - 59.5) / 59.5) * most, image.data, 4 * (y * 120 + x));
  canvas.getContext("2d").putImageData(image, 0, 0);
  host.replaceChildren(make("span", {}, short(-most)), canvas, make("span", {}, short(most)), make("span", { class: "soft" }, "a bar in a cell: below 0"));
}

const largest = (values) => { let most = 0; for (const v of values) if (Number.isFinite(v)) most = Math.max(most, Math.abs(v)); return most || 1; };
