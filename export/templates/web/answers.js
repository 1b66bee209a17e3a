// What is made of the numbers that a model gives. Nothing here knows the page.

/** The probabilities of classes out of their logits. */
export function probabilities(logits) {
  const largest = Math.max(...logits), scores = Array.from(logits, (logit) => Math.exp(logit - largest)), sum = scores.reduce((a, b) => a + b);
  return scores.map((score) => score / sum);
}

/** The class of each pixel out of its logits, `count` of them; of a single one, whether it is above 0. */
export function classes(logits, count) {
  const mask = new Uint8Array(logits.length / count);
  for (let pixel = 0; pixel < mask.length; pixel++) {
    if (count === 1) mask[pixel] = logits[pixel] > 0 ? 1 : 0;
    else for (let number = 1; number < count; number++) if (logits[pixel * count + number] > logits[pixel * count + mask[pixel]]) mask[pixel] = number;
  }
  return mask;
}

/**
 * The boxes that are found, the best first: of those of one class that overlap more than `iou` the best alone, `most` at most.
 * `location` has centre y, centre x, height and width of each place as shares of the image, `score` one number for each of `count` classes.
 */
export function boxes(location, score, count, {iou, most, threshold}) {
  const all = [];
  for (let index = 0; index < score.length; index++) {
    if (score[index] < threshold) continue;
    const [y, x, height, width] = location.slice(4 * Math.floor(index / count), 4 * Math.floor(index / count) + 4);
    all.push({number: index % count, score: score[index], top: y - height / 2, left: x - width / 2, bottom: y + height / 2, right: x + width / 2});
  }
  all.sort((one, other) => other.score - one.score);
  const kept = [];
  for (const one of all) {
    if (kept.length === most) break;
    if (!kept.some((other) => other.number === one.number && overlap(other, one) > iou)) kept.push(one);
  }
  return kept;
}

/** The intersection of two boxes over their union. */
export function overlap(one, other) {
  const down = Math.max(0, Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top));
  const across = Math.max(0, Math.min(one.right, other.right) - Math.max(one.left, other.left));
  const area = ({top, left, bottom, right}) => (bottom - top) * (right - left), union = area(one) + area(other) - down * across;
  return union > 0 ? down * across / union : 0;
}
