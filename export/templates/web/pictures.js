// How a model is asked for a picture. Nothing here knows the page.
import {normal} from './noise.js';
import {guided, pixels, sampled} from './sampler.js';

/**
 * The pixels, 0..255, of a picture of a seed: the `number`-th, and of a class where there are such. `ask` gives what the network says, a
 * Float32Array, of its inputs by name; `inputs` describes them, and `sampler` is sampler.json.
 */
export async function made(ask, inputs, sampler, seed, number, label) {
  const noise = drawn(inputs.noise.shape, seed, number);
  const condition = inputs.condition && new Float32Array(inputs.condition.shape[1]);
  const asked = condition && condition.slice();
  if (asked) asked[label] = 1;
  if (!inputs.step) return Uint8ClampedArray.from(await ask(asked ? {noise, condition: asked} : {noise}));
  const say = (x, step, towards) => ask({noise: x, step: Float32Array.of(step), ...(towards && {condition: towards})});
  const denoise = async (x, step) => {
    const answer = await say(x, step, asked);
    return asked && sampler.guidance !== 1 ? guided(answer, await say(x, step, condition), sampler.guidance) : answer;
  };
  return pixels(await sampled(denoise, noise, sampler.table, sampler.target));
}

/**
 * The same of a text: `tokens` are its numbers, and zeros ask for nothing. `ask` gives what one of the file's signatures says of its inputs, and
 * `shape` is that of the noise.
 */
export async function madeByText(ask, shape, sampler, seed, number, tokens) {
  const encoded = (numbers) => ask({tokens: Int32Array.from(numbers)}, 'encode_text');
  const asked = await encoded(tokens), without = sampler.guidance === 1 ? asked : await encoded(tokens.map(() => 0));
  const say = (x, step, condition) => ask({noise: x, step: Float32Array.of(step), condition}, 'denoise');
  const denoise = async (x, step) => {
    const answer = await say(x, step, asked);
    return sampler.guidance === 1 ? answer : guided(answer, await say(x, step, without), sampler.guidance);
  };
  const latent = await sampled(denoise, drawn(shape, seed, number), sampler.table, sampler.target, sampler.most);
  return Uint8ClampedArray.from(await ask({noise: latent}, 'decode'));
}

/** The noise of the `number`-th picture of a seed. */
function drawn(shape, seed, number) {
  const size = shape.slice(1).reduce((one, other) => one * other, 1);
  return normal(seed, (number + 1) * size).slice(number * size);
}

/** Numbers as an input stores them: as they are, or a Uint8Array where it stores real numbers as integers. */
export function stored(values, {dtype, scale, zero}) {
  if (dtype === 'float32' || dtype === 'int32') return values;
  return Uint8Array.from(values, (value) => Math.min(255, Math.max(0, even(Math.fround(value / scale)) + zero)));
}

/** What the numbers that an output stores stand for, a Float32Array. */
export function real(values, {dtype, scale, zero}) {
  return Float32Array.from(values, (value) => (dtype === 'float32' ? value : (value - zero) * scale));
}

/** The nearest whole number; halves go to the even neighbour, as elsewhere. */
function even(value) {
  const below = Math.floor(value), rest = value - below;
  return rest < 0.5 || (rest === 0.5 && below % 2 === 0) ? below : below + 1;
}
