import plotly.express as px

from adadecode.sim import Space, read_profile, sweep

profile = read_profile("profiles/recorded/demo-cpu")
space = Space.among(profile.depths, profile.n_layers, max_heads=2, gammas=(0.3, 0.5, 0.7, 0.9))
result = sweep(profile, space, objectives=("tpot", "flops"))
print(result.best("recorded")[["design", "speedup_low", "speedup", "speedup_high"]])
front = result.front("recorded")
figure = px.line(front, x="flops_per_token", y="tpot_s", hover_name="design", markers=True)
figure.write_html("front.html")
