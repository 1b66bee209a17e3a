// Cuts text into tokens, as the model of this bundle was trained to. Resources: tokenizer.json (of this bundle).
// It does what code/python/tokenizer.py does, line by line.
import Foundation

/// The tokenizer of a model.
public final class Tokenizer {
    private struct Characters: Decodable {
        let starts: [Int], kinds: [Int], capitals: [Int], small: [Int]
    }

    private struct Classes: Decodable {
        let starts: [Int], kinds: [Int]
    }

    private struct Merges: Decodable {
        let left: [Int], right: [Int]
    }

    private struct Said: Decodable {
        let kind: String, lower: Bool, length: Int, ends: Bool, characters: Characters, vocabulary: [String]
        let characters_per_token: Int?, longest: Int?, inside: String?, scores: [Float]?, classes: Classes?, merges: Merges?
    }

    private static let apart = 0, part = 1, alone = 2
    private static let padding = 0, unknown = 1, start = 2, end = 3
    /// What these are called in the vocabulary; no text has them, whatever is written in it.
    private static let specialNames: Set<String> = ["<PAD>", "<UNKNOWN>", "<START>", "<END>"]
    private static let replacement = 0xFFFD, mark = 0x2581
    /// The characters of words of the kind regex, which are MediaPipe's.
    private static let wordCharacters = Set(points("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz'"))
    /// A character that is no piece counts as so much less likely than the rarest piece.
    private static let penalty: Float = 10
    /// What white space is to words of the kind byte_bpe, and what follows an apostrophe in a word of its own.
    private static let white = 3
    private static let endings = ["s", "t", "re", "ve", "m", "ll", "d"].map { points("'" + $0) }
    /// Bytes by the numbers of their tokens: those that are seen come first.
    private static let seen = Array(0x21...0x7E) + Array(0xA1...0xAC) + Array(0xAE...0xFF)
    private static let bytes = seen + (0...255).filter { !seen.contains($0) }

    private let said: Said
    private let most: Int, longest: Int, inside: [Int], scores: [Float], special: Int, unknownScore: Float
    private let small: [Int: Int]
    /// By code points: Swift's strings take letters with marks for equal that are not the same characters.
    private let numbers: [[Int]: Int]
    private let merges: [[Int]: Int], firstByte: Int

    /// Reads what a bundle's tokenizer.json says.
    public init(_ content: Data) throws {
        said = try JSONDecoder().decode(Said.self, from: content)
        most = said.length * (said.characters_per_token ?? 1)
        longest = said.longest ?? 0
        inside = Tokenizer.points(said.inside ?? "")
        scores = said.scores ?? []
        special = said.vocabulary.count - scores.count
        unknownScore = (scores.min() ?? 0) - Tokenizer.penalty
        small = Dictionary(uniqueKeysWithValues: zip(said.characters.capitals, said.characters.small))
        let own = said.vocabulary.enumerated().filter { $0.offset > Tokenizer.end || !Tokenizer.specialNames.contains($0.element) }
        numbers = Dictionary(own.map { (Tokenizer.points($0.element), $0.offset) }, uniquingKeysWith: { first, _ in first })
        let pairs = zip(said.merges?.left ?? [], said.merges?.right ?? []).map { [$0, $1] }
        merges = Dictionary(uniqueKeysWithValues: pairs.enumerated().map { ($0.element, Tokenizer.bytes.count + $0.offset) })
        firstByte = said.vocabulary.count - Tokenizer.bytes.count - merges.count
    }

    /// Returns a text's tokens, filled up to the model's length.
    public func tokens(_ text: String) -> [Int32] {
        var found = Array(numbers(of: looked(at: text)).prefix(said.length - (said.ends ? 2 : 0)))
        if said.ends { found = [Tokenizer.start] + found + [Tokenizer.end] }
        found += Array(repeating: Tokenizer.padding, count: said.length - found.count)
        return found.map { Int32($0) }
    }

    private func numbers(of points: [Int]) -> [Int] {
        switch said.kind {
        case "character": return points.map { numbers[[$0]] ?? Tokenizer.unknown }
        case "word", "regex", "whitespace": return words(points).map { numbers[$0] ?? Tokenizer.unknown }
        case "wordpiece": return words(points).flatMap { longestFirst($0) }
        case "byte_bpe": return runs(points).flatMap { inPairs($0) }
        default:
            let found = spaced(points).flatMap { said.kind == "bpe" ? merged($0) : likeliest($0) }
            return found.indices.filter { found[$0] != Tokenizer.unknown || $0 == 0 || found[$0 - 1] != Tokenizer.unknown }.map { found[$0] }
        }
    }

    private static func points(_ text: String) -> [Int] { text.unicodeScalars.map { Int($0.value) } }

    /// Returns the characters that are looked at, without capitals where these do not count.
    private func looked(at text: String) -> [Int] {
        let points = text.unicodeScalars.prefix(most).map { Int($0.value) }
        return said.lower ? points.map { small[$0] ?? $0 } : points
    }

    private func kind(_ point: Int) -> Int {
        if said.kind == "regex" { return Tokenizer.wordCharacters.contains(point) ? Tokenizer.part : Tokenizer.apart }
        if said.kind == "whitespace" { return point == 32 || (9...13).contains(point) ? Tokenizer.apart : Tokenizer.part }
        if point == Tokenizer.replacement { return Tokenizer.apart }
        return said.characters.kinds[Tokenizer.run(of: point, in: said.characters.starts)]
    }

    /// Returns which run of characters one is in, by the first of each.
    private static func run(of point: Int, in starts: [Int]) -> Int {
        var low = 0
        var high = starts.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= point { low = middle } else { high = middle }
        }
        return low
    }

    /// Returns runs of letters, marks and digits, and every other character that is not white space.
    private func words(_ points: [Int]) -> [[Int]] {
        var words: [[Int]] = []
        var before = Tokenizer.apart
        for point in points {
            let kind = self.kind(point)
            if kind == Tokenizer.alone || (kind == Tokenizer.part && before != Tokenizer.part) {
                words.append([point])
            } else if kind == Tokenizer.part {
                words[words.count - 1].append(point)
            }
            before = kind
        }
        return words
    }

    /// Returns what stands between white space, each behind a mark.
    private func spaced(_ points: [Int]) -> [[Int]] {
        var words: [[Int]] = []
        var apart = true
        for point in points {
            if kind(point) == Tokenizer.apart || point == Tokenizer.mark {
                apart = true
                continue
            }
            if apart { words.append([Tokenizer.mark]) }
            words[words.count - 1].append(point)
            apart = false
        }
        return words
    }

    /// Returns the words of GPT-2: runs of one class with the space before them; of white space the last one is not in a word with the others.
    private func runs(_ points: [Int]) -> [[Int]] {
        let known = said.classes ?? Classes(starts: [0], kinds: [0])
        let classes = points.map { known.kinds[Tokenizer.run(of: $0, in: known.starts)] }
        var words: [[Int]] = []
        var start = 0
        while start < points.count {
            let ending = Tokenizer.endings.first { points[start...].starts(with: $0) }
            let first = points[start] == 0x20 && start + 1 < points.count && classes[start + 1] != Tokenizer.white ? start + 1 : start
            var end = first
            while end < points.count && classes[end] == classes[first] { end += 1 }
            if let ending = ending {
                end = start + ending.count
            } else if classes[first] == Tokenizer.white && end < points.count && end - start > 1 {
                end -= 1
            }
            words.append(Array(points[start..<end]))
            start = end
        }
        return words
    }

    /// Returns the tokens of a word: of all neighbours the pair that was learnt first becomes one, again and again.
    private func inPairs(_ word: [Int]) -> [Int] {
        var text = String.UnicodeScalarView()
        text.append(contentsOf: word.compactMap { Unicode.Scalar(UInt32($0)) })
        var result = String(text).utf8.map { byte in Tokenizer.bytes.firstIndex(of: Int(byte))! }
        while true {
            let pairs = zip(result, result.dropFirst()).map { merges[[$0, $1]] ?? Int.max }
            guard let best = pairs.min(), best < Int.max, let place = pairs.firstIndex(of: best) else {
                return result.map { firstByte + $0 }
            }
            result[place] = best
            result.remove(at: place + 1)
        }
    }

    /// Returns the number of the piece of so many characters, or nil.
    private func number(_ word: [Int], _ start: Int, _ size: Int, _ before: [Int] = []) -> Int? {
        if size > longest || start + size > word.count { return nil }
        return numbers[before + word[start..<start + size]]
    }

    private func longestFirst(_ word: [Int]) -> [Int] {
        var result: [Int] = []
        var start = 0
        while start < word.count {
            let before = start > 0 ? inside : []
            var size = min(longest, word.count - start)
            while size > 0 && number(word, start, size, before) == nil { size -= 1 }
            if size == 0 { return [Tokenizer.unknown] }
            result.append(number(word, start, size, before)!)
            start += size
        }
        return result
    }

    private func merged(_ word: [Int]) -> [Int] {
        var ends = Array(0...word.count) // where pieces begin, and the end of the word
        while true {
            var best = -Float.infinity
            var place = 0
            for position in 0..<max(0, ends.count - 2) {
                if let score = score(number(word, ends[position], ends[position + 2] - ends[position])), score > best {
                    best = score
                    place = position + 1
                }
            }
            if place == 0 { return zip(ends, ends.dropFirst()).map { known(word, $0, $1) } }
            ends.remove(at: place)
        }
    }

    private func likeliest(_ word: [Int]) -> [Int] {
        var totals = [Float](repeating: 0, count: word.count + 1)
        var sizes = [Int](repeating: 0, count: word.count + 1)
        for end in stride(from: 1, through: word.count, by: 1) {
            var best = -Float.infinity
            for size in stride(from: min(longest, end), to: 0, by: -1) {
                guard let score = score(number(word, end - size, size)) ?? (size == 1 ? unknownScore : nil) else { continue }
                if totals[end - size] + score > best {
                    best = totals[end - size] + score
                    sizes[end] = size
                }
            }
            totals[end] = best
        }
        var result: [Int] = []
        var end = word.count
        while end > 0 {
            result.append(known(word, end - sizes[end], end))
            end -= sizes[end]
        }
        return result.reversed()
    }

    private func score(_ number: Int?) -> Float? {
        guard let number = number, number >= special else { return nil }
        return scores[number - special]
    }

    private func known(_ word: [Int], _ first: Int, _ end: Int) -> Int {
        guard let number = number(word, first, end - first), number >= special else { return Tokenizer.unknown }
        return number
    }
}
