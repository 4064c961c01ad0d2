"""The `general.*` key-values of a GGUF file, model cards, and the names of files.

May import `errors`, `io` and `sources`.
"""
