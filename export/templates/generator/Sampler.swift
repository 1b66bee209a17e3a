// Pictures out of noise, step by step: the sampler of a diffusion model.
// It does what `sampled` of code/python/diffusion.py does, line by line.
import Foundation

public struct Sampler {
    /// A row for each step: its number, the shares of image and noise, and how much of the noisy image, of the image, and of the image of the step before there is in the next.
    public var steps: [[Double]]
    /// What the network says of a noisy image: its velocity, its noise, or the image.
    public var target: String
    /// What a number of the image is at most, and less what at least.
    public var most: Float32

    public init(steps: [[Double]], target: String, most: Float32 = 1) {
        self.steps = steps
        self.target = target
        self.most = most
    }

    /// Returns a picture, -1..1, or a latent, of noise, by what a network says of a noisy image at a step.
    public func picture(noise: [Float32], denoise: ([Float32], Float32) throws -> [Float32]) rethrows -> [Float32] {
        var x = noise
        var last = [Float32](repeating: 0, count: noise.count)
        for row in steps {
            let numbers = row.map { Float32($0) }
            let (signals, noises, keep, share, before) = (numbers[1], numbers[2], numbers[3], numbers[4], numbers[5])
            let said = try denoise(x, numbers[0])
            var image = x
            for at in x.indices {
                image[at] = min(max(imageOf(said[at], x: x[at], signals: signals, noises: noises), -most), most)
                x[at] = keep * x[at] + share * image[at] + before * last[at]
            }
            last = image
        }
        return x
    }

    /// Returns what is said of a noisy image by what a network says with a class, or a text, and without one (Ho & Salimans, 2022).
    public static func guided(_ withClass: [Float32], without: [Float32], guidance: Float32) -> [Float32] {
        zip(withClass, without).map { $1 + guidance * ($0 - $1) }
    }

    private func imageOf(_ said: Float32, x: Float32, signals: Float32, noises: Float32) -> Float32 {
        switch target {
        case "velocity": return signals * x - noises * said
        case "image": return said
        default: return (x - noises * said) / max(signals, 1e-6)
        }
    }
}
