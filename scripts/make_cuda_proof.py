"""Write quant/cuda/proof.json: digests of what the CPU kernels make of the sample that a GPU is tried on."""

import json

from ggufx.quant import KERNELS
from ggufx.quant.cuda.proof import RECORDED, digest, trials

found = {format: {trial: digest(format, trial, "cpu") for trial in trials(format)} for format in KERNELS}
RECORDED.write_text(json.dumps(found, indent=1) + "\n")
