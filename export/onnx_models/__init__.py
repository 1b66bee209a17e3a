"""ONNX files as graphs of TensorFlow: read node by node, with the numbers of the file and the names of its inputs."""
