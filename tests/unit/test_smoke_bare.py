"""What of a configuration decides how much of a model without weights is built."""

from types import SimpleNamespace

import pytest

from envbuilder.smoke.probe.bare import selected


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        ({}, []),
        ({"vision_feature_layer": None}, []),
        ({"vision_feature_layer": -2}, [-2]),
        ({"vision_feature_layer": [3, -1]}, [3, -1]),
        ({"vision_feature_layer": (-24, -1)}, [-24, -1]),
        ({"audio_config": SimpleNamespace(feature_layer=-2)}, [-2]),
        ({"vision_config": SimpleNamespace(insert_layer_id=6)}, [7]),
        ({"vision_config": SimpleNamespace(insert_layer_id=None)}, []),
    ],
)
def test_the_layers_that_a_configuration_selects_are_kept(
    config: dict[str, object], layers: list[int]
) -> None:
    assert selected(SimpleNamespace(**config)) == layers
