"""Measure what compression costs on this machine.

measure  ``measure``: everything, and the profiler's table
inputs   tokens as of a video, the same on every device
parts    times of the parts of STC, of its rivals, of the obvious way
lengths  long videos: time and memory by length; windows; agreement
clocks   seconds, bytes, and what the machine is
report   tables and JSON
targets  what is wanted, and the section of docs/speed.md
"""
