// How a model is asked for a picture. Nothing here knows the page.
import {normal} from './noise.js';
import {guided, pixels, sampled} from './sampler.js';

/**
 * The pixels, 0..255, of a picture of a seed: the `number`-th, and of a class where there are such. `ask` gives what the network says, a
 * Float32Array, of its inputs by name; `shapes` are theirs, and `sampler` is sampler.json.
 */
export async function made(ask, shapes, sampler, seed, number, label) {
  const size = shapes.noise.slice(1).reduce((one, other) => one * other, 1);
  const noise = normal(seed, (number + 1) * size).slice(number * size);
  const condition = shapes.condition && new Float32Array(shapes.condition[1]);
  const asked = condition && condition.slice();
  if (asked) asked[label] = 1;
  if (sampler.kind !== 'diffusion') return Uint8ClampedArray.from(await ask(asked ? {noise, condition: asked} : {noise}));
  const say = (x, step, towards) => ask({noise: x, step: Float32Array.of(step), ...(towards && {condition: towards})});
  const denoise = async (x, step) => {
    const answer = await say(x, step, asked);
    return asked && sampler.guidance !== 1 ? guided(answer, await say(x, step, condition), sampler.guidance) : answer;
  };
  return pixels(await sampled(denoise, noise, sampler.table, sampler.target));
}
