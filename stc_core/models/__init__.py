"""Turn a name into a model: families, checkpoints, placement, memory.

loading     open a Video-LLM: the embedded one, a folder, a name on the model hub
families    one record per model family
layout      where the tokens of a video stand in a prompt
hub         a checkpoint on the model hub
checkpoint  whether all of a checkpoint is there
processors  the processor, with what published files leave out
placement   device, number type, attention kernel
memory      how much memory a model takes
familiarity whether a clip is of the world that a model was trained on
fitting     whether a model fits, before it is downloaded
llava_video LLaVA-Video on stock classes
stock       names for what transformers makes and does not type
table       the families as a table in Markdown
"""
