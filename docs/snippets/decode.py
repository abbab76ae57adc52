from transformers import TextStreamer

from adadecode.engine import AdaDecoder, load_demo

demo = load_demo()  # of your own: a model, its tokenizer, and ExitHeads.load("heads/", model)
demo.tokenizer.chat_template = "{{ messages[0].content }}"  # most chat models bring their own
messages = [{"role": "user", "content": demo.prompts["arithmetic"][0]}]
chat = demo.tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
decoder, streamer = AdaDecoder(demo.model, demo.heads), TextStreamer(demo.tokenizer)
for token in decoder.stream(chat["input_ids"], max_new_tokens=48, gamma=0.75, placement=(3, 7)):
    streamer.put(chat["input_ids"].new_tensor([token]))
streamer.end()
