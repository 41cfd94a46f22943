"""What the embedded model is worth.

evaluation     accuracy on held-out questions, and without looking
calibration    how far the model's probabilities are to be trusted
example_clips  example clips as videos, with their questions
"""
