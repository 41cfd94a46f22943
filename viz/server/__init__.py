"""Hold what the page runs and keeps. No gradio.

runner           one model, one run at a time
turns            visitors in turn
quota            who keeps how much of a place that all visitors share
shelf            files of traces named by their content
origin           what made a trace
rerun            a trace's question asked again
job              text typed on the page as arguments of ``answer``
chat_request     a request for a chat completion
uploads          what browsers and scripts upload
stand_ins        films in place of clips that no browser plays
process_folder   a folder of this process alone
hosts            the host names under which the page answers
world_clips      clips of the world of shapes, made again from their seeds
"""
