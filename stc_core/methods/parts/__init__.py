"""Hold the parts that several methods share.

selection   the greedy choice of tokens by contribution under a redundancy threshold
clustering  density-peaks clustering on k nearest neighbors
merging     relevance to the question, and merging inside the LLM
sharing     shares of a budget among frames, and of tokens in the mean that carries them
progress    how far a long decision has come
"""
