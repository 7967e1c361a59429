// Receptive fields: which places of every earlier map a cell depends on; per axis a sorted list.

/** The places of a window along one axis, those outside too. */
function windowOf(axis, place) {
  const [size, made, kernel, stride, before, dilation, adaptive] = axis;
  if (adaptive) {
    const first = Math.floor((place * size) / made), last = Math.ceil(((place + 1) * size) / made);
    return Array.from({ length: last - first }, (_, i) => first + i);
  }
  return Array.from({ length: kernel }, (_, i) => place * stride - before + i * dilation);
}

const inside = (axis, place) => windowOf(axis, place).filter((at) => at >= 0 && at < axis[0]);
const united = (lists) => [...new Set(lists.flat())].sort((a, b) => a - b);
const whole = (shape) => shape.map((size) => Array.from({ length: size }, (_, i) => i));

/** By number of the map, what a cell depends on: its own place first. */
function fieldsOf(number, cell) {
  const found = new Map([[number, cell.map((place) => [place])]]);
  for (let k = number; k > 0; k--) {
    if (!found.has(k)) continue;
    const map = maps[k];
    fieldBack(map, found.get(k)).forEach((field, i) => {
      if (field.some((places) => !places.length)) return;
      const read = map.reads[i], known = found.get(read);
      found.set(read, known ? known.map((places, axis) => united([places, field[axis]])) : field);
    });
  }
  return found;
}

function fieldBack(map, field) {
  const shapes = map.reads.map((read) => maps[read].shape), shape = shapes[0];
  if (map.axes) {
    const spatial = map.axes.map((axis, i) => united(field[i + 1].map((place) => inside(axis, place))));
    return [[channelsBack(map, field[0], shape[0]), ...spatial]];
  }
  if (["activation", "norm", "affine", "identity"].includes(map.kind)) return [field];
  if (map.kind === "add") return shapes.map((each) => each.map((size, i) => (size === 1 ? [0] : field[i + field.length - each.length])));
  if (map.kind === "join") {
    let first = 0;
    return shapes.map((each) => {
      const own = field[0].filter((c) => c >= first && c < first + each[0]).map((c) => c - first);
      first += each[0];
      return [own, ...field.slice(1)];
    });
  }
  if (map.kind === "flatten" && map.shape.length === 1) {
    const places = field[0].map((index) => placeOf(shape, index));
    return [shape.map((_, axis) => united(places.map((place) => [place[axis]])))];
  }
  return shapes.map(whole);
}

function channelsBack(map, places, channels) {
  if (map.kind !== "conv") return places;
  const own = channels / map.groups, made = map.shape[0] / map.groups;
  return united(places.map((c) => Array.from({ length: own }, (_, i) => Math.floor(c / made) * own + i)));
}
