// Pictures out of noise, step by step: the sampler of a diffusion model.
// It does what `sampled` of code/python/diffusion.py does, line by line.

/**
 * A picture, -1..1, or a latent, of noise. `table` has a row for each step: its number, the shares of image and noise, and how much of the noisy image, of the
 * image, and of the image of the step before there is in the next. `target` is what the network says of a noisy image, and `most` what a
 * number of the image is at most, and less what at least.
 */
export async function sampled(denoise, noise, table, target, most = 1) {
  let x = Float32Array.from(noise), last = new Float32Array(noise.length);
  for (const [step, signals, noises, keep, share, before] of table) {
    const said = await denoise(x, step), now = x, old = last;
    const image = now.map((value, at) => Math.min(most, Math.max(-most, imageOf(said[at], value, signals, noises, target))));
    x = now.map((value, at) => keep * value + share * image[at] + before * old[at]);
    last = image;
  }
  return x;
}

/** What is said of a noisy image by what a network says with a class, or a text, and without one (Ho & Salimans, 2022). */
export function guided(withClass, without, guidance) {
  return withClass.map((value, at) => without[at] + guidance * (value - without[at]));
}

/** The pixels of a picture, 0..255, out of -1..1; halves go to the even neighbour, as elsewhere. */
export function pixels(picture) {
  return Uint8ClampedArray.from(picture, (value) => 127.5 * (value + 1));
}

function imageOf(said, x, signals, noises, target) {
  if (target === 'velocity') return signals * x - noises * said;
  return target === 'image' ? said : (x - noises * said) / Math.max(signals, 1e-6);
}
