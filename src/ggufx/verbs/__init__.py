"""The verbs as Python calls, by what they work on; `ggufx` has them all. Each imports what it needs when it is called."""
