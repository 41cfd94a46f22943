"""The embedded Video-LLM and its world of shapes.

world      what is in a clip and where: scenes from one seed
draw       scenes to pixels, and the cells a thing covers
questions  questions with one right answer and known evidence
clip       make_clip(seed): frames, times, questions
model      build() the untrained model and its processor, save() a checkpoint
batches    training batches, a function of the recipe alone
train      train(output): the whole recipe
curve      plot(): the learning curve of a run
evaluate   evaluate(): accuracy on held-out questions, and without looking
calibration  how far the model's probabilities are to be trusted
layers     layer_auc(): which vision layer attends to things
export     export(): example clips as videos
"""

from stc_core.shapes.clip import Clip, make_clip
from stc_core.shapes.questions import KINDS, Question
from stc_core.shapes.world import (
    DEVELOPMENT_SEEDS,
    HELD_OUT_SEEDS,
    TRAIN_SEEDS,
    WORLD,
    World,
)

__all__ = [
    "DEVELOPMENT_SEEDS",
    "HELD_OUT_SEEDS",
    "KINDS",
    "TRAIN_SEEDS",
    "WORLD",
    "Clip",
    "Question",
    "World",
    "make_clip",
]
