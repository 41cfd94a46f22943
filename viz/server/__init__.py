"""What the page runs and keeps. No gradio.

runner           one model, one run at a time
turns            visitors in turn
quota            who keeps how much of a place that all visitors share
shelf            files of traces named by their content
origin           what made a trace, and its question asked again
job              what was typed on the page into the arguments of ``answer``
uploads          what browsers and scripts upload
stand_ins        films in place of clips that no browser plays
process_folder   a folder of this process alone
hosts            under which names the page answers
world_clips      clips of the world of shapes, made anew from their seeds
"""
