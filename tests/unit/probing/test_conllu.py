"""CoNLL-U: sentences come back as they were written, and a line that breaks the format is named."""

from __future__ import annotations

import pytest

from analyses.probing import MalformedConllu, read_conllu
from interp.errors import InvalidInput

GOOD = """# sent_id = fr-1
# text = Il parle du vin.
1\tIl\til\tPRON\t_\tNumber=Sing|Person=3\t2\tnsubj\t_\t_
2\tparle\tparler\tVERB\tV\tNumber=Sing\t0\troot\t_\t_
3-4\tdu\t_\t_\t_\t_\t_\t_\t_\t_
3\tde\tde\tADP\t_\t_\t5\tcase\t_\t_
4\tle\tle\tDET\t_\tNumber=Sing\t5\tdet\t_\t_
5\tvin\tvin\tNOUN\t_\tNumber=Sing\t2\tobl\t_\tSpaceAfter=No
6\t.\t.\tPUNCT\t_\t_\t2\tpunct\t_\t_

1\tSue\tSue\tPROPN\t_\t_\t2\tnsubj\t_\t_
2\tlikes\tlike\tVERB\t_\t_\t0\troot\t_\t_
3\ttea\ttea\tNOUN\t_\t_\t2\tobj\t_\t_
4\tand\tand\tCCONJ\t_\t_\t5\tcc\t_\t_
5\tBill\tBill\tPROPN\t_\t_\t2\tconj\t5.1:nsubj\t_
5.1\tlikes\tlike\tVERB\t_\t_\t_\t_\t2:conj\t_
6\tgin\tgin\tNOUN\t_\t_\t2\torphan\t_\t_
"""


def write(tmp_path, text):
    path = tmp_path / "f.conllu"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_words_have_their_tags_and_their_place_in_the_text(tmp_path):
    first, second = read_conllu(write(tmp_path, GOOD))
    assert (first.id, first.text, second.id, second.text) == (
        "fr-1",
        "Il parle du vin.",
        "",
        "Sue likes tea and Bill gin",
    )
    assert [first.text[slice(*w.span)] for w in first.words] == ["Il", "parle", "du", "du", "vin", "."]
    assert [w.form for w in first.words] == ["Il", "parle", "de", "le", "vin", "."]
    assert [w.head for w in first.words] == [1, -1, 4, 4, 1, 1]
    assert first.words[0].feats == {"Number": "Sing", "Person": "3"}
    assert (first.words[1].upos, first.words[1].xpos, first.words[0].xpos) == ("VERB", "V", "")
    assert (first.n_empty, second.n_empty, len(second.words)) == (0, 1, 6)


def test_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path):
    plain = read_conllu(write(tmp_path, GOOD))
    assert read_conllu(write(tmp_path, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())) == plain
    assert read_conllu(write(tmp_path, GOOD.rstrip("\n"))) == plain


def test_a_text_is_made_where_none_is_given_and_agrees_with_the_one_that_is(tmp_path):
    without = GOOD.replace("# text = Il parle du vin.\n", "")
    assert read_conllu(write(tmp_path, without))[0].text == "Il parle du vin."


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("\tnsubj\t_\t_\n2\tparle", "\tnsubj\t_\n2\tparle", 3, "9 tab-separated columns; expected 10"),
        ("1\tIl\til", "1\t\til", 3, "column 2 is empty"),
        ("2\tparle", "3\tparle", 4, "'3' does not follow word 1"),
        ("3-4\tdu", "4-5\tdu", 5, "'4-5' does not follow word 2"),
        ("3-4\tdu", "3-3\tdu", 5, "is no range"),
        ("3-4\tdu", "3-9\tdu", 9, "ends at word 9"),
        ("5\tcase", "77\tcase", 6, "the head '77'"),
        ("5\tcase", "3\tcase", 6, "the head '3'"),
        ("Number=Sing|Person=3", "Number=Sing|Person", 3, "are not Name=Value"),
        ("5.1\tlikes", "3.1\tlikes", 16, "'3.1' does not follow word 5"),
        ("# text = Il parle du vin.", "# text = Il parle de vin.", 5, "'du' does not stand at 'de vin.'"),
        ("# text = Il parle du vin.", "# text = Il parle du vin. Oui.", 9, "goes on with 'Oui.'"),
        ("2\tlikes", "# late\n2\tlikes", 12, "comment inside a sentence"),
        ("# sent_id = fr-1\n", "# alone\n\n", 2, "comments alone"),
    ],
)
def test_a_line_that_breaks_the_format_is_named(tmp_path, old, new, line, message):
    assert old in GOOD
    with pytest.raises(MalformedConllu, match=f"line {line}: .*{message}"):
        read_conllu(write(tmp_path, GOOD.replace(old, new, 1)))


@pytest.mark.parametrize(("content", "message"), [("", "no sentence"), (b"1\t\xff", "not UTF-8")])
def test_what_is_no_file_of_sentences_is_refused(tmp_path, content, message):
    with pytest.raises(InvalidInput, match=message):
        read_conllu(write(tmp_path, content))
    with pytest.raises(InvalidInput, match="there is no file"):
        read_conllu(tmp_path / "none.conllu")
