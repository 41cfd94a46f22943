"""The benchmark: every method on the same questions, and what became of the evidence.

cases   a question about a clip; the world of shapes as a source of them
folder  videos of one's own as another; questions_file reads and checks their questions
wording which answers count as the same
grid    which methods are tried, how often
vision  the vision tower sees each clip once
ask     one case under many methods
record  answers in a file: resumable, locked
run     all cases under all methods
score   accuracies, intervals, flips, evidence
table   tables in Markdown
readme  the section of a README
plots   pictures
results the files that a benchmark leaves
"""
