"""Build and train the embedded Video-LLM.

sizes               ``build`` the untrained model and its processor, ``save`` a checkpoint
opened              a model to examine, and the fingerprint of its weights
batches             training batches, a function of the recipe alone
random_parts        the part of a clip's tokens that a batch shows
recipe              all that decides the trained weights
losses              what training minimizes
question_turns      several questions in one sequence that do not see each other
training_run        one run: model, optimizer, position, state file
training            ``train(output)``
learning_curve      ``plot``: the curve of a run
familiar_pictures   what tells pictures of the world from others
contribution_layer  which layer of the vision tower attends to things
"""
