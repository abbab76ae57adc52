from transformers import TextStreamer

from adadecode.engine import AdaDecoder, load_demo

# Of your own: a model, its tokenizer, and ExitHeads.load("heads/", model).
demo = load_demo()
# Most chat models bring a template of their own.
demo.tokenizer.chat_template = "{{ messages[0].content }}"
messages = [{"role": "user", "content": demo.prompts["arithmetic"][0]}]
chat = demo.tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
ids = chat["input_ids"]
decoder = AdaDecoder(demo.model, demo.heads)
streamer = TextStreamer(demo.tokenizer)
for token in decoder.stream(ids, max_new_tokens=48, gamma=0.75, placement=(3, 7)):
    streamer.put(ids.new_tensor([token]))
streamer.end()
