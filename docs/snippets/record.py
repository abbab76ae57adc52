from adadecode.engine import RecordingOptions, load_demo, record

# Of your own: a model, its tokenizer, ExitHeads.load("heads/", model) and prompts.
demo = load_demo()
prompts = demo.of("arithmetic")[:1]
tiny = RecordingOptions(  # RecordingOptions() is a whole recording
    placements=((3, 7),),
    gammas=(0.75,),
    cap=3,
    fixed_drafts=0,
    repeats=2,
    max_new_tokens=16,
    walks=(16,),
)
profile = record(
    demo.model, demo.tokenizer, prompts, heads=demo.heads, out="out/my-profile", options=tiny
)
print(profile.runs_frame()[["design", "prompt", "repeat", "n_tokens", "decode_s"]])
