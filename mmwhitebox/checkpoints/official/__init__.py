"""Weights of the official implementations: their keys, the models they are of, the way here and back."""
