"""What was found, as JSON and as HTML pages: losses of a conversion, a comparison, what quantizing costs.

It prints nothing and reads no model. May import `errors`, `io`, `plan`, `run`, `measure` and `verify`.
"""
