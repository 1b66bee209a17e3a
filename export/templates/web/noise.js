// The noise of a seed: the numbers that pictures are made of, the same in Python, Kotlin, Swift and here.
// It does what code/python/noise.py does, line by line.

const MULTIPLIERS = [0xD2511F53n, 0xCD9E8D57n], WEYL = [0x9E3779B9, 0xBB67AE85], ROUNDS = 10, MASK = 0xFFFFFFFFn;
/** What TensorFlow scrambles a seed with before it is a key. */
const SCRAMBLER = [0x3EC8F720, 0x02461E29];
/** The smallest number whose logarithm is taken. */
const LEAST = Math.fround(1e-7), TURN = Math.fround(2 * Math.PI);

/** Normal numbers of a seed, a Float32Array, within 5e-6 of what Python draws; fewer numbers are the first ones of more. */
export function normal(seed, count) {
  const bits = words(seed, count + count % 2), result = new Float32Array(count);
  for (let at = 0; at < count; at += 2) {
    const radius = Math.fround(Math.sqrt(Math.fround(-2 * Math.fround(Math.log(Math.max(share(bits[at]), LEAST))))));
    const angle = Math.fround(TURN * share(bits[at + 1]));
    result[at] = Math.fround(Math.sin(angle)) * radius;
    if (at + 1 < count) result[at + 1] = Math.fround(Math.cos(angle)) * radius;
  }
  return result;
}

/** Random words of 32 bits of a seed, 0 to 2 ** 63 - 1, a Uint32Array. */
export function words(seed, count) {
  const whole = BigInt(seed), result = new Uint32Array(count);
  const mixed = philox([Number(whole & MASK), Number(whole >> 32n), 0, 0], SCRAMBLER);
  for (let block = 0; 4 * block < count; block++) {
    const four = philox([block, 0, mixed[2], mixed[3]], [mixed[0], mixed[1]]);
    for (let at = 0; at < 4 && 4 * block + at < count; at++) result[4 * block + at] = four[at];
  }
  return result;
}

/** Four random words for a counter: Philox4x32-10 (Salmon et al., 2011). */
export function philox(counter, key) {
  let numbers = counter, keys = key;
  for (let round = 0; round < ROUNDS; round++) {
    const first = BigInt(numbers[0]) * MULTIPLIERS[0], second = BigInt(numbers[2]) * MULTIPLIERS[1];
    numbers = [(Number(second >> 32n) ^ numbers[1] ^ keys[0]) >>> 0, Number(second & MASK),
               (Number(first >> 32n) ^ numbers[3] ^ keys[1]) >>> 0, Number(first & MASK)];
    keys = keys.map((one, at) => (one + WEYL[at]) >>> 0);
  }
  return numbers;
}

/** A word as a number of 0 to 1, of its last 23 bits. */
function share(word) {
  return (word & 0x7FFFFF) / 0x800000;
}
