from __future__ import annotations

import dataclasses
import os
import time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle_store.store import Gate, GateKind, Store
from aisle_store.store_files import STORE_FILES, StoreError, load_store, save_store

REPOSITORY = Path(__file__).resolve().parents[3]
NANOSTORE = REPOSITORY / "config" / "stores" / "nanostore-2019-11"

STORE_YAML = """format: 1
name: corner-shop
currency: EUR
floor: [[0, -1.5], [2, -1.5], [2, 0.1], [0, 0.1]]
zones:
- {zone: aisle, polygon: [[0.2, -1.3], [1.8, -1.3], [1.8, -0.1]]}
gates:
- {gate: front, kind: both, ends: [[0.5, -1.5], [1.5, -1.5]]}
"""
LAYOUT_YAML = """gondolas:
- gondola: '1'
  translation: [2, 0.5, 0]
  rotation: [0, 0, 3.141592653589793]
  size: [1.2, 0.03, 2.0]
  shelves:
  - shelf: '1'
    translation: [0, -0.4, 0.33]
    size: [0.4, 0.4, 0.2]
    plates:
    - {plate: '1', translation: [0, 0, 0], size: [0.1, 0.4], capacity_kg: 20}
    - {plate: '010', translation: [0.1, 0, 0], size: [0.1, 0.4], capacity_kg: 2e1}
"""
CAMERAS_YAML = """cameras:
- camera: left
  width: 640
  height: 360
  rate_hz: 10
  matrix: [[345, 0, 320], [0, 345, 180], [0, 0, 1]]
  distortion: [0.01, 0, 0, 0, 0]
  translation: [1, 0, 2.5]
  rotation: [[1, 0, 0], [0, -1, 0], [0, 0, -1]]
"""
PRODUCTS_CSV = """product,name,weight_kg,weight_deviation_kg,price
071063437089,Taco Bell Fire,0.105,0.0016,2.50
m&m's,"M&M's, peanut",0.045,0,1
"""
PLANOGRAM_CSV = """gondola,shelf,plate,product
1,1,1,071063437089
1,1,1,m&m's
1,1,010,m&m's
"""
FILES = dict(zip(STORE_FILES, (STORE_YAML, LAYOUT_YAML, CAMERAS_YAML, PRODUCTS_CSV, PLANOGRAM_CSV), strict=True))


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def change(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text(encoding="utf-8")
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")


def assert_same_store(a: Store, b: Store) -> None:
    assert (a.name, a.currency) == (b.name, b.currency)
    np.testing.assert_allclose(a.floor, b.floor, atol=1e-8)
    for mapping in ("zones", "gondolas", "cameras", "gates", "products", "planogram"):
        assert list(getattr(a, mapping)) == list(getattr(b, mapping))
    assert dict(a.products) == dict(b.products)
    assert dict(a.planogram) == dict(b.planogram)
    for p, q in zip(a.plates(), b.plates(), strict=True):
        assert p.key == q.key
        np.testing.assert_allclose(p.corners, q.corners, atol=1e-7)
        assert p.capacity_kg == q.capacity_kg
    for p, q in zip(a.shelves(), b.shelves(), strict=True):
        np.testing.assert_allclose(p.pose, q.pose, atol=1e-7)
        assert (p.width, p.depth, p.height) == (q.width, q.depth, q.height)
    for name in a.cameras:
        p, q = a.cameras[name], b.cameras[name]
        assert (p.camera, p.width, p.height, p.rate_hz) == (q.camera, q.width, q.height, q.rate_hz)
        np.testing.assert_allclose(p.matrix, q.matrix, atol=1e-7)
        np.testing.assert_allclose(p.pose, q.pose, atol=1e-8)
        np.testing.assert_allclose(p.distortion, q.distortion, atol=1e-8)
    for name in a.gates:
        assert a.gates[name].kind == b.gates[name].kind
        np.testing.assert_allclose(a.gates[name].ends, b.gates[name].ends, atol=1e-8)


def test_what_is_written_is_what_is_read(shop):
    store = load_store(shop)
    assert store.name == "corner-shop"
    assert list(store.gondolas["1"].shelves["1"].plates) == ["1", "010"]
    assert store.products["m&m's"].price == Decimal("1")
    assert store.products["071063437089"].weight_kg == 0.105
    assert store.planogram["1", "1", "1"] == ("071063437089", "m&m's")
    assert store.product_plates("m&m's") == (("1", "1", "1"), ("1", "1", "010"))
    assert store.gates["front"].kind is GateKind.BOTH
    # The gondola is turned by half a turn about z, so the shelf lies at -(0, -0.4) from it and its front faces +y.
    np.testing.assert_allclose(store.plate("1", "1", "010").front, [1.85, 0.9, 0.33], atol=1e-9)
    np.testing.assert_allclose(store.plate("1", "1", "010").centre, [1.85, 0.7, 0.33], atol=1e-9)
    np.testing.assert_allclose(store.cameras["left"].on_plane(np.array([[320.0, 180.0]])), [[1.0, 0.0]], atol=1e-9)


def test_saving_and_loading_gives_the_same_store(shop, tmp_path):
    store = load_store(shop)
    save_store(store, tmp_path / "copy")
    assert_same_store(store, load_store(tmp_path / "copy"))
    save_store(load_store(tmp_path / "copy"), tmp_path / "again")
    for name in STORE_FILES:
        assert (tmp_path / "copy" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


@pytest.mark.parametrize("name", ["nanostore-2019-11", "nanostore-2020-01"])
def test_shipped_stores_load_and_survive_saving(name, tmp_path):
    store = load_store(NANOSTORE.parent / name)
    assert len(list(store.shelves())) == 30
    assert len(list(store.plates())) == 306
    save_store(store, tmp_path / name)
    assert_same_store(store, load_store(tmp_path / name))


@pytest.mark.parametrize("name", ["nanostore-2019-11", "nanostore-2020-01"])
def test_plate_fronts_of_the_nanostore_face_its_floor(name):
    store = load_store(NANOSTORE.parent / name)
    for plate in store.plates():
        inward = plate.front[:2] + 0.05 * (plate.front - plate.centre)[:2] / (plate.depth / 2)
        assert store.on_floor(inward)[0], plate.key
        assert not store.on_floor(plate.centre[:2])[0], plate.key


def test_loading_is_fast():
    load_store(NANOSTORE)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        load_store(NANOSTORE)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3


def test_a_store_may_have_no_cameras_zones_and_gates(shop):
    (shop / "cameras.yaml").write_text("cameras: []\n", encoding="utf-8")
    change(shop, "store.yaml", "- {gate: front, kind: both, ends: [[0.5, -1.5], [1.5, -1.5]]}", "")
    change(shop, "store.yaml", "gates:", "gates: []")
    store = load_store(shop)
    assert not store.cameras
    assert not store.gates


#: file, what to change, what to, and what the complaint must hold: line or field, found and expected.
MISTAKES = {
    "unknown product": ("planogram.csv", "1,1,010,m&m's", "1,1,010,mms", ["planogram.csv:4: product: found 'mms'", "expected"]),
    "unknown plate": ("planogram.csv", "1,1,010,", "1,1,2,", ["planogram.csv:4: plate: found '2'", "expected one of shelf 1/1: 1, 010"]),
    "unknown shelf": ("planogram.csv", "1,1,010,", "1,9,010,", ["planogram.csv:4: shelf: found '9'", "expected one of gondola 1: 1"]),
    "unknown gondola": ("planogram.csv", "1,1,010,", "7,1,010,", ["planogram.csv:4: gondola: found '7'", "expected one of 1"]),
    "planogram row twice": ("planogram.csv", "1,1,010,m&m's", "1,1,1,m&m's", ["planogram.csv:4", "a second time"]),
    "too few fields": ("planogram.csv", "1,1,010,m&m's", "1,1,010", ["planogram.csv:4", "found 3 fields, expected 4"]),
    "bad id in csv": ("planogram.csv", "1,1,010,", "1,1,0 10,", ["planogram.csv:4: plate: found '0 10'", "expected letters, digits"]),
    "missing column": (
        "planogram.csv",
        "plate,product",
        "product",
        ["planogram.csv:1: missing column 'plate'", "expected 'gondola,shelf,plate"],
    ),
    "unknown column": ("products.csv", "price\n", "price,colour\n", ["products.csv:1: unknown column 'colour'"]),
    "negative weight": ("products.csv", "0.105,", "-0.105,", ["products.csv:2: weight_kg: found '-0.105'", "expected a number > 0"]),
    "zero weight": ("products.csv", "0.105,", "0,", ["products.csv:2: weight_kg: found '0'", "expected a number > 0"]),
    "NaN weight": ("products.csv", "0.105,", "nan,", ["products.csv:2: weight_kg: found 'nan'", "expected a number > 0"]),
    "infinite deviation": ("products.csv", "0.0016", "inf", ["products.csv:2: weight_deviation_kg: found 'inf'"]),
    "negative price": ("products.csv", "2.50", "-2.50", ["products.csv:2: price: found '-2.50'", "expected an amount >= 0"]),
    "price is no number": ("products.csv", "2.50", "2,50 EUR", ["products.csv:2"]),
    "price NaN": ("products.csv", "2.50", "NaN", ["products.csv:2: price: found 'NaN'"]),
    "duplicate product": ("products.csv", "m&m's", "071063437089", ["products.csv:3: product: '071063437089' stands twice"]),
    "unclosed quote": ("products.csv", 'peanut"', "peanut", ["products.csv:3", "expected CSV"]),
    "plate off its shelf": (
        "layout.yaml",
        "[0.1, 0, 0]",
        "[0.35, 0, 0]",
        ["layout.yaml", "shelf '1', plate '010'", "x 0.350 .. 0.450", "0 .. 0.400"],
    ),
    "plate below its shelf": ("layout.yaml", "[0.1, 0, 0]", "[0.1, 0, -0.3]", ["plate '010'", "off its shelf", "z -0.300"]),
    "duplicate plate": ("layout.yaml", "'010'", "'1'", ["layout.yaml", "shelf '1': plate '1' stands twice"]),
    "negative size": (
        "layout.yaml",
        "[1.2, 0.03",
        "[-1.2, 0.03",
        ["layout.yaml:5: gondolas[0].size[0]: found '-1.2', expected greater than 0"],
    ),
    "NaN position": (
        "layout.yaml",
        "[2, 0.5, 0]",
        "[.nan, 0.5, 0]",
        ["layout.yaml:3: gondolas[0].translation[0]: found '.nan'", "expected"],
    ),
    "two coordinates": ("layout.yaml", "[2, 0.5, 0]", "[2, 0.5]", ["layout.yaml:3: gondolas[0].translation[2]: missing"]),
    "bad gondola id": (
        "layout.yaml",
        "gondola: '1'",
        "gondola: a/b",
        ["layout.yaml:2: gondolas[0].gondola: found 'a/b'", "expected letters"],
    ),
    "unknown key": (
        "layout.yaml",
        "shelf: '1'",
        "shlef: '1'",
        ["layout.yaml:7: gondolas[0].shelves[0].shelf: missing", "shlef: unknown key"],
    ),
    "key twice": ("layout.yaml", "  size: [1.2", "  size: [1, 1, 1]\n  size: [1.2", ["layout.yaml:6: key 'size' stands twice"]),
    "bad YAML": ("layout.yaml", "size: [1.2, 0.03, 2.0]", "size: [1.2, 0.03, 2.0", ["layout.yaml:", "expected YAML"]),
    "no rotation": (
        "layout.yaml",
        "[0, 0, 3.141592653589793]",
        "[0, 0]",
        ["layout.yaml:4: gondolas[0].rotation", "a Rodrigues vector of 3"],
    ),
    "singular matrix": (
        "cameras.yaml",
        "[[345,",
        "[[0,",
        ["cameras.yaml:6: cameras[0].matrix", "expected a camera matrix that is not singular"],
    ),
    "skewed matrix": ("cameras.yaml", "[[345, 0", "[[345, 9", ["cameras.yaml:6: cameras[0].matrix", "expected [[fx, 0, cx]"]),
    "mirrored pose": ("cameras.yaml", "[0, 0, -1]]", "[0, 0, 1]]", ["cameras.yaml:9: cameras[0].rotation", "determinant +1"]),
    "scaled pose": ("cameras.yaml", "[[1, 0, 0]", "[[1.1, 0, 0]", ["cameras.yaml:9: cameras[0].rotation", "orthonormal"]),
    "text in pose": ("cameras.yaml", "[[1, 0, 0]", "[[one, 0, 0]", ["cameras.yaml:9: cameras[0].rotation"]),
    "image without pixels": ("cameras.yaml", "width: 640", "width: 0", ["cameras.yaml:3: cameras[0].width: found '0'"]),
    "half a pixel": ("cameras.yaml", "width: 640", "width: 640.5", ["cameras.yaml:3: cameras[0].width: found '640.5'"]),
    "four coefficients": ("cameras.yaml", "[0.01, 0, 0, 0, 0]", "[0.01, 0, 0, 0]", ["cameras.yaml:7: cameras[0].distortion"]),
    "crossing floor": (
        "store.yaml",
        "[2, -1.5], [2, 0.1], [0, 0.1]]",
        "[2, 0.1], [2, -1.5], [0, 0.1]]",
        ["store.yaml:4: floor: found", "edges 0 and 2"],
    ),
    "floor of two points": ("store.yaml", ", [2, 0.1], [0, 0.1]]", "]", ["store.yaml:4: floor", "expected at least 3 points, not 2"]),
    "flat floor": ("store.yaml", ", [2, 0.1], [0, 0.1]]", ", [1, -1.5]]", ["store.yaml:4: floor", "edges"]),
    "gate without length": ("store.yaml", "[1.5, -1.5]]}", "[0.5, -1.5]]}", ["store.yaml", "gate 'front': ends", "without length"]),
    "gate elsewhere": (
        "store.yaml",
        "[[0.5, -1.5], [1.5",
        "[[0.5, -9.5], [1.5",
        ["store.yaml", "gate 'front'", "within 1.0 m of the floor"],
    ),
    "unknown gate kind": (
        "store.yaml",
        "kind: both",
        "kind: door",
        ["store.yaml:8: gates[0].kind: found 'door'", "'entrance', 'exit' or 'both'"],
    ),
    "unknown currency": ("store.yaml", "EUR", "euro", ["store.yaml:3: currency: found 'euro'"]),
    "future format": ("store.yaml", "format: 1", "format: 2", ["store.yaml:1: format: found '2'"]),
    "misspelt key": ("store.yaml", "currency", "currancy", ["store.yaml:3: currancy: unknown key"]),
}


@pytest.mark.parametrize("mistake", sorted(MISTAKES))
def test_a_mistake_is_named_by_file_line_and_field(shop, mistake):
    name, old, new, expected = MISTAKES[mistake]
    change(shop, name, old, new)
    with pytest.raises(StoreError) as caught:
        load_store(shop)
    text = str(caught.value)
    assert str(shop / name) in text
    for part in expected:
        assert part in text, text


@pytest.mark.parametrize("name", STORE_FILES)
def test_missing_empty_and_binary_files(shop, name):
    for content, complaint in ((None, "missing, expected a file"), (b"\n \n", "empty, expected content"), (b"\xff\xfe\x00a", "not UTF-8")):
        if content is None:
            (shop / name).unlink()
        else:
            (shop / name).write_bytes(content)
        with pytest.raises(StoreError, match=complaint) as caught:
            load_store(shop)
        assert str(shop / name) in str(caught.value)


@pytest.mark.parametrize("name", ["products.csv", "planogram.csv"])
def test_a_table_without_rows(shop, name):
    (shop / name).write_text(FILES[name].splitlines()[0] + "\n", encoding="utf-8")
    with pytest.raises(StoreError, match=f"{name}: no rows"):
        load_store(shop)


@pytest.mark.parametrize("text", ["- 1\n", "nothing\n", "{}\n"])
def test_a_document_of_another_kind(shop, text):
    (shop / "layout.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match=r"layout\.yaml.*gondolas"):
        load_store(shop)


def test_missing_folder(tmp_path):
    with pytest.raises(StoreError, match="nowhere: missing, expected a folder"):
        load_store(tmp_path / "nowhere")


def test_all_problems_are_reported_at_once(shop):
    change(shop, "products.csv", "0.105,", "-1,")
    change(shop, "planogram.csv", "1,1,010,", "1,1,0-10,")
    change(shop, "store.yaml", "EUR", "euro")
    with pytest.raises(StoreError) as caught:
        load_store(shop)
    assert len(caught.value.problems) == 3


def test_an_existing_folder_is_left_alone_unless_told(shop):
    store = load_store(shop)
    before = {path.name: path.read_bytes() for path in shop.iterdir()}
    with pytest.raises(StoreError, match="exists"):
        save_store(dataclasses.replace(store, name="other"), shop)
    assert {path.name: path.read_bytes() for path in shop.iterdir()} == before


def test_an_empty_folder_is_filled_and_a_file_is_not_replaced(shop, tmp_path):
    (tmp_path / "empty").mkdir()
    save_store(load_store(shop), tmp_path / "empty")
    assert load_store(tmp_path / "empty").name == "corner-shop"
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(StoreError, match="file: is a file, expected a folder"):
        save_store(load_store(shop), tmp_path / "file", overwrite=True)


def test_overwriting_keeps_other_files_and_leaves_nothing_else(shop):
    (shop / "sessions.json").write_text("[]", encoding="utf-8")
    (shop / "pictures").mkdir()
    (shop / "pictures" / "a.txt").write_text("x", encoding="utf-8")
    save_store(dataclasses.replace(load_store(shop), name="other"), shop, overwrite=True)
    assert load_store(shop).name == "other"
    assert (shop / "sessions.json").read_text(encoding="utf-8") == "[]"
    assert (shop / "pictures" / "a.txt").exists()
    assert [path.name for path in shop.parent.iterdir()] == ["shop"]


def test_a_store_that_would_not_load_is_not_written(shop, tmp_path):
    gate = Gate("front", GateKind.BOTH, np.zeros((2, 2)))
    with pytest.raises(StoreError, match=r"new/store\.yaml.*without length"):
        save_store(dataclasses.replace(load_store(shop), gates={"front": gate}), tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop"]


def test_a_failed_write_leaves_the_old_store(shop, tmp_path, monkeypatch):
    store = load_store(shop)
    rename = Path.rename

    def refuse_second(path: Path, target: Path) -> Path:
        if path.name.startswith(".shop") and target == shop and not path.name.endswith("replaced"):
            raise OSError(28, os.strerror(28))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse_second)
    with pytest.raises(StoreError, match="cannot be written"):
        save_store(dataclasses.replace(store, name="other"), shop, overwrite=True)
    assert load_store(shop).name == "corner-shop"
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


@given(
    name=st.sampled_from(STORE_FILES),
    place=st.floats(0, 1),
    length=st.integers(0, 40),
    text=st.one_of(
        st.text(max_size=12),
        st.sampled_from(
            ["-1", "nan", ".inf", "1e400", "[]", "{}", "null", "*a", "&a", "!!binary x", "\t", '"', "'", "\n- ", "1,2", "[[1]]", "1_0"]
        ),
    ),
)
def test_whatever_a_file_says_a_store_loads_or_is_refused_in_words(tmp_path_factory, name, place, length, text):
    folder = tmp_path_factory.mktemp("spoilt")
    start = round(place * len(FILES[name]))
    for other, content in FILES.items():
        spoilt = content[:start] + text + content[start + length :] if other == name else content
        (folder / other).write_text(spoilt, encoding="utf-8")
    problems: tuple[str, ...] = ()
    try:
        load_store(folder)
    except StoreError as error:
        problems = error.problems
    assert all(str(folder) in problem for problem in problems)
