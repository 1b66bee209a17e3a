// The noise of a seed: the numbers that pictures are made of, the same in Python, Kotlin, Swift and a browser.
// It does what code/python/noise.py does, line by line.
import kotlin.math.cos
import kotlin.math.ln
import kotlin.math.max
import kotlin.math.sin
import kotlin.math.sqrt

object Noise {
    private const val MASK = 0xFFFFFFFFL
    private val MULTIPLIERS = longArrayOf(0xD2511F53L, 0xCD9E8D57L)
    private val WEYL = longArrayOf(0x9E3779B9L, 0xBB67AE85L)
    private const val ROUNDS = 10

    /** What TensorFlow scrambles a seed with before it is a key. */
    private val SCRAMBLER = longArrayOf(0x3EC8F720L, 0x02461E29L)

    /** The smallest number whose logarithm is taken. */
    private const val LEAST = 1e-7f

    /** Returns normal numbers of a seed, within 5e-6 of what Python draws; fewer numbers are the first ones of more. */
    fun normal(seed: Long, count: Int): FloatArray {
        val bits = words(seed, count + count % 2)
        val result = FloatArray(count)
        for (at in 0 until count step 2) {
            val radius = sqrt(-2f * ln(max(share(bits[at]), LEAST)))
            val angle = (2 * Math.PI).toFloat() * share(bits[at + 1])
            result[at] = sin(angle) * radius
            if (at + 1 < count) result[at + 1] = cos(angle) * radius
        }
        return result
    }

    /** Returns random words of 32 bits of a seed, 0 or more. */
    fun words(seed: Long, count: Int): LongArray {
        val mixed = philox(longArrayOf(seed and MASK, seed ushr 32, 0, 0), SCRAMBLER)
        val key = longArrayOf(mixed[0], mixed[1])
        val result = LongArray(count)
        for (block in 0 until (count + 3) / 4) {
            val four = philox(longArrayOf(block.toLong(), 0, mixed[2], mixed[3]), key)
            for (at in 0 until minOf(4, count - 4 * block)) result[4 * block + at] = four[at]
        }
        return result
    }

    /** Returns four random words for a counter: Philox4x32-10 (Salmon et al., 2011). */
    fun philox(counter: LongArray, key: LongArray): LongArray {
        var words = counter
        val keys = key.copyOf()
        repeat(ROUNDS) {
            val first = words[0] * MULTIPLIERS[0]
            val second = words[2] * MULTIPLIERS[1]
            words = longArrayOf((second ushr 32) xor words[1] xor keys[0], second and MASK, (first ushr 32) xor words[3] xor keys[1], first and MASK)
            for (at in 0..1) keys[at] = (keys[at] + WEYL[at]) and MASK
        }
        return words
    }

    /** Returns a word as a number of 0 to 1, of its last 23 bits. */
    private fun share(word: Long): Float = Float.fromBits((word and 0x7FFFFFL).toInt() or (127 shl 23)) - 1f
}
