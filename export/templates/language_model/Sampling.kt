// Which token follows: the likeliest one, or one that is drawn, the same by the same seed in Python, Kotlin and Swift; or those of a beam search.
// It does what code/python/sampling.py and beam.py do, line by line.
import kotlin.math.exp
import kotlin.math.ln
import kotlin.math.pow

/**
 * How tokens are chosen.
 *
 * @property temperature logits are divided by it before one token is drawn; 0 takes the likeliest one.
 * @property topK so many of the likeliest tokens are drawn from; 0 means all.
 * @property topP of the likeliest tokens as few are drawn from as have this probability together.
 * @property repetitionPenalty above 1, tokens that a text has are less likely.
 * @property seed of what is drawn: its 64 bits.
 */
class Sampling(
    val temperature: Double = 0.0, val topK: Int = 0, val topP: Double = 1.0, val repetitionPenalty: Double = 1.0, val seed: Long = 0,
) {
    /** Returns the token that follows, behind so many that were chosen before; none of `never`. */
    fun chosen(logits: FloatArray, number: Int, text: Collection<Int> = emptyList(), never: Collection<Int> = emptyList()): Int {
        val known = allowed(logits, text, never)
        if (temperature == 0.0) return likeliest(known)
        val (order, shares) = candidates(known)
        val place = uniform(seed, number.toLong()) * shares.last()
        return order[minOf(shares.indexOfFirst { it > place }.let { if (it < 0) order.size else it }, order.size - 1)]
    }

    /** Returns logits with less for tokens that come again, and -infinity for those that are not chosen. */
    fun allowed(logits: FloatArray, text: Collection<Int>, never: Collection<Int>): DoubleArray {
        val result = DoubleArray(logits.size) { logits[it].toDouble() }
        if (repetitionPenalty != 1.0) {
            for (token in text.toSet()) {
                result[token] = if (result[token] > 0) result[token] / repetitionPenalty else result[token] * repetitionPenalty
            }
        }
        for (token in never) result[token] = Double.NEGATIVE_INFINITY
        return result
    }

    /** Returns the tokens that one is drawn from, the likeliest first, and their probabilities added up, not divided by their sum. */
    fun candidates(logits: DoubleArray): Pair<List<Int>, DoubleArray> {
        var order = logits.indices.filter { logits[it] > Double.NEGATIVE_INFINITY }
            .sortedWith { one, other -> if (logits[one] > logits[other]) -1 else if (logits[one] < logits[other]) 1 else one - other }
        if (topK > 0) order = order.take(topK)
        val shares = DoubleArray(order.size)
        var total = 0.0
        for (place in order.indices) {
            total += exp((logits[order[place]] - logits[order[0]]) / temperature)
            shares[place] = total
        }
        if (topP >= 1) return order to shares
        val kept = shares.indexOfFirst { it >= topP * total } + 1
        return order.take(kept) to shares.copyOf(kept)
    }

    companion object {
        private const val MASK = 0xFFFFFFFFL
        private val MULTIPLIERS = longArrayOf(0xD2511F53L, 0xCD9E8D57L)
        private val WEYL = longArrayOf(0x9E3779B9L, 0xBB67AE85L)
        private const val ROUNDS = 10

        /** Returns four random words of 32 bits: Philox4x32-10 (Salmon et al., 2011). */
        fun philox(key: Long, counter: Long): LongArray {
            var words = longArrayOf(counter and MASK, counter ushr 32, 0, 0)
            val keys = longArrayOf(key and MASK, key ushr 32)
            repeat(ROUNDS) {
                val first = words[0] * MULTIPLIERS[0]
                val second = words[2] * MULTIPLIERS[1]
                words = longArrayOf((second ushr 32) xor words[1] xor keys[0], second and MASK, (first ushr 32) xor words[3] xor keys[1], first and MASK)
                for (at in 0..1) keys[at] = (keys[at] + WEYL[at]) and MASK
            }
            return words
        }

        /** Returns a number of 53 random bits, 0 <= u < 1, for each token of a text in turn. */
        fun uniform(seed: Long, number: Long): Double {
            val words = philox(seed, number)
            return ((words[0] ushr 5) * 67108864.0 + (words[1] ushr 6)) / 9007199254740992.0
        }

        private fun likeliest(logits: DoubleArray): Int {
            var best = 0
            for (token in logits.indices) if (logits[token] > logits[best]) best = token
            return best
        }
    }
}

/** Beam search: the best of several texts that are followed at once. */
object Beam {
    private class Candidate(val row: Int, val token: Int, val total: Double)

    /**
     * Returns the tokens of the best text that is found, the end among them where it has one.
     *
     * @param logits of the first token; -infinity for tokens that cannot follow.
     * @param count tokens of a text at most.
     * @param width texts that are followed.
     * @param end the token that ends a text; -1 where there is none.
     * @param lengthPenalty the logarithm of a text's probability is divided by ((5 + size) / 6) to this power (Wu et al., 2016).
     * @param step from the places of the texts that go on among those of the call before, and these texts, to the logits of what follows each.
     */
    fun search(
        logits: DoubleArray, count: Int, width: Int, end: Int, lengthPenalty: Double, step: (List<Int>, List<List<Int>>) -> List<DoubleArray>,
    ): List<Int> {
        fun score(total: Double, size: Int) = total / ((5 + size) / 6.0).pow(lengthPenalty)
        var texts = listOf(emptyList<Int>())
        var totals = listOf(0.0)
        var rows = listOf(logits)
        val done = ArrayList<Pair<Double, List<Int>>>()
        for (number in 0 until count) {
            val candidates = rows.withIndex().flatMap { (row, values) ->
                val shares = logSoftmax(values)
                shares.indices.filter { shares[it] > Double.NEGATIVE_INFINITY }.map { Candidate(row, it, totals[row] + shares[it]) }
            }
            val best = candidates.sortedWith { one, other -> if (one.total > other.total) -1 else if (one.total < other.total) 1 else 0 }.take(width)
            val (ended, kept) = best.partition { it.token == end }
            for (one in ended) (texts[one.row] + one.token).let { done.add(score(one.total, it.size) to it) }
            if (kept.isEmpty() || done.size >= width) break
            texts = kept.map { texts[it.row] + it.token }
            totals = kept.map { it.total }
            if (number + 1 < count) rows = step(kept.map { it.row }, texts)
        }
        val others = texts.indices.filter { texts[it].size == count || done.isEmpty() }.map { score(totals[it], texts[it].size) to texts[it] }
        return (done + others).maxByOrNull { it.first }!!.second
    }

    private fun logSoftmax(logits: DoubleArray): DoubleArray {
        val most = logits.max()
        val total = ln(logits.sumOf { exp(it - most) })
        return DoubleArray(logits.size) { logits[it] - most - total }
    }
}
