"""Makes test/parity/golden/merge-peft: small LoRA adapters and what peft 0.21 makes of them.

usage: python scripts/golden/peft-merges.py OUT_DIR      (packages: scripts/golden/peft-requirements.txt)

Seeded: a second run writes the same bytes. OUT_DIR gets base.safetensors; for each adapter <name>.safetensors with
<name>.json (adapter_config.json) and, merged into the base, <name>-merged.safetensors; and cat.safetensors.
"""

import json
import os
import shutil
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from transformers.pytorch_utils import Conv1D


class Toy(nn.Module):
    """One layer of each kind that LoRA changes; `square` shows a transposition that shapes cannot."""

    def __init__(self):
        super().__init__()
        self.config = {"model_type": "toy"}
        self.embed = nn.Embedding(11, 8)
        self.q = nn.Linear(8, 6)
        self.k = nn.Linear(8, 10)
        self.wide = Conv1D(12, 8)
        self.square = Conv1D(8, 8)
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(8, 2)

    def forward(self, ids):
        return self.head(self.square(self.embed(ids)))


ADAPTERS = {
    "plain": dict(target_modules=["q", "k"], r=3, lora_alpha=6),
    "rslora": dict(target_modules=["q"], r=3, lora_alpha=6, use_rslora=True),
    "patterns": dict(target_modules=["q", "k"], r=3, lora_alpha=6, rank_pattern={"k": 5}, alpha_pattern={"k": 20}),
    "embedding": dict(target_modules=["embed", "q"], r=2, lora_alpha=3, bias="lora_only"),
    "fan-in-fan-out": dict(target_modules=["wide", "square"], r=4, lora_alpha=4, fan_in_fan_out=True),
    "convolution": dict(target_modules=["conv"], r=2, lora_alpha=5),
    "saved": dict(target_modules=["k"], r=5, lora_alpha=10, modules_to_save=["head"]),
}
CAT = (["plain", "saved"], [0.7, -0.4])


def toy():
    torch.manual_seed(11)
    return Toy()


def write_adapter(path, options, seed):
    model = get_peft_model(toy(), LoraConfig(**options))
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(path)


def state(model):
    return {name: tensor.detach().clone().contiguous() for name, tensor in model.state_dict().items()}


def main(out_dir):
    os.makedirs(out_dir, exist_ok=True)
    out_dir = os.path.abspath(out_dir)
    work = tempfile.mkdtemp()
    os.chdir(work)
    save_file(state(toy()), f"{out_dir}/base.safetensors")
    for seed, (name, options) in enumerate(ADAPTERS.items()):
        write_adapter(name, options, seed)
        shutil.copy(f"{name}/adapter_model.safetensors", f"{out_dir}/{name}.safetensors")
        with open(f"{name}/adapter_config.json") as file:
            config = json.load(file)
        config["target_modules"] = sorted(config["target_modules"])
        with open(f"{out_dir}/{name}.json", "w") as file:
            json.dump(config, file, indent=1, sort_keys=True)
        merged = PeftModel.from_pretrained(toy(), name).merge_and_unload()
        save_file(state(merged), f"{out_dir}/{name}-merged.safetensors")
    names, weights = CAT
    model = PeftModel.from_pretrained(toy(), names[0], adapter_name=names[0])
    model.load_adapter(names[1], names[1])
    model.add_weighted_adapter(names, weights, "stacked", combination_type="cat")
    model.save_pretrained("stacked", selected_adapters=["stacked"])
    save_file(load_file("stacked/stacked/adapter_model.safetensors"), f"{out_dir}/cat.safetensors")
    shutil.rmtree(work)


if __name__ == "__main__":
    main(sys.argv[1])
