"""Reading labels, their errors, and the truth that follows from them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle_sim.enacted_events import enact
from aisle_sim.labelled_sessions import (
    LabelledEvent,
    LabelledSession,
    SessionFileError,
    load_sessions,
    net_items,
    select_sessions,
    true_items,
)

GOOD = {"t_s": 1.0, "person": "p", "action": "pick", "gondola": 1, "shelf": 2, "plates": [3], "products": ["x", None]}


def write(tmp_path, content):
    path = tmp_path / "sessions.json"
    path.write_text(json.dumps(content))
    return path


def labelled(*events, name="s"):
    return LabelledSession(name, tuple(LabelledEvent(*event) for event in events))


def test_numbers_become_ids(tmp_path):
    (session,) = load_sessions(write(tmp_path, [{"session": "a", "events": [GOOD]}]))
    assert session.events == (LabelledEvent(1.0, "p", "pick", "1", "2", ("3",), ("x", None)),)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"t_s": "soon"}, ["'t_s'", "'soon'"]),
        ({"t_s": float("inf")}, ["'t_s'", "inf"]),
        ({"t_s": -1}, ["'t_s'", "-1"]),
        ({"person": ""}, ["'person'", "non-empty"]),
        ({"action": "steal"}, ["'action'", "'steal'", "put_back"]),
        ({"gondola": "a/b"}, ["'gondola'", "'a/b'"]),
        ({"plates": []}, ["'plates'", "[]"]),
        ({"products": "x"}, ["'products'", "'x'"]),
    ],
)
def test_bad_field_is_named(tmp_path, change, words):
    path = write(tmp_path, [{"session": "a", "events": [GOOD, {**GOOD, **change}]}])
    with pytest.raises(SessionFileError) as error:
        load_sessions(path)
    for word in [str(path), "session 'a'", "event 2", *words]:
        assert word in str(error.value)


@pytest.mark.parametrize("content", [{}, [3], [{"session": "a"}], [{"events": []}], [{"session": "a", "events": []}] * 2])
def test_bad_structure_is_refused(tmp_path, content):
    with pytest.raises(SessionFileError, match="expected"):
        load_sessions(write(tmp_path, content))


def test_file_that_is_missing_or_not_json(tmp_path):
    with pytest.raises(SessionFileError, match=r"nowhere\.json"):
        load_sessions(tmp_path / "nowhere.json")
    (tmp_path / "bad.json").write_text("[{")
    with pytest.raises(SessionFileError, match="is not JSON"):
        load_sessions(tmp_path / "bad.json")


def test_selection_keeps_the_given_order():
    sessions = [LabelledSession(name, ()) for name in "abc"]
    assert [s.session for s in select_sessions(sessions, "c, a", "f")] == ["c", "a"]
    assert select_sessions(sessions, "", "f") == sessions
    with pytest.raises(SessionFileError, match="f: has no session 'd', expected one of a, b, c"):
        select_sessions(sessions, "a,d", "f")


def test_net_items_below_zero_count_as_zero():
    events = [("p", "put_back", ["x"]), ("p", "pick", ["y", "y", None]), ("p", "put_back", ["y"]), ("q", "put_back", ["y"])]
    assert net_items(events) == {"p": {"y": 1}, "q": {}}


@given(st.lists(st.tuples(st.sampled_from("pq"), st.sampled_from(["pick", "put_back"]), st.lists(st.sampled_from("xyz"), min_size=1))))
def test_net_items_are_positive_and_bounded_by_picks(events):
    for person, items in net_items(events).items():
        for product, count in items.items():
            picked = sum(products.count(product) for who, action, products in events if who == person and action == "pick")
            assert 0 < count <= picked


def test_unordered_labels_are_sorted_stably():
    session = labelled(
        (2.0, "p", "put_back", "1", "1", ("1",), ("x",)),
        (1.0, "p", "pick", "1", "1", ("1",), ("x",)),
        (1.0, "q", "pick", "1", "1", ("1",), ("y",)),
    )
    assert [(e.t_s, e.person) for e in session.ordered_events] == [(1.0, "p"), (1.0, "q"), (2.0, "p")]
    assert true_items(session) == {"p": {}, "q": {"y": 1}}


def test_unknown_product_is_the_planograms(store):
    result = enact(store, labelled((0.0, "p", "pick", "2", "6", ("8", "9"), (None,))))
    assert result.events[0].products == store.planogram["2", "6", "8"][:1]
    assert result.truth == {"p": {store.planogram["2", "6", "8"][0]: 1}}
    assert "is unknown" in result.warnings[0]


def test_unknown_product_on_plates_without_products_moves_nothing(store):
    planogram = {key: products for key, products in store.planogram.items() if key != ("2", "6", "8")}
    result = enact(replace(store, planogram=planogram), labelled((0.0, "p", "pick", "2", "6", ("8",), (None,))))
    assert result.events[0].products == ()
    assert result.truth == {"p": {}}
    assert "planogram leaves the plates empty" in result.warnings[0]


def test_product_that_the_catalogue_lacks_stays_in_the_truth(store):
    result = enact(store, labelled((0.0, "p", "pick", "2", "6", ("8",), ("no such thing",))))
    assert result.events[0].products == ()
    assert result.truth == {"p": {"no such thing": 1}}
    assert "'no such thing' is not in the catalogue" in result.warnings[0]


def test_plate_that_does_not_exist_becomes_the_nearest(store):
    result = enact(store, labelled((0.0, "p", "pick", "2", "6", ("12", "11"), ("084114115881",))))
    assert result.events[0].plates == (("2", "6", "9"),)
    assert "no plate '12', plate '9' is used" in result.warnings[0]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (("9", "1", ("1",)), ["'gondola'", "'9'", "1, 2, 3, 4, 5"]),
        (("1", "9", ("1",)), ["'shelf'", "'9'"]),
        (("1", "1", ("left",)), ["'left'"]),
    ],
)
def test_place_that_does_not_exist_is_named(store, place, words):
    with pytest.raises(SessionFileError) as error:
        enact(store, labelled((0.0, "p", "pick", *place, (None,)), name="odd"))
    for word in ["session 'odd'", "event 1", *words]:
        assert word in str(error.value)
