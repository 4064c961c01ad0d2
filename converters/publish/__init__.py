"""What goes out to the Hub: which files under which names, the model card, the upload and its commit.

Planners and `run` do not know it: what is published is complete. May import `notes`, `errors`, `io`, `sources`, `metadata`,
`inspect`, `run`, `measure` and `quant.recipes`.
"""
