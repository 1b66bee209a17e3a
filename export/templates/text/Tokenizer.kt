// Cuts text into tokens, as the model of this bundle was trained to. Assets: tokenizer.json (of this bundle).
// It does what code/python/tokenizer.py does, line by line.
import org.json.JSONArray
import org.json.JSONObject

/**
 * The tokenizer of a model.
 *
 * @param said what tokenizer.json says.
 */
class Tokenizer(private val said: Said) {
    /** What tokenizer.json says. */
    class Said(
        val kind: String, val lower: Boolean, val length: Int, val ends: Boolean, val charactersPerToken: Int, val longest: Int, val inside: String,
        val starts: IntArray, val kinds: IntArray, val capitals: IntArray, val small: IntArray, val vocabulary: List<String>, val scores: FloatArray,
        val classStarts: IntArray = intArrayOf(0), val classes: IntArray = intArrayOf(0), val left: IntArray = IntArray(0), val right: IntArray = IntArray(0),
    )

    private val most = said.length * said.charactersPerToken
    private val small = said.capitals.indices.associate { said.capitals[it] to said.small[it] }
    private val numbers = said.vocabulary.withIndex().filter { (number, name) -> number > END || name !in SPECIAL }
        .associate { (number, name) -> name to number }
    private val special = said.vocabulary.size - said.scores.size
    private val unknownScore = if (said.scores.isEmpty()) 0f else said.scores.min() - PENALTY

    private val merges = said.left.indices.associate { (said.left[it] to said.right[it]) to BYTES.size + it }
    private val firstByte = said.vocabulary.size - BYTES.size - merges.size

    /** Returns a text's tokens, filled up to the model's length. */
    fun tokens(text: String): IntArray {
        var found = numbersOf(pointsOf(text)).take(said.length - if (said.ends) 2 else 0)
        if (said.ends) found = listOf(START) + found + END
        return IntArray(said.length) { found.getOrElse(it) { PADDING } }
    }

    private fun numbersOf(points: IntArray): List<Int> = when (said.kind) {
        "character" -> points.map { numbers[string(intArrayOf(it))] ?: UNKNOWN }
        "word", "regex", "whitespace" -> wordsOf(points).map { numbers[string(it)] ?: UNKNOWN }
        "wordpiece" -> wordsOf(points).flatMap { longestFirst(it) }
        "byte_bpe" -> runs(points).flatMap { inPairs(string(it).toByteArray(Charsets.UTF_8)) }
        else -> {
            val found = spaced(points).flatMap { if (said.kind == "bpe") merged(it) else likeliest(it) }
            found.filterIndexed { at, number -> number != UNKNOWN || at == 0 || found[at - 1] != UNKNOWN }
        }
    }

    /** Returns the characters that are looked at, without capitals where these do not count. */
    private fun pointsOf(text: String): IntArray {
        val points = ArrayList<Int>()
        var at = 0
        while (at < text.length && points.size < most) {
            val point = text.codePointAt(at)
            at += Character.charCount(point)
            points.add(if (point in 0xD800..0xDFFF) REPLACEMENT else point)
        }
        return IntArray(points.size) { if (said.lower) small[points[it]] ?: points[it] else points[it] }
    }

    private fun kindOf(point: Int): Int {
        if (said.kind == "regex") return if (point < 128 && WORDS.indexOf(point.toChar()) >= 0) PART else APART
        if (said.kind == "whitespace") return if (point == 32 || point in 9..13) APART else PART
        if (point == REPLACEMENT) return APART
        val place = said.starts.binarySearch(point)
        return said.kinds[if (place >= 0) place else -place - 2]
    }

    /** Returns runs of letters, marks and digits, and every other character that is not white space. */
    private fun wordsOf(points: IntArray): List<IntArray> {
        val words = ArrayList<ArrayList<Int>>()
        var before = APART
        for (point in points) {
            val kind = kindOf(point)
            if (kind == ALONE || (kind == PART && before != PART)) words.add(arrayListOf(point))
            else if (kind == PART) words.last().add(point)
            before = kind
        }
        return words.map { it.toIntArray() }
    }

    /** Returns what stands between white space, each behind a mark. */
    private fun spaced(points: IntArray): List<IntArray> {
        val words = ArrayList<ArrayList<Int>>()
        var apart = true
        for (point in points) {
            if (kindOf(point) == APART || point == MARK) {
                apart = true
                continue
            }
            if (apart) words.add(arrayListOf(MARK))
            words.last().add(point)
            apart = false
        }
        return words.map { it.toIntArray() }
    }

    /** Returns the words of GPT-2: runs of one class with the space before them; of white space the last one is not in a word with the others. */
    private fun runs(points: IntArray): List<IntArray> {
        val classes = points.map { point ->
            val place = said.classStarts.binarySearch(point)
            said.classes[if (place >= 0) place else -place - 2]
        }
        val words = ArrayList<IntArray>()
        var start = 0
        while (start < points.size) {
            val here = string(points, start, minOf(3, points.size - start))
            val ending = ENDINGS.firstOrNull { here.startsWith("'$it") }
            val first = if (points[start] == 0x20 && start + 1 < points.size && classes[start + 1] != WHITE) start + 1 else start
            var end = first
            while (end < points.size && classes[end] == classes[first]) end++
            if (ending != null) end = start + 1 + ending.length
            else if (classes[first] == WHITE && end < points.size && end - start > 1) end--
            words.add(points.copyOfRange(start, end))
            start = end
        }
        return words
    }

    /** Returns the tokens of a word: of all neighbours the pair that was learnt first becomes one, again and again. */
    private fun inPairs(word: ByteArray): List<Int> {
        val result = word.map { BYTES.indexOf(it.toInt() and 255) }.toMutableList()
        while (true) {
            val pairs = result.zipWithNext { left, right -> merges[left to right] ?: Int.MAX_VALUE }
            val best = pairs.minOrNull() ?: Int.MAX_VALUE
            if (best == Int.MAX_VALUE) return result.map { firstByte + it }
            val place = pairs.indexOf(best)
            result[place] = best
            result.removeAt(place + 1)
        }
    }

    /** Returns the number of the piece of so many characters, or null. */
    private fun numberOf(word: IntArray, start: Int, size: Int, before: String = ""): Int? {
        if (size > said.longest || start + size > word.size) return null
        return numbers[before + string(word, start, size)]
    }

    private fun longestFirst(word: IntArray): List<Int> {
        val result = ArrayList<Int>()
        var start = 0
        while (start < word.size) {
            val before = if (start > 0) said.inside else ""
            val size = (minOf(said.longest, word.size - start) downTo 1).firstOrNull { numberOf(word, start, it, before) != null }
            result.add(numberOf(word, start, size ?: return listOf(UNKNOWN), before)!!)
            start += size
        }
        return result
    }

    private fun merged(word: IntArray): List<Int> {
        val ends = (0..word.size).toMutableList() // where pieces begin, and the end of the word
        while (true) {
            var best = Float.NEGATIVE_INFINITY
            var place = 0
            for (position in 0 until ends.size - 2) {
                val score = scoreOf(numberOf(word, ends[position], ends[position + 2] - ends[position]))
                if (score != null && score > best) {
                    best = score
                    place = position + 1
                }
            }
            if (place == 0) return ends.zipWithNext { first, end -> known(word, first, end) }
            ends.removeAt(place)
        }
    }

    private fun likeliest(word: IntArray): List<Int> {
        val totals = FloatArray(word.size + 1)
        val sizes = IntArray(word.size + 1)
        for (end in 1..word.size) {
            var best = Float.NEGATIVE_INFINITY
            for (size in minOf(said.longest, end) downTo 1) {
                val score = scoreOf(numberOf(word, end - size, size)) ?: if (size == 1) unknownScore else continue
                if (totals[end - size] + score > best) {
                    best = totals[end - size] + score
                    sizes[end] = size
                }
            }
            totals[end] = best
        }
        val result = ArrayList<Int>()
        var end = word.size
        while (end > 0) {
            result.add(known(word, end - sizes[end], end))
            end -= sizes[end]
        }
        return result.reversed()
    }

    private fun scoreOf(number: Int?): Float? = if (number == null || number < special) null else said.scores[number - special]

    private fun known(word: IntArray, first: Int, end: Int): Int = numberOf(word, first, end - first)?.takeIf { it >= special } ?: UNKNOWN

    companion object {
        private const val APART = 0
        private const val PART = 1
        private const val ALONE = 2
        private const val PADDING = 0
        private const val UNKNOWN = 1
        private const val START = 2
        private const val END = 3

        /** What these are called in the vocabulary; no text has them, whatever is written in it. */
        private val SPECIAL = setOf("<PAD>", "<UNKNOWN>", "<START>", "<END>")
        private const val REPLACEMENT = 0xFFFD
        private const val MARK = 0x2581

        /** The characters of words of the kind regex, which are MediaPipe's. */
        private const val WORDS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz'"

        /** A character that is no piece counts as so much less likely than the rarest piece. */
        private const val PENALTY = 10f

        /** What white space is to words of the kind byte_bpe, and what follows an apostrophe in a word of its own. */
        private const val WHITE = 3
        private val ENDINGS = listOf("s", "t", "re", "ve", "m", "ll", "d")

        /** Bytes by the numbers of their tokens: those that are seen come first. */
        private val SEEN = (0x21..0x7E) + (0xA1..0xAC) + (0xAE..0xFF)
        private val BYTES = SEEN + (0..255).filter { it !in SEEN }

        /** Returns the tokenizer that a bundle's tokenizer.json describes: context.assets.open("tokenizer.json").reader().readText(). */
        fun of(content: String): Tokenizer {
            val said = JSONObject(content)
            val characters = said.getJSONObject("characters")
            val names = said.getJSONArray("vocabulary")
            val scores = said.optJSONArray("scores") ?: JSONArray()
            val classes = said.optJSONObject("classes")
            val merges = said.optJSONObject("merges")
            return Tokenizer(
                Said(
                    said.getString("kind"), said.getBoolean("lower"), said.getInt("length"), said.getBoolean("ends"), said.optInt("characters_per_token", 1),
                    said.optInt("longest", 0), said.optString("inside", ""), ints(characters, "starts"), ints(characters, "kinds"),
                    ints(characters, "capitals"), ints(characters, "small"), List(names.length()) { names.getString(it) },
                    FloatArray(scores.length()) { scores.getDouble(it).toFloat() },
                    classes?.let { ints(it, "starts") } ?: intArrayOf(0), classes?.let { ints(it, "kinds") } ?: intArrayOf(0),
                    merges?.let { ints(it, "left") } ?: IntArray(0), merges?.let { ints(it, "right") } ?: IntArray(0),
                )
            )
        }

        private fun ints(said: JSONObject, name: String): IntArray = said.getJSONArray(name).let { values -> IntArray(values.length()) { values.getInt(it) } }

        private fun string(points: IntArray, start: Int = 0, size: Int = points.size): String {
            val text = StringBuilder()
            for (at in start until start + size) text.appendCodePoint(points[at])
            return text.toString()
        }
    }
}
