from adadecode.sim import read_profile, validate

profile = read_profile("profiles/recorded/demo-cpu")
validation = validate(profile)
print("\n".join(validation.trust.describe()))  # may I trust this recording?

frame = validation.to_frame()  # one row for each run of a design on a prompt
frame["domain"] = frame["prompt"].map(profile.prompts.set_index("prompt")["domain"])
arithmetic = frame[frame["domain"] == "arithmetic"]
speedups = arithmetic.groupby("design")[["speedup", "predicted_speedup"]].median()
print(speedups.assign(error=speedups["predicted_speedup"] / speedups["speedup"] - 1).round(3))
