"""What a file or a folder holds, told from headers: its model in few facts, its parts, the memory it takes in a runtime.

May import `errors`, `io`, `sources`, `rules`, `arch`, `tokenizer`, `sources.original`, `sources.packed` and `quant.recipes`.
"""
