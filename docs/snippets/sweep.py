import plotly.express as px

from adadecode.sim import Space, read_profile, sweep

profile = read_profile("profiles/recorded/demo-cpu")
# All placements of one or two trained heads:
space = Space(max_heads=2, gammas=(0.3, 0.5, 0.7, 0.9))
result = sweep(profile, space, objectives=("tpot", "flops"), domain="arithmetic")
best, front = result.best(), result.front()
interval = ("speedup_low", "speedup", "speedup_high")
print(best["design"], [round(best[name], 2) for name in interval])
print(front[["design", "tpot_s", "flops_per_token"]])
figure = px.line(front, x="flops_per_token", y="tpot_s", hover_name="design", markers=True)
figure.write_html("front.html")
