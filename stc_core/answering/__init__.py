"""Turn a file and a question into an answer.

video           a video file into frames with their timestamps
decoding        what FFmpeg is asked through PyAV
video_file      a look at a video file before a decoder opens it
upright         decoded frames into upright pictures of one size
prompt          a question and a clip into the model's inputs
frame_selection the frames that differ, among many that are looked at in low resolution
asked           a video and a question into frames and the prompt, remembered by a cache
equal_tokens    as many tokens of chosen frames as of uniform ones
generation      let a loaded model generate, with the probability of what it says
answer          ``answer``: compressed and not, with trace and costs
sweep           one question at many settings of a method, from coarse to fine
recorded_words  the words of question and answer, and what they attend to
accounting      what a finished run has cost
reporting       how far a run is
video_stream    a video that comes in chunk by chunk, or is longer than the model reads
chunks          checks of what is fed to a stream
pooled_prompt   the prompt about what is left of such a video
conversation    several questions about one video
cached          further questions from a kept KV cache, without the video
download        a video by its address, from public hosts only
teaching        what the embedded model's limits are
"""
