"""Examine the embedded model: accuracy, calibration, use of the evidence.

evaluation     accuracy on held-out questions, and without looking
asking         which questions are asked, and of which clips
replying       the answers of a model, several at a time
examined       the result: accuracy by kind, intervals
evidence       questions with their evidence kept, removed and returned
familiarity    how surely clips and questions of other worlds are told
answer_file    a file of answers from which a later run goes on
grids          token grid and frame size of a model
calibration    how far the model's probabilities can be trusted
example_clips  example clips as videos, with their questions
"""
