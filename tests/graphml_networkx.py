#!/usr/bin/env python3
"""graphml_networkx.py CIRCUIT_FILES: networkx reads a circuit's GraphML as its JSON says it is."""
import json
import subprocess
import sys
import tempfile

try:
    import networkx
except ImportError:
    print("skipped: networkx is not installed (make deps-ci)")
    sys.exit(0)

with tempfile.TemporaryDirectory() as folder:
    subprocess.run([sys.argv[1], folder], check=True)
    graph = networkx.read_graphml(f"{folder}/circuit.graphml")
    with open(f"{folder}/circuit.json", encoding="utf-8") as file:
        circuit = json.load(file)

close = lambda a, b: abs(a - b) <= 1e-6 * max(1, abs(b))
assert graph.is_directed()
assert graph.graph["task"] == "</data><![CDATA[ & \"quote\" 'x'  é", graph.graph
assert set(graph.nodes) == {node["name"] for node in circuit["nodes"]}
for node in circuit["nodes"]:
    read = graph.nodes[node["name"]]
    assert read["site"] == node["site"] and read["channel"] == node["channel"], (node, read)
    assert read["layer"] == (-1 if node["layer"] is None else node["layer"]), (node, read)
    assert close(read["delta"], node["delta"]), (node, read)
    for key in "label", "note":  # but for what XML cannot say
        assert read.get(key) == (node[key].replace("\ufffe", "") if key in node else None), (node, read)
assert sum("label" in node and "note" in node for node in circuit["nodes"]) == 1
assert graph.number_of_edges() == len(circuit["edges"]) > 3
for edge in circuit["edges"]:
    read = graph.edges[edge["from"], edge["to"]]
    assert close(read["weight"], edge["weight"]) and close(read["delta"], edge["delta"]), (edge, read)
print(f"{len(graph)} nodes, {graph.number_of_edges()} edges")
