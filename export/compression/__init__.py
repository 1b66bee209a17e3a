"""What changes a Keras model to make it smaller, or fit for integers."""
