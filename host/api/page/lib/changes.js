// Which lines of two texts differ.

/** Where more than this many lines would have to change, a stretch is taken as replaced: the search grows with its square. */
const MOST = 1500;

/**
 * `[kind, x, y]` for each line of both, `kind` " " (in both), "-" (only in the first) or "+" (only in the second); `x` and `y`
 * are the places in the first and the second, from 0. Lines that occur once in each hold the two together, what lies
 * between is compared in itself: long texts with many changes take little time.
 */
export function changes(first, second) {
  const [one, two] = numbers(first, second);
  const out = [];
  // Stretches that are still to be compared, the next one last.
  const open = [[0, one.length, 0, two.length]];
  while (open.length) {
    let [a, aEnd, b, bEnd] = open.pop();
    while (a < aEnd && b < bEnd && one[a] === two[b]) out.push([" ", a++, b++]);
    let tail = 0;
    while (aEnd - tail > a && bEnd - tail > b && one[aEnd - tail - 1] === two[bEnd - tail - 1]) tail += 1;
    if (tail) {
      // The equal end is a stretch of its own, so that the order stays.
      open.push([aEnd - tail, aEnd, bEnd - tail, bEnd], [a, aEnd - tail, b, bEnd - tail]);
      continue;
    }
    if (a === aEnd || b === bEnd) {
      replace(a, aEnd, b, bEnd, out);
      continue;
    }
    const held = anchors(one, a, aEnd, two, b, bEnd);
    if (!held.length) {
      shortest(one, a, aEnd, two, b, bEnd, out);
      continue;
    }
    const pieces = [];
    for (const [x, y] of held) {
      pieces.push([a, x, b, y], [x, x + 1, y, y + 1]);
      [a, b] = [x + 1, y + 1];
    }
    pieces.push([a, aEnd, b, bEnd]);
    for (const piece of pieces.reverse()) open.push(piece);
  }
  return out;
}

function replace(a, aEnd, b, bEnd, out) {
  for (let at = a; at < aEnd; at += 1) out.push(["-", at, b]);
  for (let at = b; at < bEnd; at += 1) out.push(["+", aEnd, at]);
}

/** Each line as a number, equal ones the same. */
function numbers(...texts) {
  const known = new Map();
  return texts.map((lines) => lines.map((line) => {
    if (!known.has(line)) known.set(line, known.size);
    return known.get(line);
  }));
}

/** Pairs of lines that occur once on either side, in an order that both have. */
function anchors(one, a, aEnd, two, b, bEnd) {
  const seen = new Map();
  const note = (line, at, side) => {
    const entry = seen.get(line) ?? [0, 0, 0, 0];
    entry[side] += 1;
    entry[side + 2] = at;
    seen.set(line, entry);
  };
  for (let at = a; at < aEnd; at += 1) note(one[at], at, 0);
  for (let at = b; at < bEnd; at += 1) note(two[at], at, 1);
  const pairs = [...seen.values()].filter(([x, y]) => x === 1 && y === 1).map(([, , x, y]) => [x, y]).sort((p, q) => p[0] - q[0]);
  // The longest row of pairs that rises on both sides: the tops of piles, and behind which pair each was put.
  const piles = [];
  const before = new Map();
  for (const pair of pairs) {
    let [low, high] = [0, piles.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (piles[middle][1] < pair[1]) low = middle + 1;
      else high = middle;
    }
    before.set(pair, piles[low - 1]);
    piles[low] = pair;
  }
  const held = [];
  for (let pair = piles.at(-1); pair; pair = before.get(pair)) held.push(pair);
  return held.reverse();
}

/** The fewest changes (Myers 1986), forward; the furthest places of each round are kept to find the way back. */
function shortest(one, a, aEnd, two, b, bEnd, out) {
  const [n, m] = [aEnd - a, bEnd - b];
  const most = Math.min(n + m, MOST);
  const far = new Int32Array(2 * most + 3);
  const middle = most + 1;
  const rounds = [];
  for (let d = 0; d <= most; d += 1) {
    rounds.push(far.slice(middle - d - 1, middle + d + 2));
    for (let k = -d; k <= d; k += 2) {
      let x = k === -d || (k !== d && far[middle + k - 1] < far[middle + k + 1]) ? far[middle + k + 1] : far[middle + k - 1] + 1;
      while (x < n && x - k < m && one[a + x] === two[b + x - k]) x += 1;
      far[middle + k] = x;
      if (x >= n && x - k >= m) return walk(rounds, d, n, m, a, b, out);
    }
  }
  replace(a, aEnd, b, bEnd, out);
}

function walk(rounds, d, x, y, a, b, out) {
  const back = [];
  for (; d > 0; d -= 1) {
    const far = (k) => rounds[d][k + d + 1];
    const k = x - y;
    const down = k === -d || (k !== d && far(k - 1) < far(k + 1));
    const fromX = down ? far(k + 1) : far(k - 1);
    const fromY = fromX - (down ? k + 1 : k - 1);
    while (x > fromX && y > fromY) back.push([" ", a + --x, b + --y]);
    if (down) back.push(["+", a + x, b + --y]);
    else back.push(["-", a + --x, b + y]);
  }
  while (x > 0) back.push([" ", a + --x, b + --y]);
  for (const entry of back.reverse()) out.push(entry);
}
