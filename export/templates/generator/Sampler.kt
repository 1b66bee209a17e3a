// Pictures out of noise, step by step: the sampler of a diffusion model.
// It does what `sampled` of code/python/diffusion.py does, line by line.
import kotlin.math.max

/**
 * @property steps a row for each step: its number, the shares of image and noise, and how much of the noisy image, of the image, and of the image of the step before there is in the next.
 * @property target what the network says of a noisy image: its velocity, its noise, or the image.
 * @property most what a number of the image is at most, and less what at least.
 */
class Sampler(private val steps: Array<DoubleArray>, private val target: String, private val most: Float = 1f) {
    /** Returns a picture, -1..1, or a latent, of noise, by what a network says of a noisy image at a step. */
    fun picture(noise: FloatArray, denoise: (FloatArray, Float) -> FloatArray): FloatArray {
        var x = noise
        var last = FloatArray(noise.size)
        for (row in steps) {
            val (signals, noises, keep, share, before) = row.drop(1).map { it.toFloat() }
            val said = denoise(x, row[0].toFloat())
            val now = x
            val image = FloatArray(x.size) { imageOf(said[it], now[it], signals, noises).coerceIn(-most, most) }
            val old = last
            x = FloatArray(x.size) { keep * now[it] + share * image[it] + before * old[it] }
            last = image
        }
        return x
    }

    private fun imageOf(said: Float, x: Float, signals: Float, noises: Float): Float = when (target) {
        "velocity" -> signals * x - noises * said
        "image" -> said
        else -> (x - noises * said) / max(signals, 1e-6f)
    }

    companion object {
        /** Returns what is said of a noisy image by what a network says with a class, or a text, and without one (Ho & Salimans, 2022). */
        fun guided(withClass: FloatArray, without: FloatArray, guidance: Float): FloatArray =
            FloatArray(withClass.size) { without[it] + guidance * (withClass[it] - without[it]) }
    }
}
