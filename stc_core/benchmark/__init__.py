"""Compare methods on the same questions, and follow what became of the evidence.

cases           a question about a clip; the world of shapes as a source of them
video_folder    your own videos as a source; ``questions_file`` reads and checks their questions
rows            which methods are tried, how often
vision_once     the vision tower sees each clip once
ask             one case under many methods
answers_file    answers in a file: resumable, locked
run             all cases under all methods
causes          why answers were turned
ray_workers     the same on all cores and GPUs of many machines
score           accuracies, intervals, flips, evidence
tables          tables in Markdown
readme_section  the section of a README
plots           pictures
long_video      windows and streams against the whole video at once
hour            time and memory of a question about an hour
result_files    the files that a benchmark leaves
tracking        a run of trackio or Weights & Biases
"""
