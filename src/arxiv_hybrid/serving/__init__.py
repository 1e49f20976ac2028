"""The scoring server: MLflow's protocol in front of a batcher, and a page for people."""
