"""Keypoints as words: a decoder language model that is asked for places and answers in coordinates."""
