// Cuts text into tokens, as the model of this bundle was trained to: tokenizer.json says how.
// It does what code/python/tokenizer.py does, line by line.

/** What a character is to words: it stands between them, is part of one, or is a word alone; and what white space is to words of the kind byte_bpe. */
const APART = 0, PART = 1, ALONE = 2, WHITE = 3;
const PADDING = 0, UNKNOWN = 1, START = 2, END = 3;
/** What these are called in the vocabulary; no text has them, whatever is written in it. */
const SPECIAL = ['<PAD>', '<UNKNOWN>', '<START>', '<END>'];
const REPLACEMENT = 0xFFFD, MARK = 0x2581, SPACES = ' \t\n\v\f\r';
/** The characters of words of the kind regex, which are MediaPipe's. */
const WORDS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz'";
/** A character that is no piece counts as so much less likely than the rarest piece. */
const PENALTY = 10;
/** What follows an apostrophe in a word of its own. */
const ENDINGS = ['s', 't', 're', 've', 'm', 'll', 'd'];
/** Bytes by the numbers of their tokens: those that are seen come first. */
const range = (first, end) => Array.from({length: end - first}, (_, at) => first + at);
const SEEN = [...range(0x21, 0x7F), ...range(0xA1, 0xAD), ...range(0xAE, 0x100)];
const BYTES = [...SEEN, ...range(0, 256).filter((byte) => !SEEN.includes(byte))];

/** The tokenizer of a model; `said` is the content of tokenizer.json. Words are arrays of code points. */
export class Tokenizer {
  constructor(said) {
    Object.assign(this, {kind: said.kind, lower: said.lower, length: said.length, ends: said.ends});
    this.most = this.length * (said.characters_per_token ?? 1);
    this.longest = said.longest ?? 0;
    this.inside = said.inside ?? '';
    const {starts, kinds, capitals, small} = said.characters, scores = said.scores ?? [];
    Object.assign(this, {starts, kinds, small: new Map(capitals.map((point, at) => [point, small[at]]))});
    const named = said.vocabulary.map((name, number) => [name, number]);
    this.numbers = new Map(named.filter(([name, number]) => number > END || !SPECIAL.includes(name)));
    const special = said.vocabulary.length - scores.length;
    this.scores = new Map(scores.map((score, number) => [special + number, score]));
    this.classStarts = said.classes?.starts ?? [0];
    this.classes = said.classes?.kinds ?? [0];
    const {left, right} = said.merges ?? {left: [], right: []};
    this.merges = new Map(left.map((one, number) => [`${one} ${right[number]}`, BYTES.length + number]));
    this.firstByte = said.vocabulary.length - BYTES.length - this.merges.size;
    this.unknownScore = scores.length ? Math.fround(scores.reduce((one, other) => Math.min(one, other)) - PENALTY) : 0;
  }

  /** A text's tokens, an array filled up to the model's length. */
  tokens(text) {
    let numbers = this.#numbers(this.#points(text)).slice(0, this.length - 2 * this.ends);
    if (this.ends) numbers = [START, ...numbers, END];
    return [...numbers, ...Array(this.length - numbers.length).fill(PADDING)];
  }

  /** Whether the model has learnt a word of a text. */
  knows(text) {
    const own = new Set(this.numbers.values());
    return this.tokens(text).some((number) => own.has(number));
  }

  #numbers(points) {
    const of = (word) => this.numbers.get(string(word)) ?? UNKNOWN;
    if (this.kind === 'character') return points.map((point) => of([point]));
    if (['word', 'regex', 'whitespace'].includes(this.kind)) return this.#words(points).map(of);
    if (this.kind === 'wordpiece') return this.#words(points).flatMap((word) => this.#longestFirst(word));
    if (this.kind === 'byte_bpe') return this.#runs(points).flatMap((word) => this.#inPairs(new TextEncoder().encode(string(word))));
    const numbers = this.#spaced(points).flatMap((word) => (this.kind === 'bpe' ? this.#merged(word) : this.#likeliest(word)));
    return numbers.filter((number, at) => number !== UNKNOWN || numbers[at - 1] !== UNKNOWN);
  }

  /** The characters that are looked at, without capitals where these do not count. */
  #points(text) {
    const points = Array.from(text).slice(0, this.most).map((character) => character.codePointAt(0)).map((point) => (point >= 0xD800 && point < 0xE000 ? REPLACEMENT : point));
    return this.lower ? points.map((point) => this.small.get(point) ?? point) : points;
  }

  #kind(point) {
    if (this.kind === 'regex') return WORDS.includes(string([point])) ? PART : APART;
    if (this.kind === 'whitespace') return SPACES.includes(string([point])) ? APART : PART;
    return point === REPLACEMENT ? APART : this.kinds[runOf(point, this.starts)];
  }

  /** Runs of letters, marks and digits, and every other character that is not white space. */
  #words(points) {
    const words = [];
    let before = APART;
    for (const point of points) {
      const kind = this.#kind(point);
      if (kind === ALONE || (kind === PART && before !== PART)) words.push([point]);
      else if (kind === PART) words.at(-1).push(point);
      before = kind;
    }
    return words;
  }

  /** What stands between white space, each behind a mark. */
  #spaced(points) {
    const words = [];
    let apart = true;
    for (const point of points) {
      if (this.#kind(point) === APART || point === MARK) {
        apart = true;
        continue;
      }
      if (apart) words.push([MARK]);
      words.at(-1).push(point);
      apart = false;
    }
    return words;
  }

  /** The words of GPT-2: runs of one class with the space before them; of white space the last one is not in a word with the others. */
  #runs(points) {
    const classes = points.map((point) => this.classes[runOf(point, this.classStarts)]), words = [];
    let start = 0;
    while (start < points.length) {
      const here = string(points.slice(start, start + 3)), ending = ENDINGS.find((one) => here.startsWith(`'${one}`));
      const first = points[start] === 0x20 && start + 1 < points.length && classes[start + 1] !== WHITE ? start + 1 : start;
      let end = first;
      while (end < points.length && classes[end] === classes[first]) end++;
      if (ending) end = start + 1 + ending.length;
      else if (classes[first] === WHITE && end < points.length && end - start > 1) end--;
      words.push(points.slice(start, end));
      start = end;
    }
    return words;
  }

  /** The tokens of a word: of all neighbours the pair that was learnt first becomes one, again and again. */
  #inPairs(word) {
    const numbers = Array.from(word, (byte) => BYTES.indexOf(byte));
    for (;;) {
      const pairs = numbers.slice(1).map((right, at) => this.merges.get(`${numbers[at]} ${right}`) ?? Infinity), best = Math.min(...pairs);
      if (best === Infinity) return numbers.map((number) => this.firstByte + number);
      numbers.splice(pairs.indexOf(best), 2, best);
    }
  }

  /** The number of the piece of so many characters, or undefined. */
  #number(word, start, size, before = '') {
    if (size > this.longest || start + size > word.length) return undefined;
    return this.numbers.get(before + string(word.slice(start, start + size)));
  }

  #longestFirst(word) {
    const numbers = [];
    let start = 0;
    while (start < word.length) {
      const before = start ? this.inside : '';
      let size = Math.min(this.longest, word.length - start);
      while (size && this.#number(word, start, size, before) === undefined) size--;
      if (!size) return [UNKNOWN];
      numbers.push(this.#number(word, start, size, before));
      start += size;
    }
    return numbers;
  }

  #merged(word) {
    const ends = range(0, word.length + 1); // where pieces begin, and the end of the word
    for (;;) {
      let best = -Infinity, place = 0;
      for (let position = 0; position < ends.length - 2; position++) {
        const score = this.scores.get(this.#number(word, ends[position], ends[position + 2] - ends[position]));
        if (score !== undefined && score > best) [best, place] = [score, position + 1];
      }
      if (!place) return ends.slice(1).map((end, at) => this.#known(word, ends[at], end));
      ends.splice(place, 1);
    }
  }

  #likeliest(word) {
    const totals = [0], sizes = [0], numbers = [];
    for (let end = 1; end <= word.length; end++) {
      let best = -Infinity, chosen = 0;
      for (let size = Math.min(this.longest, end); size > 0; size--) {
        const score = this.scores.get(this.#number(word, end - size, size)) ?? (size === 1 ? this.unknownScore : undefined);
        const total = score === undefined ? -Infinity : Math.fround(totals[end - size] + score);
        if (total > best) [best, chosen] = [total, size];
      }
      totals.push(best);
      sizes.push(chosen);
    }
    for (let end = word.length; end; end -= sizes[end]) numbers.unshift(this.#known(word, end - sizes[end], end));
    return numbers;
  }

  #known(word, first, end) {
    const number = this.#number(word, first, end - first);
    return this.scores.has(number) ? number : UNKNOWN;
  }
}

function string(points) {
  return String.fromCodePoint(...points);
}

/** Which run of characters one is in, by the first of each. */
function runOf(point, starts) {
  let low = 0, high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= point) low = middle;
    else high = middle;
  }
  return low;
}
