from adadecode.sim import Design, predict, read_profile

profile = read_profile("profiles/recorded/demo-cpu")
designs = [
    Design.of(placement=(3, 7), gamma=0.75),
    Design.of(placement=(2, 5, 9), gamma=(0.9, 0.7, 0.7)),  # one threshold for each head
    Design.of("fixed", placement=(4,), cap=3),
]
predictions = predict(profile, designs, domain="arithmetic")
print(predictions.to_frame()[["design", "speedup_low", "speedup", "speedup_high"]].round(2))
