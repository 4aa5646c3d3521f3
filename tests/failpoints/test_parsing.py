"""What HOLDFAST_FAILPOINTS may say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failpoints import NAMES, FailpointsError
from failpoints.parsing import Entry, entries, entry, without

NAME = "stock.committed"


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        (NAME, Entry(NAME, "kill", 0.0, 1, NAME)),
        (f"{NAME}@3", Entry(NAME, "kill", 0.0, 3, f"{NAME}@3")),
        (f"{NAME}=kill:0.02@12", Entry(NAME, "kill", 0.02, 12, f"{NAME}=kill:0.02@12")),
        (f"{NAME}=stop:7", Entry(NAME, "stop", 7.0, 1, f"{NAME}=stop:7")),
        (f"{NAME}=raise@2", Entry(NAME, "raise", 0.0, 2, f"{NAME}=raise@2")),
    ],
)
def test_an_entry(word, meaning):
    assert entry(word) == meaning


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("stock.comitted", "there is no failpoint 'stock.comitted'. There are: stock.opening"),
        (f"{NAME}=explode", "there is no action 'explode'"),
        (f"{NAME}=stop", "stop takes seconds"),
        (f"{NAME}=raise:1", "raise takes none"),
        (f"{NAME}=kill:1.2.3", "'1.2.3' is no number of seconds"),
        (f"{NAME}=kill:{'9' * 400}", "is no number of seconds"),
        (f"{NAME}@0", "is no failpoint entry: write name[=kill"),
        (f"{NAME}@-1", "is no failpoint entry"),
        (f"{NAME}=", "is no failpoint entry"),
        ("=kill", "is no failpoint entry"),
    ],
)
def test_an_entry_without_a_meaning_is_refused_with_what_there_is(word, says):
    with pytest.raises(FailpointsError) as refused:
        entries(f"{NAME}, {word}")
    assert says in str(refused.value)


def test_every_name_is_known_and_has_a_meaning():
    assert [e.name for e in entries(" ".join(NAMES))] == list(NAMES)
    assert all(len(meaning.split()) > 3 for meaning in NAMES.values())


def test_a_list_is_parted_by_commas_spaces_and_lines_and_may_hold_comments():
    text = f"{NAME}=kill@2,orders.read # the second batch, orders.taken\n\n  payments.read\tload.saved,\n# {NAME}"
    assert [e.text for e in entries(text)] == [f"{NAME}=kill@2", "orders.read", "payments.read", "load.saved"]


def test_an_entry_is_struck_out_once_and_only_as_it_was_written():
    text = f"# {NAME} twice\n{NAME}@2, {NAME}\n{NAME}"
    once = without(text, NAME)
    assert once == f"# {NAME} twice\n{NAME}@2, \n{NAME}"
    twice = without(once, NAME)
    assert twice == f"# {NAME} twice\n{NAME}@2, \n"
    assert without(twice, NAME) is None


WORDS = st.lists(st.sampled_from([*list(NAMES)[:3], f"{NAME}@2", f"{NAME}=kill:0.5", f"{NAME}=stop:1@7"]), min_size=1, max_size=6)
GAPS = st.sampled_from([",", " ", "\n", ", ", "\n# a comment, with words\n", "\r\n"])


@given(WORDS, st.data())
def test_whatever_is_struck_out_the_others_stay(words, data):
    text = "".join(word + data.draw(GAPS) for word in words)
    gone = data.draw(st.sampled_from(words))
    left = without(text, gone)
    words.remove(gone)
    assert left is not None
    assert [e.text for e in entries(left)] == words
