// Which token follows: the likeliest one, or one that is drawn, the same by the same seed in Python, Kotlin and Swift; or those of a beam search.
// It does what code/python/sampling.py and beam.py do, line by line.
import Foundation

/// How tokens are chosen.
public struct Sampling {
    /// Logits are divided by it before one token is drawn; 0 takes the likeliest one.
    public var temperature = 0.0
    /// So many of the likeliest tokens are drawn from; 0 means all.
    public var topK = 0
    /// Of the likeliest tokens as few are drawn from as have this probability together.
    public var topP = 1.0
    /// Above 1, tokens that a text has are less likely.
    public var repetitionPenalty = 1.0
    /// Of what is drawn.
    public var seed: UInt64 = 0

    public init(temperature: Double = 0, topK: Int = 0, topP: Double = 1, repetitionPenalty: Double = 1, seed: UInt64 = 0) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.repetitionPenalty = repetitionPenalty
        self.seed = seed
    }

    /// Returns the token that follows, behind so many that were chosen before; none of `never`.
    public func chosen(_ logits: [Float], number: Int, text: [Int] = [], never: [Int] = []) -> Int {
        let known = allowed(logits, text: text, never: never)
        if temperature == 0 {
            var best = 0
            for token in known.indices where known[token] > known[best] { best = token }
            return best
        }
        let (order, shares) = candidates(known)
        let place = Sampling.uniform(seed: seed, number: UInt64(number)) * shares[shares.count - 1]
        return order[min(shares.firstIndex { $0 > place } ?? order.count, order.count - 1)]
    }

    /// Returns logits with less for tokens that come again, and -infinity for those that are not chosen.
    public func allowed(_ logits: [Float], text: [Int], never: [Int]) -> [Double] {
        var result = logits.map { Double($0) }
        if repetitionPenalty != 1 {
            for token in Set(text) {
                result[token] = result[token] > 0 ? result[token] / repetitionPenalty : result[token] * repetitionPenalty
            }
        }
        for token in never { result[token] = -Double.infinity }
        return result
    }

    /// Returns the tokens that one is drawn from, the likeliest first, and their probabilities added up, not divided by their sum.
    public func candidates(_ logits: [Double]) -> ([Int], [Double]) {
        var order = logits.indices.filter { logits[$0] > -Double.infinity }
        order.sort { logits[$0] != logits[$1] ? logits[$0] > logits[$1] : $0 < $1 }
        if topK > 0 { order = Array(order.prefix(topK)) }
        var shares: [Double] = []
        var total = 0.0
        for token in order {
            total += exp((logits[token] - logits[order[0]]) / temperature)
            shares.append(total)
        }
        if topP >= 1 { return (order, shares) }
        let kept = (shares.firstIndex { $0 >= topP * total } ?? shares.count - 1) + 1
        return (Array(order.prefix(kept)), Array(shares.prefix(kept)))
    }

    private static let multipliers: [UInt32] = [0xD251_1F53, 0xCD9E_8D57]
    private static let weyl: [UInt32] = [0x9E37_79B9, 0xBB67_AE85]
    private static let rounds = 10

    /// Returns four random words of 32 bits: Philox4x32-10 (Salmon et al., 2011).
    public static func philox(key: UInt64, counter: UInt64) -> [UInt32] {
        var words: [UInt32] = [UInt32(truncatingIfNeeded: counter), UInt32(counter >> 32), 0, 0]
        var keys: [UInt32] = [UInt32(truncatingIfNeeded: key), UInt32(key >> 32)]
        for _ in 0..<rounds {
            let first = words[0].multipliedFullWidth(by: multipliers[0])
            let second = words[2].multipliedFullWidth(by: multipliers[1])
            words = [second.high ^ words[1] ^ keys[0], second.low, first.high ^ words[3] ^ keys[1], first.low]
            for at in 0..<2 { keys[at] = keys[at] &+ weyl[at] }
        }
        return words
    }

    /// Returns a number of 53 random bits, 0 <= u < 1, for each token of a text in turn.
    public static func uniform(seed: UInt64, number: UInt64) -> Double {
        let words = philox(key: seed, counter: number)
        return (Double(words[0] >> 5) * 67_108_864 + Double(words[1] >> 6)) / 9_007_199_254_740_992
    }
}

/// Beam search: the best of several texts that are followed at once.
public enum Beam {
    /// Returns the tokens of the best text that is found, the end among them where it has one.
    ///
    /// - Parameters:
    ///   - logits: of the first token; -infinity for tokens that cannot follow.
    ///   - count: tokens of a text at most.
    ///   - width: texts that are followed.
    ///   - end: the token that ends a text; -1 where there is none.
    ///   - lengthPenalty: the logarithm of a text's probability is divided by ((5 + size) / 6) to this power (Wu et al., 2016).
    ///   - step: from the places of the texts that go on among those of the call before, and these texts, to the logits of what follows each.
    public static func search(
        _ logits: [Double], count: Int, width: Int, end: Int, lengthPenalty: Double, step: ([Int], [[Int]]) throws -> [[Double]]
    ) rethrows -> [Int] {
        func score(_ total: Double, _ size: Int) -> Double { total / pow(Double(5 + size) / 6, lengthPenalty) }
        var texts: [[Int]] = [[]]
        var totals = [0.0]
        var rows = [logits]
        var done: [(score: Double, text: [Int])] = []
        for number in 0..<count {
            var candidates: [(row: Int, token: Int, total: Double)] = []
            for (row, values) in rows.enumerated() {
                for (token, share) in logSoftmax(values).enumerated() where share > -Double.infinity {
                    candidates.append((row, token, totals[row] + share))
                }
            }
            let order = candidates.indices.sorted { one, other in
                candidates[one].total != candidates[other].total ? candidates[one].total > candidates[other].total : one < other
            }
            let best = order.prefix(width).map { candidates[$0] }
            for one in best where one.token == end {
                let text = texts[one.row] + [one.token]
                done.append((score(one.total, text.count), text))
            }
            let kept = best.filter { $0.token != end }
            if kept.isEmpty || done.count >= width { break }
            texts = kept.map { texts[$0.row] + [$0.token] }
            totals = kept.map { $0.total }
            if number + 1 < count { rows = try step(kept.map { $0.row }, texts) }
        }
        let nothing = done.isEmpty
        for (text, total) in zip(texts, totals) where nothing || text.count == count {
            done.append((score(total, text.count), text))
        }
        var best = done[0]
        for one in done where one.score > best.score { best = one }
        return best.text
    }

    private static func logSoftmax(_ logits: [Double]) -> [Double] {
        let most = logits.max() ?? 0
        let total = log(logits.reduce(0) { $0 + exp($1 - most) })
        return logits.map { $0 - most - total }
    }
}
