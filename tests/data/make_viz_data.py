#!/usr/bin/python3
"""Writes tests/data/released with torch: a small model of the released layout (beeg_config.json,
final_model.pt), a circuit in the form of the released viz_data.pt, what a reader must find in it
(expected.json, from the state dict and the lists below, not from the library), and malformed files.

    /usr/bin/python3 tests/data/make_viz_data.py [FOLDER]
"""
import copy
import json
import pathlib
import sys

import torch

CONFIG = {
    "block_size": 20, "vocab_size": 24, "n_layer": 2, "n_head": 3, "d_head": 4, "d_model": 18, "d_mlp": 32,
    "bias": True, "ln_bias": True, "rms_norm": True, "activation_type": "gelu", "afrac": 0.5,
    "afrac_loctypes": "attn_in,attn_out,mlp_in,mlp_out,mlp_neuron,attn_v,attn_k,attn_q",
    "tied_unembed": False, "enable_bigram_table": True, "learnable_bigram_table": True, "sink": True,
    "dropout": 0.0, "flash": True, "tokenizer_name": "tinypython_2k",
}
LAYERS, HEADS, D_HEAD, WIDTH, NEURONS = (CONFIG[key] for key in ("n_layer", "n_head", "d_head", "d_model", "d_mlp"))
SITES = ["attn.act_in", "attn.q", "attn.k", "attn.v", "attn.resid_delta", "mlp.act_in", "mlp.post_act",
         "mlp.resid_delta"]
JOINED = [("attn.act_in", "attn.q"), ("attn.act_in", "attn.k"), ("attn.act_in", "attn.v"),
          ("attn.v", "attn.resid_delta"), ("mlp.act_in", "mlp.post_act"), ("mlp.post_act", "mlp.resid_delta")]
PADDED, PROMPTS = 12, 8


def width_of(site):
    return {"q": HEADS * D_HEAD, "k": HEADS * D_HEAD, "v": HEADS * D_HEAD, "post_act": NEURONS}.get(
        site.split(".")[-1], WIDTH)


def make_model(random):
    """A state dict with one weight in four nonzero."""
    def matrix(rows, cols, share=0.25):
        weights = torch.randn(rows, cols, generator=random)
        return weights * (torch.rand(rows, cols, generator=random) < share)

    def vector(n):
        return torch.randn(n, generator=random) * 0.1

    state = {"bigram_table": matrix(24, 24), "final_logits_bias": vector(24),
             "transformer.wte.weight": matrix(24, WIDTH, 0.5), "transformer.wpe.weight": matrix(20, WIDTH, 0.5)}
    for layer in range(LAYERS):
        block = f"transformer.h.{layer}."
        state[block + "ln_1.weight"] = 1 + vector(WIDTH)
        state[block + "attn.c_attn.weight"] = matrix(3 * HEADS * D_HEAD, WIDTH)
        state[block + "attn.c_attn.bias"] = vector(3 * HEADS * D_HEAD)
        state[block + "attn.c_proj.weight"] = matrix(WIDTH, HEADS * D_HEAD)
        state[block + "attn.c_proj.bias"] = vector(WIDTH)
        state[block + "attn.attn_imp.sink_logit"] = vector(HEADS)
        state[block + "ln_2.weight"] = 1 + vector(WIDTH)
        state[block + "mlp.c_fc.weight"] = matrix(NEURONS, WIDTH)
        state[block + "mlp.c_fc.bias"] = vector(NEURONS)
        state[block + "mlp.c_proj.weight"] = matrix(WIDTH, NEURONS)
        state[block + "mlp.c_proj.bias"] = vector(WIDTH)
    state["transformer.ln_f.weight"] = 1 + vector(WIDTH)
    for last, answer in ((5, 7), (9, 8)):  # the two halves of the prompts end so
        state["bigram_table"][last, answer] = state["bigram_table"][answer, last] = 20
    state["lm_head.weight"] = matrix(24, WIDTH, 0.5)
    return state


def weights_between(state, layer, source, target):
    """targets x sources, rows and columns in the order of the hooks' channels."""
    block = f"transformer.h.{layer}."
    if target in ("attn.q", "attn.k", "attn.v"):
        part = "qkv".index(target[-1])
        return state[block + "attn.c_attn.weight"].view(3, HEADS * D_HEAD, WIDTH)[part]
    name = {"attn.resid_delta": "attn.c_proj", "mlp.post_act": "mlp.c_fc", "mlp.resid_delta": "mlp.c_proj"}[target]
    return state[block + name + ".weight"]


def make_blocks(state, kept, deltas):
    """The list of [sources x targets, channels, channels, (site, site)]; q, k and v have the bias as a source."""
    blocks = []
    for layer in range(LAYERS):
        for source, target in JOINED:
            names = f"{layer}.{source}", f"{layer}.{target}"
            sources, targets = kept[names[0]].tolist(), kept[names[1]].tolist()
            matrix = weights_between(state, layer, source, target)[targets][:, sources].t()
            if deltas:
                matrix = (matrix.double().abs() * 0.125).float()
            if source == "attn.act_in":
                matrix = torch.cat([matrix, torch.ones(1, len(targets))])
                sources = sources + ["bias"]
            if not targets or len(sources) == 0:
                matrix = torch.zeros(0)
            blocks.append([matrix, sources, targets, names])
    return blocks


def make_samples(kept, random):
    """Top and bottom documents by channel: nothing a reader needs, but part of the form."""
    samples = {}
    for site in ("0.mlp.post_act", "1.attn.v"):
        documents = {}
        for channel in kept[site][:2]:
            key = channel if site == "1.attn.v" else channel.item()  # some files have tensors as keys
            document = (torch.randint(0, 24, (6,), generator=random).to(torch.int16),
                        torch.randn(6, generator=random).bfloat16(), torch.tensor(3))
            documents[key] = {share: ([document], [document]) for share in (0.001, 0.5)}
        samples[site] = documents
    return samples


def make_prompts(random):
    prompts = torch.zeros(PROMPTS, PADDED, dtype=torch.int64)
    for i in range(PROMPTS):
        length = 4 + i % (PADDED - 4) if i else PADDED  # the first fills its row
        prompts[i, :length] = torch.randint(1, 24, (length,), generator=random)
        prompts[i, 1] = 0  # a token 0 that is no padding
        prompts[i, length - 1] = 5 if i < PROMPTS // 2 else 9
    return prompts


def make_circuit(state, random):
    kept = {}
    for layer in range(LAYERS):
        for site in SITES:
            n = 0 if (layer, site) == (1, "attn.k") else 5
            order = torch.randperm(width_of(site), generator=random)[:n]
            kept[f"{layer}.{site}"] = order  # not ascending
    kept["final_resid"] = torch.tensor([3, 11])
    losses = {site: [0.5 + 0.0625 * i for i in range(len(channels))] for site, channels in kept.items()}
    losses["0.attn.q"] = torch.tensor(losses["0.attn.q"])
    prompts = make_prompts(random)
    deltas = make_blocks(state, kept, True)
    activations = {"0.mlp.post_act": {int(channel): torch.randn(PROMPTS, PADDED, generator=random).bfloat16()
                                      for channel in kept["0.mlp.post_act"][:2]}}
    importances = {
        "loss": 0.25, "interv_loss": torch.tensor(0.375),
        "ch_interv_losses": losses,
        "layer_interv_losses": {f"{layer}.{part}": 0.25 + layer for layer in range(LAYERS) for part in ("mlp", "attn")},
        "loc_interv_losses": {"0.attn.q": torch.tensor(0.75), "final_resid": 1.5},
        "pair_data": [[block] for block in deltas + deltas[:1]],  # a list for each process; one says it again
        "pair_data_connections": make_blocks(state, kept, False),
        "task_samples": (prompts, activations), "task_samples_circuit": (prompts, activations),
        "beeg_model_config": CONFIG,
    }
    circuit_data = dict(kept, prune_config={"k": 72, "lr": 0.01})
    return {"circuit_data": circuit_data, "samples": make_samples(kept, random), "importances": importances,
            "prune_config": {"k": 72, "lr": 0.01}, "all_loss": [(0, 2.0), (1, 0.4375)],
            "num_total_nodes": sum(width_of(site) for site in SITES) * LAYERS + WIDTH}


def node_name(site, channel):
    if site.split(".")[-1] in ("q", "k", "v"):
        return f"{site}.head{channel // D_HEAD}.ch{channel % D_HEAD}"
    return f"{site}.{channel}"


def expected_of(state, viz):
    kept = {site: channels.tolist() for site, channels in viz["circuit_data"].items() if site != "prune_config"}
    importances = viz["importances"]
    edges, deltas = [], {}
    for layer in range(LAYERS):
        for source, target in JOINED:
            matrix = weights_between(state, layer, source, target)
            for i in kept[f"{layer}.{source}"]:
                for j in kept[f"{layer}.{target}"]:
                    if matrix[j, i] != 0:
                        names = node_name(f"{layer}.{source}", i), node_name(f"{layer}.{target}", j)
                        edges.append([*names, float(matrix[j, i])])
                        deltas[" ".join(names)] = abs(float(matrix[j, i])) * 0.125
    numbers = {"released_model_loss": importances["loss"] / 2,
               "released_circuit_loss": float(importances["interv_loss"]) / 2}
    for site, channels in kept.items():
        for i, channel in enumerate(channels):
            numbers[f"released_ablation_loss {node_name(site, channel)}"] = (0.5 + 0.0625 * i) / 2
    for part, loss in importances["layer_interv_losses"].items():
        numbers[f"released_layer_loss_as_stored {part}"] = loss
    for site, loss in importances["loc_interv_losses"].items():
        numbers[f"released_site_loss_as_stored {site}"] = float(loss)
    numbers["released_search_loss_as_stored"] = 0.4375
    numbers["released_edges_stated"] = len(edges) + 1  # one that the model does not have
    numbers["released_edges_agreeing"] = len(edges)
    for names, delta in deltas.items():
        numbers[f"released_edge_delta_as_stored {names}"] = delta
    numbers["released_unplaced_nodes"] = 2
    prompts = []
    for row in importances["task_samples"][0].tolist():
        while row[-1] == 0:
            row.pop()
        prompts.append(row)
    nodes = [node_name(site, channel) for site in kept for channel in kept[site] if site != "final_resid"]
    return {"nodes": nodes, "edges": edges, "measurements": numbers, "prompts": prompts}


def add_untrue_edge(state, viz):
    """One nonzero in the file where the model's weight is zero."""
    for matrix, sources, targets, _ in viz["importances"]["pair_data_connections"]:
        for i in range(len(sources) - ("bias" in sources)):
            for j in range(len(targets)):
                if matrix[i, j] == 0:
                    matrix[i, j] = 1
                    return
    raise SystemExit("every weight is an edge")


def plain(kept, **importances):
    return {"circuit_data": kept, "importances": importances}


def malformed(viz):
    """Name: what is wrong with it, in a file that has little else."""
    ones = {"0.attn.q": torch.tensor([1, 2]), "0.attn.act_in": torch.tensor([1])}
    prompts = viz["importances"]["task_samples"][0]
    block = [torch.ones(1, 2), [1], [1, 2], ("0.attn.act_in", "0.attn.q")]

    def replaced(i, value):
        changed = list(block)
        changed[i] = value
        return plain(ones, pair_data=[changed])

    def told(tokens):
        return plain(ones, task_samples=(tokens, {}))

    def spoiled(row, column, token):
        changed = prompts.clone()
        changed[row, column] = token
        return told(changed)

    return {
        "no_dict": torch.zeros(3),
        "no_circuit": {"importances": {}},
        "circuit_is_list": {"circuit_data": [1]},
        "importances_is_list": {"circuit_data": ones, "importances": [1]},
        "unknown_site": plain({"2.attn.q": torch.tensor([0])}),
        "number_as_site": plain({7: torch.tensor([0])}),
        "channel_large": plain({"0.attn.q": torch.tensor([3, 12])}),
        "channel_negative": plain({"0.mlp.act_in": [-1]}),
        "channel_twice": plain({"0.mlp.act_in": [4, 5, 4]}),
        "channel_number": plain({"0.mlp.act_in": [4, 0.5]}),
        "channels_many": plain({"0.attn.v": torch.zeros(13, dtype=torch.int64)}),
        "channels_float": plain({"0.attn.v": torch.tensor([1.0])}),
        "channels_matrix": plain({"0.attn.v": torch.zeros(2, 1, dtype=torch.int64)}),
        "mask_width": plain({"0.attn.v": torch.tensor([True, False])}),
        "total": dict(plain(ones), num_total_nodes=999),
        "config": plain(ones, beeg_model_config=dict(CONFIG, d_mlp=64)),
        "loss_text": plain(ones, loss="low"),
        "loss_matrix": plain(ones, interv_loss=torch.zeros(2)),
        "losses_short": plain(ones, ch_interv_losses={"0.attn.q": [0.5]}),
        "losses_number": plain(ones, ch_interv_losses={"0.attn.q": 0.5}),
        "edges_number": plain(ones, pair_data=4),
        "edges_entry": plain(ones, pair_data=[[torch.ones(1, 2), [1]]]),
        "edges_matrix": replaced(0, torch.ones(3, 2)),
        "edges_flat": replaced(0, torch.ones(4)),
        "edges_channel": replaced(1, [18]),
        "edges_site": replaced(3, ("0.attn.act_in", "9.attn.q")),
        "edges_pair": replaced(3, ("0.attn.act_in",)),
        "prompts_missing": plain(ones),
        "prompts_odd": told(prompts[:3].clone()),
        "prompts_none": told(prompts[:0].clone()),
        "prompts_vector": told(prompts[0].clone()),
        "prompts_number": told(3),
        "prompts_float": told(prompts.float()),
        "prompts_long": told(torch.ones(2, 21, dtype=torch.int64)),
        "prompt_empty": told(prompts * torch.tensor([1, 0, 1, 1, 1, 1, 1, 1])[:, None]),
        "prompt_token": spoiled(2, 3, 24),
        "prompt_negative": spoiled(6, 0, -4),
    }


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "released")
    (folder / "bad").mkdir(parents=True, exist_ok=True)
    random = torch.Generator().manual_seed(3)
    state = make_model(random)
    (folder / "beeg_config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    torch.save(state, folder / "final_model.pt")
    viz = make_circuit(state, random)
    expected = expected_of(state, viz)
    add_untrue_edge(state, viz)
    torch.save(viz, folder / "viz_data.pt")
    (folder / "expected.json").write_text(json.dumps(expected, indent=None) + "\n")
    variants = {
        # lists in place of tensors and masks in place of numbers mean the same
        "lists": dict(copy.deepcopy(viz), samples={}, circuit_data={
            site: channels.tolist() if site.endswith("q") else channels
            for site, channels in viz["circuit_data"].items()}),
        "mask": {"circuit_data": {"0.attn.v": torch.arange(12) % 5 == 2, "1.mlp.act_in": torch.tensor([])
                                  .long()}},
        # one answer to both halves
        "same_answer": plain({}, task_samples=([[3, 4, 0], torch.tensor([3, 4])], {})),
    }
    for name, value in variants.items():
        torch.save(value, folder / f"{name}.pt")
    for name, value in malformed(viz).items():
        torch.save(value, folder / "bad" / f"{name}.pt")


if __name__ == "__main__":
    main()
