// Mixers in JavaScript as targets of the judge, through the live door (docs/protocol.md). It needs Node and no packages.
//
//     marlspec check 'exec:node examples/live_mixer.js vdn' --role vdn_mixer
//     marlspec check 'exec:node examples/live_mixer.js qmix' --role qmix_mixer
//     marlspec check 'exec:node examples/live_mixer.js qmix-signed' --role qmix_mixer    (refuted: no magnitudes)
//     marlspec check 'exec:node examples/live_mixer.js vdn-average' --role vdn_mixer     (refuted: not the sum)

"use strict";
const readline = require("node:readline");

const WIDTH = 8; // hidden units of the QMIX mixer

const sum = (values) => values.reduce((total, value) => total + value, 0);
const elu = (x) => (x > 0 ? x : Math.expm1(x));

// Normal numbers from a seed: a small generator of uniform numbers (mulberry32), and Box and Muller's transform.
function normals(seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

// A linear layer as a function from a vector to a vector.
function linear(inputs, outputs, normal) {
  const rows = Array.from({ length: outputs }, () => Array.from({ length: inputs }, () => normal() / Math.sqrt(inputs)));
  const bias = Array.from({ length: outputs }, () => normal() / 2);
  return (x) => rows.map((row, k) => bias[k] + sum(row.map((weight, j) => weight * x[j])));
}

// QMIX: hypernetworks make the mixing parameters of each state; `sign` makes their weights non-negative.
function qmix({ n_agents: n, state_size: size }, seed, sign) {
  const normal = normals(seed);
  const [h1, b1, h2] = [n * WIDTH, WIDTH, WIDTH].map((outputs) => linear(size, outputs, normal));
  const [hidden, out] = [linear(size, WIDTH, normal), linear(WIDTH, 1, normal)];
  return (q, z) => {
    const [w1, w2] = [h1(z).map(sign), h2(z).map(sign)];
    const units = b1(z).map((bias, k) => elu(bias + sum(q.map((utility, i) => utility * w1[i * WIDTH + k]))));
    const [v] = out(hidden(z).map((unit) => Math.max(unit, 0)));
    return v + sum(units.map((unit, k) => unit * w2[k]));
  };
}

const MAKERS = {
  vdn: () => (q) => sum(q),
  "vdn-average": () => (q) => sum(q) / q.length,
  qmix: (sizes, seed) => qmix(sizes, seed, Math.abs),
  "qmix-signed": (sizes, seed) => qmix(sizes, seed, (weight) => weight),
};

const make = MAKERS[process.argv[2]];
if (!make) {
  console.error(`name one of ${Object.keys(MAKERS).join(", ")}`);
  process.exit(2);
}

const mixers = new Map(); // by the id of the hello that made them

function answer(request) {
  if (request.type === "hello") {
    mixers.set(request.id, make(request.sizes, request.seed));
    return { id: request.id, type: "ready", protocol: "marlspec.live/1" };
  }
  const [utilities, state] = request.arguments.map((argument) => argument.data);
  const mix = mixers.get(request.target);
  return { id: request.id, type: "result", value: utilities.map((q, row) => mix(q, state[row])).map(spelled) };
}

// JSON has no NaN and no infinity.
function spelled(number) {
  return Number.isFinite(number) ? number : String(number).replace("Infinity", "inf").toLowerCase();
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const request = JSON.parse(line);
  if (request.type === "bye") process.exit(0);
  process.stdout.write(JSON.stringify(answer(request)) + "\n");
});
