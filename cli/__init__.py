"""The command line: the only code that prints, reads the environment, or exits.

May import `notes`, `errors`, `io`, `sources`, `arch`, `arch.projectors`, `metadata`, `inspect`, `plan`, `planners`, `run`,
`verify`, `report`, `publish`, `calibrate`, `measure`, `batch`, `quant` and `quant.recipes`.
"""
