"""What is fitted: models that know what they are trained for. All go under the same `fit`, checkpoints and resume."""
