"""What quantizing costs: perplexity of GGUF files, and how far their predictions are from those of the file they were made of.

The runtime is llama.cpp, in a process of its own. May import `notes`, `errors`, `io`, `planners`, `verify` and
`quant.recipes`.
"""
