"""Quantized checkpoints as plain ones: which stored tensors make a weight, told from names, shapes and declarations.

It stands between a checkpoint and the tables, which see names, shapes and types of weights only. A stored form is one row of
`forms.FORMS`. May import `notes`, `errors`, `io`, `ops`, `sources` and `sources.original`.
"""
