from hypothesis import given
from hypothesis import strategies as st

from bnfold.verify.reports.html.markup import Markup, element, joined


def test_children_are_text_unless_they_are_markup() -> None:
    """What `element` made is kept, all else is escaped, None is nothing."""
    assert element("p", "a < b & c", element("b", 7), None) == "<p>a &lt; b &amp; c<b>7</b></p>"
    assert element("br") == "<br>"
    assert joined("<", element("i", ">")) == "&lt;<i>&gt;</i>"


def test_attributes_are_quoted_and_named_as_in_html() -> None:
    """Underscores are dashes, a last one keeps a keyword apart, None leaves out."""
    assert element("td", class_="a", data_label='x"y', title=None) == '<td class="a" data-label="x&quot;y"></td>'


@given(st.text(), st.text())
def test_no_text_can_become_markup(text: str, attribute: str) -> None:
    """Whatever the text and the attribute hold, there is one element and no control character."""
    made = element("p", text, title=attribute)
    assert (made.count("<"), made.count(">"), made.count('"')) == (2, 2, 2 + text.count('"'))
    assert not any(ord(character) < 32 and character not in "\t\n" for character in made)
    assert isinstance(made, Markup)
