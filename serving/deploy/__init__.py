"""What a fleet of TF Serving needs beside its models: images, manifests, monitoring, traffic."""
