"""The `general.*` key-values of a GGUF file, model cards, the names of files, Ollama's Modelfile.

May import `errors`, `io` and `sources`.
"""
