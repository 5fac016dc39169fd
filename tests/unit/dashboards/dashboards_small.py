"""Texts and latents that are known, and a reader of pages."""

from html.parser import HTMLParser

WORDS = ["Paris", "London", "Berlin", "city", "France"]
DEAD, ALWAYS, D_SAE = len(WORDS), len(WORDS) + 1, 12
TEXTS = [f"{a} is in the city of {b} and {c} of France" for a in WORDS for b in WORDS[:3] for c in WORDS[1:4]]


class Page(HTMLParser):
    """Every element of a page with its attributes, and the text of it."""

    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data
