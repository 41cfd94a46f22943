"""Hold what a run did and what it cost: traces, grids, FLOPs, times. numpy and plain Python.

grid          where a video token lies: flat index <-> (frame, row, column) <-> box of pixels
trace         the fate of every video token, from the projector to the LLM's last layer
stages        the steps of a compression, and the fates that they lead to
trace_arrays  the arrays of a trace: types and limits
trace_file    trace files, read within bounds
trace_header  the JSON header of a trace file: its schema, with a limit on everything
sweep         one question at many settings of a method
sweep_file    files of sweeps
archive       ``.npz`` files from strangers, read within bounds
costs         what an answer costs: tokens, arithmetic, memory, time
flops         the arithmetic of an answer, from the shapes of the model
stopwatch     wall time per stage and per generated token
"""
