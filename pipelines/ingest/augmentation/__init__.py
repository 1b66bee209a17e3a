"""Random changes of training examples, as recipe entries."""
