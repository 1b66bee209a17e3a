"""From a trained Keras model to files on a device, and the proof that they answer alike."""
