"""Makes test/parity/golden/merge: tiny Llama-shaped models and what mergekit 0.1.5 makes of them.

usage: python scripts/golden/mergekit-merges.py OUT_DIR      (packages: scripts/golden/mergekit-requirements.txt)

Everything is seeded, so a second run writes the same bytes, except for the two random methods on another build of torch.
OUT_DIR gets one <model>.safetensors for each input, and for each case <case>.yml and <case>.safetensors.
"""

import json
import os
import shutil
import sys
import tempfile

import numpy as np
import torch
import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import MergeOptions, run_merge
from safetensors.torch import load_file, save_file

HIDDEN, INTER, VOCAB, LAYERS, HEADS, KV_HEADS = 16, 20, 24, 2, 2, 1
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": INTER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "vocab_size": VOCAB,
    "tie_word_embeddings": False,
    "rms_norm_eps": 1e-5,
    "torch_dtype": "float32",
}


def shapes():
    head = HIDDEN // HEADS
    result = {"model.embed_tokens.weight": (VOCAB, HIDDEN)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        result |= {
            prefix + "self_attn.q_proj.weight": (HIDDEN, HIDDEN),
            prefix + "self_attn.k_proj.weight": (KV_HEADS * head, HIDDEN),
            prefix + "self_attn.v_proj.weight": (KV_HEADS * head, HIDDEN),
            prefix + "self_attn.o_proj.weight": (HIDDEN, HIDDEN),
            prefix + "mlp.gate_proj.weight": (INTER, HIDDEN),
            prefix + "mlp.up_proj.weight": (INTER, HIDDEN),
            prefix + "mlp.down_proj.weight": (HIDDEN, INTER),
            prefix + "input_layernorm.weight": (HIDDEN,),
            prefix + "post_attention_layernorm.weight": (HIDDEN,),
        }
    return result | {"model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCAB, HIDDEN)}


def make_models():
    """f32 models whose magnitudes do not tie, and bf16 models on a coarse grid, where many do."""
    rng = np.random.default_rng(20240917)
    base = {n: rng.normal(0, 0.05, s).astype(np.float32) for n, s in shapes().items()}
    models = {"base": base}
    for name in ("expert-a", "expert-b", "expert-c"):
        deltas = {n: rng.standard_t(4, s).astype(np.float32) * np.float32(0.004) for n, s in shapes().items()}
        models[name] = {n: base[n] + deltas[n] for n in base}
    models = {m: {n: torch.from_numpy(t) for n, t in ts.items()} for m, ts in models.items()}
    coarse = {n: t.to(torch.bfloat16) for n, t in models["base"].items()}
    models["coarse-base"] = coarse
    for name in ("coarse-a", "coarse-b"):
        steps = {n: torch.from_numpy(rng.integers(-3, 4, s)).float() / 256 for n, s in shapes().items()}
        models[name] = {n: (coarse[n].float() + steps[n]).to(torch.bfloat16) for n in coarse}
    return models


def case(method, models, base="base", parameters=None, **rest):
    recipe = {"merge_method": method}
    if base:
        recipe["base_model"] = base
    recipe["models"] = [{"model": name, "parameters": values} for name, values in models.items()]
    if parameters:
        recipe["parameters"] = parameters
    return recipe | {"dtype": "float32"} | rest


LINEAR = {"expert-a": {"weight": 0.6}, "expert-b": {"weight": 0.3}, "expert-c": {"weight": 0.5}}
WEIGHTED = {"expert-a": {"weight": 0.7}, "expert-b": {"weight": 0.5}, "expert-c": {"weight": 0.3}}
THINNED = {
    "expert-a": {"weight": 0.7, "density": 0.4},
    "expert-b": {"weight": 0.5, "density": 0.6},
    "expert-c": {"weight": 0.3, "density": 0.25},
}
ONE = {"expert-a": {"weight": 1.0, "density": 0.4}}
PLANNED = {
    "expert-a": {"weight": [0.2, 0.8], "density": [{"filter": "mlp", "value": 0.5}, {"value": 0.9}]},
    "expert-b": {"weight": [{"filter": "q_proj", "value": [1.0, 0.1]}, {"filter": "*", "value": 0.4}]},
}

CASES = {
    "linear": case("linear", LINEAR, base=None),
    "linear-unnormalized": case("linear", LINEAR, base=None, parameters={"normalize": False}),
    "task_arithmetic": case("task_arithmetic", WEIGHTED, parameters={"lambda": 0.9}),
    "task_arithmetic-normalized": case("task_arithmetic", WEIGHTED, parameters={"normalize": True}),
    "ties": case("ties", THINNED),
    "ties-unnormalized": case("ties", THINNED, parameters={"normalize": False, "lambda": 1.3, "int8_mask": True}),
    "ties-planned": case("ties", PLANNED, parameters={"density": 0.3}),
    "dare_linear": case("dare_linear", ONE),
    "dare_ties": case("dare_ties", ONE),
    "ties-coarse": case(
        "ties", {"coarse-a": {"weight": 0.5, "density": 0.3}, "coarse-b": {"weight": 0.5, "density": 0.3}}, base="coarse-base"
    ),
}
for method in ("linear", "task_arithmetic", "ties", "dare_linear", "dare_ties"):
    CASES[f"{method}-bf16"] = CASES[method] | {"out_dtype": "bfloat16"}


def main(out_dir):
    os.makedirs(out_dir, exist_ok=True)
    out_dir = os.path.abspath(out_dir)
    work = tempfile.mkdtemp()
    os.chdir(work)
    for name, tensors in make_models().items():
        os.makedirs(name)
        with open(f"{name}/config.json", "w") as file:
            json.dump(CONFIG, file)
        save_file(tensors, f"{name}/model.safetensors", metadata={"format": "pt"})
        shutil.copy(f"{name}/model.safetensors", f"{out_dir}/{name}.safetensors")
    for name, recipe in CASES.items():
        text = yaml.safe_dump(recipe, sort_keys=False)
        with open(f"{out_dir}/{name}.yml", "w") as file:
            file.write(text)
        options = MergeOptions(copy_tokenizer=False, write_model_card=False, random_seed=7, quiet=True)
        run_merge(MergeConfiguration.model_validate(yaml.safe_load(text)), f"out-{name}", options)
        merged = load_file(f"out-{name}/model.safetensors")
        order = [n for n in shapes() if n in merged]
        assert len(order) == len(merged) == len(shapes())
        save_file({n: merged[n].contiguous() for n in order}, f"{out_dir}/{name}.safetensors", metadata={"format": "pt"})
    shutil.rmtree(work)


if __name__ == "__main__":
    main(sys.argv[1])
