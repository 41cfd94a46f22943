"""The embedded Video-LLM: its sizes and its training.

sizes               ``build`` the untrained model and its processor, ``save`` a checkpoint
batches             training batches, a function of the recipe alone
random_parts        the part of a clip's tokens that a batch shows
training            ``train(output)``: the whole recipe
learning_curve      ``plot``: the curve of a run
contribution_layer  which layer of the vision tower attends to things
"""
