"""Two models compared, whatever form they are in: tensors, settings, tokenizers.

May import `system`, `notes`, `errors`, `ops`, `io`, `sources`, `rules`, `arch`, `arch.projectors`, `tokenizer`, `plan`,
`planners`, `sources.original`, `sources.packed`, `sources.merged`, `run` and `quant`.
"""
