"""The learned policy: camera, LiDAR and language tokens, their fusion, and the heads (PyTorch; needed for training only)."""
