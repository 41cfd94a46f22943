"""Tell why a compressed model answers as it does.

explain    ``explain``: runs and a search into a ``Why``
report     ``Why``: what was asked, what was said, and the cause; plain Python and JSON
sentence   the cause and its sentence, from the rows alone
rows       which runs are compared
bench      one clip and question, asked under many decisions before the LLM
search     the smallest set of lost tokens whose return brings the answer back
influence  how much each token matters to an answer, by one backward pass
"""
