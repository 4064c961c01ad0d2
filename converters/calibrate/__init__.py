"""Importance matrices made from checkpoints: texts through the model of transformers, a layer at a time.

May import `system`, `errors`, `io`, `metadata`, `ops`, `rules`, `tokenizer`, `planners`, `verify`, `run` and `quant`.
"""
