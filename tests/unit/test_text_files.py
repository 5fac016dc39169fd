"""Lines of a file: what is read, and what is refused by name."""

import pytest

from interp.errors import InvalidInput
from interp.text_files import read_texts


def test_blank_lines_are_left_out_and_the_rest_is_as_it_was(tmp_path):
    file = tmp_path / "texts.txt"
    file.write_text("one\n\n   \n two é\n", encoding="utf-8")
    assert read_texts(file) == ["one", " two é"]


@pytest.mark.parametrize(
    ("content", "said"), [(None, "there is no file"), (b" \n\n", "has no text"), (b"caf\xe9\n", "byte 3")]
)
def test_a_file_without_texts_is_refused(tmp_path, content, said):
    file = tmp_path / "texts.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InvalidInput, match=said):
        read_texts(file)
