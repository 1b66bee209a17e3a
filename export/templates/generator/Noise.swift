// The noise of a seed: the numbers that pictures are made of, the same in Python, Kotlin, Swift and a browser.
// It does what code/python/noise.py does, line by line.
import Foundation

public enum Noise {
    private static let multipliers: [UInt32] = [0xD251_1F53, 0xCD9E_8D57]
    private static let weyl: [UInt32] = [0x9E37_79B9, 0xBB67_AE85]
    private static let rounds = 10
    /// What TensorFlow scrambles a seed with before it is a key.
    private static let scrambler: [UInt32] = [0x3EC8_F720, 0x0246_1E29]
    /// The smallest number whose logarithm is taken.
    private static let least: Float32 = 1e-7

    /// Returns normal numbers of a seed, within 5e-6 of what Python draws; fewer numbers are the first ones of more.
    public static func normal(seed: UInt64, count: Int) -> [Float32] {
        let bits = words(seed: seed, count: count + count % 2)
        var result: [Float32] = []
        for at in stride(from: 0, to: count, by: 2) {
            let radius = (-2 * log(max(share(bits[at]), least))).squareRoot()
            let angle = Float32(2 * Double.pi) * share(bits[at + 1])
            result.append(sin(angle) * radius)
            result.append(cos(angle) * radius)
        }
        return Array(result.prefix(count))
    }

    /// Returns random words of 32 bits of a seed.
    public static func words(seed: UInt64, count: Int) -> [UInt32] {
        let mixed = philox(counter: [UInt32(truncatingIfNeeded: seed), UInt32(seed >> 32), 0, 0], key: scrambler)
        var result: [UInt32] = []
        for block in 0..<((count + 3) / 4) {
            result += philox(counter: [UInt32(block), 0, mixed[2], mixed[3]], key: [mixed[0], mixed[1]])
        }
        return Array(result.prefix(count))
    }

    /// Returns four random words for a counter: Philox4x32-10 (Salmon et al., 2011).
    public static func philox(counter: [UInt32], key: [UInt32]) -> [UInt32] {
        var words = counter
        var keys = key
        for _ in 0..<rounds {
            let first = words[0].multipliedFullWidth(by: multipliers[0])
            let second = words[2].multipliedFullWidth(by: multipliers[1])
            words = [second.high ^ words[1] ^ keys[0], second.low, first.high ^ words[3] ^ keys[1], first.low]
            for at in 0..<2 { keys[at] = keys[at] &+ weyl[at] }
        }
        return words
    }

    /// Returns a word as a number of 0 to 1, of its last 23 bits.
    private static func share(_ word: UInt32) -> Float32 {
        Float32(bitPattern: word & 0x7F_FFFF | 127 << 23) - 1
    }
}
