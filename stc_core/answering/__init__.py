"""A file and a question into an answer.

video         a video file into frames with their timestamps
decoding      what FFmpeg is asked through PyAV
video_file    a look at a video file before a decoder opens it
upright       decoded frames into upright pictures of one size
prompt        a question and a clip into the model's inputs
answer        ``answer``: compressed and not, with trace and costs
conversation  several questions about one video
teaching      what the embedded model's limits are
"""
