"""Draw pictures of a trace: pure functions of (Trace, frames). No model, no torch, no gradio."""
