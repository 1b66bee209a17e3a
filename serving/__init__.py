"""A server that speaks TF Serving's protocol, a client, and what a fleet of TF Serving needs."""
