"""Networks on ONNX Runtime: sessions, manifests and the run-time policy. Never imports torch."""
