"""Hook into models and out again: the only place that touches transformers' internals.

attaching    forward hooks that always come off again
kv_cache     the KV cache of a call, under whichever name the library passes it
probes       what attention modules see, read while they run
attention    attention weights from queries and keys
shortening   the sequence made shorter at the decoder's door and after layer K
forced       the probability of a given answer
timing       wall time of tower, prefill and decoding
compression  ``compress(model, method)``
claiming     one ``with`` at a time for each model; what cannot be hooked
kept_cache   the KV cache of a compressed prompt, kept and continued in another ``with``
kept_file    that cache as a file
tower        the vision tower in bounded batches, and not at all for a clip that it has seen
run_cache    what runs have worked out, kept from call to call
recording    what a recorded run keeps beside the fates
"""
