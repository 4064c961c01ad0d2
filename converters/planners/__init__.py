"""Plans of conversions, one module per direction: headers, tables and options in, a plan or one error out.

May import `notes`, `errors`, `ops`, `io`, `sources`, `rules`, `arch`, `arch.projectors`, `tokenizer`, `metadata`,
`plan`, `sources.original`, `sources.packed`, `sources.merged`, `quant` and `quant.recipes`.
"""
