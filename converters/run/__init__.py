"""Plans carried out: tiles on threads and GPUs, outputs that appear complete or not at all, resuming.

Nothing here knows a model, so a worker on another machine needs no more. May import `system`, `notes`, `errors`, `ops`,
`io`, `plan` and `quant`.
"""
