"""ggufx: the round-trip converter between Hugging Face checkpoints and GGUF.

    import ggufx
    ggufx.hf_to_gguf("org/model", "model.gguf", outtype="q4_k_m", imatrix="imatrix.gguf")
    ggufx.imatrix("org/model", "calibration.txt", "imatrix.gguf")
    ggufx.gguf_to_hf("model.gguf", "model/")
    ggufx.original_to_hf("Llama3.2-1B/", "Llama-3.2-1B-hf/")
    ggufx.lora_to_gguf("adapter/", base="org/model", outfile="adapter.gguf")
    ggufx.quantize("model-bf16.gguf", "model-{outtype}.gguf", ["q4_k_m", "q6_k"])
    ggufx.split("model.gguf", "parts/model", max_size=48 * 10**9)
    ggufx.join("parts/model-00001-of-00003.gguf", "model.gguf")
    ggufx.edit("model.gguf", chat_template="template.jinja", set={"general.name": "Model"})
    ggufx.verify("org/model", "model.gguf").same
    ggufx.push(["model-Q4_K_M.gguf", "model-Q8_0.gguf"], "me/model-GGUF", base_model="org/model")
    ggufx.measure("model-f16.gguf", ["model-q4_k_m.gguf"], "text.txt")[1].divergence
    ggufx.inspect("model.gguf").memory(32768)

Each verb returns what was written (`Result`), raises `GgufxError`, and writes nothing under a final name unless it is
complete. With `dry_run=True` it returns the plan instead, and refuses what it would refuse otherwise. Nothing heavy is
imported before a verb is called.

What the verbs that write have in common:

    dry_run     return the plan (`ConversionPlan`), write nothing
    force       replace existing outputs
    resume      go on where an interrupted run stopped; what is there already is checked, not trusted
    checksums   whether the result states the SHA-256 of each file
    report      a .json or .html file for what each tensor lost by its type; `Result.losses` then has it too
    threads     default: all CPUs. No byte depends on it
    max_memory  bytes of tensor data in flight, on each GPU as well
    device      auto, cpu, cuda (all GPUs) or cuda:N. The same bytes
    engine      threads, or ray: a cluster whose nodes see the same files. The same bytes
    progress    called with (bytes done, bytes in all, name of the tensor)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

from .verbs.adapters import lora_to_gguf, merge_lora
from .verbs.compare import inspect, verify
from .verbs.convert import gguf_to_hf, hf_to_gguf, original_to_hf
from .verbs.gguf_files import edit, join, quantize, split
from .verbs.hub import card, push
from .verbs.machines import batch, commit, run_shard, write_plan
from .verbs.matrices import imatrix, measure

if TYPE_CHECKING:
    from .converters.batch import Outcome
    from .converters.calibrate.imatrix import ImatrixResult
    from .converters.errors import GgufxError, IncompleteError
    from .converters.inspect.inspection import Inspection
    from .converters.measure.measure import Measured
    from .converters.plan.plan import ConversionPlan
    from .converters.publish.upload import Pushed
    from .converters.run.execute import Result
    from .converters.run.shards import ShardResult
    from .converters.verify.verify import Report

__all__ = ["ConversionPlan", "GgufxError", "ImatrixResult", "IncompleteError", "Inspection", "Measured", "Outcome", "Pushed",
           "Report", "Result", "ShardResult", "__version__", "batch", "card", "commit", "edit", "gguf_to_hf", "hf_to_gguf",
           "imatrix", "inspect", "join", "lora_to_gguf", "measure", "merge_lora", "original_to_hf", "push", "quantize",
           "run_shard", "split", "verify", "write_plan"]

_ELSEWHERE = {"GgufxError": "errors", "IncompleteError": "errors", "Result": "run.execute", "ShardResult": "run.shards",
              "Outcome": "batch", "ConversionPlan": "plan.plan", "ImatrixResult": "calibrate.imatrix",
              "Inspection": "inspect.inspection", "Measured": "measure.measure", "Report": "verify.verify",
              "Pushed": "publish.upload"}


def __getattr__(name: str) -> Any:
    if name in _ELSEWHERE:
        from importlib import import_module

        return getattr(import_module(f".converters.{_ELSEWHERE[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
