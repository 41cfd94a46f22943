"""Support LLaVA-Video, which no stock class computes: model, processor, converter."""
