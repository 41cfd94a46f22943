"""Hold the parts that several methods share.

selection   the greedy choice of tokens by contribution under a redundancy threshold
clustering  density-peaks clustering on k nearest neighbors: the centers and who joins them
points      tokens as points in space, and the distances between them
exact       densities and nearest denser points, every distance in float64
float32_first  the same by a float32 product, and float64 where its error could decide
bounds      lower bounds of distances from a float32 product
merging     relevance to the question, and merging inside the LLM
sharing     shares of a budget among frames, and of tokens in the mean that carries them
progress    how far a long decision has come
"""
