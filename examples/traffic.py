"""Traffic in time: sensors on roads, and what they read next

Signals on a graph that change in time: here speeds of cars at some sensors, made by a process whose edge weights are
known. A graph recurrent network reads some steps and foretells the next. Its edge weights should find those of the
process.
"""

import torch

import edgenet
from edgenet.data import load
from edgenet.models import GraphRecurrent

nodes, steps, epochs = 10, 1500, 12

# ## The data
#
# A window is two steps of all sensors, its target the step that follows. `load("metr_la")` is a week of speeds on the
# highways of Los Angeles, in the same form, where its file is present; so is `load("chickenpox")`.

data = load("graph_process", num_nodes=nodes, steps=steps, past=2)
windows = data.train[0]
print(windows)
print(data.task, data.metric, {name: value for name, value in data.info.items() if isinstance(value, float)})

# ## A recurrent network of graph filters
#
# The cell is that of a GRU. Both of its maps are graph layers, so a sensor hears its neighbours at every step.
# `last=True` gives the scores after the last step.

for layer, options in (("gcnn", {}), ("edge_varying", {"bank": "heads", "heads": 4})):
    torch.manual_seed(0)
    model = GraphRecurrent(1, 1, layer=layer, order=1, hidden_channels=8, cell="gru", last=True, **options)
    result = edgenet.fit(model, data, epochs=epochs, lr=0.01, seed=0, progress=False)
    print(f"{layer:13} test error {result.test:.3f}, {sum(p.numel() for p in model.parameters()):,} parameters")

# ## Go on from a state
#
# A model that runs beside the sensors reads one step at a time.

model = GraphRecurrent(1, 1, layer="gcnn", order=1, hidden_channels=8, cell="gru").eval()
state, edges = None, windows.edge_index
with torch.no_grad():
    for step in range(3):
        score, state = model(torch.randn(1, 1, nodes, 1), edges, state=state, return_state=True)
        print(step, tuple(score.shape))

# [Recurrent networks and graph signals](../recurrent.md) has gates, lengths and states;
# [traffic and chickenpox](../results/recurrent_traffic.md) has results.
