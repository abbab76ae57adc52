"""The headings under which the help of a command groups its options."""

DESIGN = "Design"
RUN = "Text, model and device"
FORM = "Format of the heads"
SEARCH = "Search"
HEADS = "Heads to draw"
TEXT = "Text to draw"
OUTPUT = "Output"
