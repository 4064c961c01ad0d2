"""A conversion as data: files, regions, jobs and how they are cut; the one place that lays out a GGUF file.

Planners make plans and `run` carries them out, and neither knows the other. May import `notes`, `errors`, `ops`, `io` and
`quant.formats`.
"""
