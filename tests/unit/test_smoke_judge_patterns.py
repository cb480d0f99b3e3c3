"""What wrong items have in common: which cause it is shows only beside the right ones."""

from typing import Any

import pytest

from envbuilder.smoke.judge.patterns import pattern


def _item(modality: str, shape: tuple[int, ...], placeholders: int, made: int, **more: Any) -> Any:
    counts = {"placeholders": placeholders, "embeddings": made}
    return {"modality": modality, "shape": list(shape), **counts, **more}


ONE = _item("image", (280, 280), 256, 256, formula=256)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([ONE, _item("image", (480, 640), 1024, 1280)], "one view off"),
        ([ONE, _item("image", (480, 640), 1280, 1024)], "one view off"),
        ([ONE, _item("image", (480, 640), 1024, 1024, formula=1280)], "one view off"),
        ([ONE, _item("image", (480, 640), 1024, 1152)], "one view off"),
        ([ONE, _item("image", (480, 640), 1024, 1151)], ""),
        ([ONE, _item("image", (480, 640), 1024, 1281)], ""),
        ([ONE, _item("image", (480, 640), 1279, 1280)], ""),
        ([_item("image", (480, 640), 1024, 1280)], ""),
        ([ONE, _item("image", (480, 640), 1, 256)], "one an item"),
        ([_item("image", (480, 640), 1, 256), _item("image", (49, 1323), 1, 256)], "one an item"),
        ([_item("image", (480, 640), 1, 256), _item("image", (49, 1323), 2, 256)], ""),
        ([_item("image", (480, 640), 1, 2)], ""),
        ([_item("image", (480, 640), 1, 0)], ""),
        ([ONE], ""),
        ([], ""),
        (  # of one that was not encoded it is not known whether its view is missing
            [
                {**ONE, "formula": 256},
                {**_item("image", (1200, 900), 3328, 0), "embeddings": None, "formula": 3328},
                _item("image", (480, 640), 1280, 1024, formula=1280),
            ],
            "one view off",
        ),
        ([ONE, _item("video", (2, 480, 640), 1024, 1280)], ""),
        (
            [ONE, _item("image", (9, 9), 1024, 1280), _item("video", (2, 9, 9), 1024, 1280)],
            "",
        ),
        ([ONE, {"modality": "image", "shape": [9, 9], "error": "it failed"}], ""),
        (
            [
                _item("audio", (480000,), 375, 375),
                _item("audio", (976000,), 1125, 375),
                _item("audio", (480160,), 750, 375),
            ],
            "long items only",
        ),
        ([_item("audio", (480000,), 375, 375), _item("audio", (480000,), 375, 374)], ""),
        ([_item("audio", (480000,), 375, 375), _item("audio", (16000,), 376, 375)], ""),
        (
            [_item("video", (8, 112, 112), 32, 32), _item("video", (3, 112, 112), 0, 16)],
            "rest of frames",
        ),
        (
            [_item("video", (8, 112, 112), 32, 32), _item("video", (2, 112, 112), 0, 16)],
            "rest of frames",
        ),
        (
            [
                _item("video", (8, 112, 112), 32, 32),
                _item("video", (5, 112, 112), 32, 32),
                _item("video", (3, 112, 112), 30, 12),
            ],
            "one view off",
        ),
        ([_item("video", (8, 112, 112), 32, 32), _item("video", (4, 112, 112), 31, 32)], ""),
    ],
)
def test_what_wrong_items_have_in_common(items: list[Any], expected: str) -> None:
    assert pattern(items) == expected
