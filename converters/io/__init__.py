"""Files as strangers made them: strict readers of GGUF, safetensors, pickled tensors and JSON, and encoders of headers.

Nothing here knows a model. May import `system`, `errors` and `quant.formats`, without whose block sizes no offset can be
checked.
"""
