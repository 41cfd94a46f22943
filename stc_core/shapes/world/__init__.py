"""Make clips of the world of shapes: scenes, their pictures and questions about them.

scenes             what is in a clip and where, from one seed
drawing            scenes to pixels, and the cells that a thing covers
questions          questions with one right answer and known evidence
clip               ``make_clip(seed)``: frames, times, questions
foreign            pictures from outside the world
question_forms     whether a question has a form that the world asks
outside_questions  questions that no clip of the world answers
"""
