"""The stages of `train_tiny_prior.py`, one a file."""
