"""Definitions as bags carry them."""

from __future__ import annotations

from pathlib import Path

import pytest

from aisle_bags import message_definitions
from aisle_bags.message_definitions import UnknownMessageType, message_definition


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Packages in two prefixes; the definitions found are not remembered beyond the test."""
    texts = {
        "one/share/shop_msgs/msg/Basket.msg": (
            "# What is in it: Item\nuint8 FULL=1\nstd_msgs/Header header\nItem[] items  # not Price[]\nItem[<=4] few\nstring<=8 name\n"
            'float64[9] numbers\nstring text "Price is none"\n'
        ),
        "one/share/shop_msgs/msg/Item.msg": "Price price\nfloat32 weight 1.5",
        "two/share/shop_msgs/msg/Price.msg": "int64 cents\n",
        "two/share/std_msgs/msg/Header.msg": "builtin_interfaces/Time stamp\n",
        "two/share/builtin_interfaces/msg/Time.msg": "int32 sec\n",
    }
    for name, text in texts.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'one'}:{tmp_path / 'two'}")
    message_definitions.message_definition.cache_clear()
    yield tmp_path
    message_definitions.message_definition.cache_clear()


def test_needed_types_follow_once_each(packages: Path) -> None:
    text = message_definition("shop_msgs/msg/Basket")
    sections = text.split("=" * 80 + "\n")
    assert sections[0].startswith("# What is in it")
    assert [section.splitlines()[0] for section in sections[1:]] == [
        "MSG: std_msgs/Header",
        "MSG: shop_msgs/Item",
        "MSG: builtin_interfaces/Time",
        "MSG: shop_msgs/Price",
    ]


def test_what_is_missing_is_named(packages: Path) -> None:
    with pytest.raises(UnknownMessageType, match=r"no share/shop_msgs/msg/Cashier\.msg below .*one, .*two"):
        message_definition("shop_msgs/msg/Cashier")
    with pytest.raises(UnknownMessageType, match="'Basket' is not a message type"):
        message_definition("Basket")
