"""LLaVA-Video, which no stock class computes: model, processor, and a converter of checkpoints."""
