from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sarbench.bench import assets
from sarbench.bench.interface import ContractError
from sarbench.methods.networks import vqgan

SMALL = {"widths": (32, 32, 32), "blocks": 1}  # as many groups as the published ones


def build(entries: int = 16) -> tuple[vqgan.Encoder, vqgan.Decoder]:
    torch.manual_seed(0)
    return vqgan.Encoder(**SMALL), vqgan.Decoder(**SMALL, entries=entries)


def reference(entries: int = 16) -> Any:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(9)
    model = diffusers.VQModel(
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3, block_out_channels=(32, 32, 32),
        layers_per_block=1, latent_channels=3, num_vq_embeddings=entries, norm_num_groups=32,
    )  # fmt: skip
    torch.nn.init.normal_(model.quantize.embedding.weight)
    return model.eval()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds a tiny VQGAN with weights of its own, as diffusers writes it."""
    home = tmp_path_factory.mktemp("assets")
    reference().save_pretrained(home / "vq-f4" / "vqvae")
    return home


def test_the_published_autoencoder_has_its_number_of_parameters():
    with torch.device("meta"):
        networks = vqgan.Encoder(), vqgan.Decoder()
    assert sum(p.numel() for network in networks for p in network.parameters()) == 55_322_782
    assert networks[0].factor == 4
    assert not any(p.requires_grad for network in networks for p in network.parameters())


def test_loaded_from_a_folder_it_is_the_network_of_diffusers(home):
    model, (encoder, decoder) = reference(), build()
    vqgan.load(home / "vq-f4", encoder, decoder)
    image = torch.rand(2, 3, 16, 24) * 2 - 1
    with torch.no_grad():
        z = encoder(image)
        torch.testing.assert_close(z, model.encode(image).latents, atol=1e-5, rtol=1e-4)
        expected = model.decode(z).sample
        torch.testing.assert_close(decoder(z), expected, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(vqgan.decoded(decoder, z), expected.clamp(-1, 1), atol=1e-4, rtol=1e-3)


def test_the_names_of_older_files_and_pickled_tensors_are_read_too(home, tmp_path):
    state = reference().state_dict()
    for old, new in vqgan.OLD_NAMES.items():
        state = {name.replace(new, old): value for name, value in state.items()}
    assert any(".query." in name for name in state)
    shutil.copytree(home / "vq-f4", tmp_path / "vq-f4")
    (tmp_path / "vq-f4" / "vqvae" / vqgan.FILES[0]).unlink()
    torch.save(state, tmp_path / "vq-f4" / "vqvae" / vqgan.FILES[1])
    first, second = build(), build()
    vqgan.load(home / "vq-f4", *first)
    vqgan.load(tmp_path / "vq-f4", *second)
    for a, b in zip(first, second, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


def test_the_code_is_not_quantised_before_the_bridge_but_the_decoder_takes_the_nearest_entries():
    encoder, decoder = build(entries=2)
    decoder.codebook.copy_(torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    z = torch.tensor([0.4, 0.6, 2.0, -3.0]).reshape(1, 1, 2, 2).expand(1, 3, 2, 2)
    assert decoder.quantised(z)[0, 0].flatten().tolist() == [0.0, 1.0, 1.0, 0.0]
    assert encoder(torch.rand(1, 3, 16, 16)).unique().numel() > 2


def test_a_code_longer_than_what_is_compared_at_once_is_quantised_alike(monkeypatch):
    _, decoder = build()
    z = torch.randn(2, 3, 4, 5)
    whole = decoder.quantised(z)
    monkeypatch.setattr(vqgan, "POSITIONS", 7)
    assert torch.equal(decoder.quantised(z), whole)


def remove_the_weights(part: Path) -> None:
    (part / vqgan.FILES[0]).unlink()


def remove_the_config(part: Path) -> None:
    (part / "config.json").unlink()


def cut_the_weights(part: Path) -> None:
    path = part / vqgan.FILES[0]
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_the_weights, "neither diffusion_pytorch_model.safetensors nor"),
        (remove_the_config, "config.json.*copy the whole folder again"),
        (cut_the_weights, "can't be read.*copy the whole folder again"),
    ],
)
def test_a_damaged_folder_is_refused_and_named(home, tmp_path, damage: Callable[[Path], None], message):
    shutil.copytree(home / "vq-f4", tmp_path / "vq-f4")
    damage(tmp_path / "vq-f4" / "vqvae")
    with pytest.raises(ContractError, match=message) as caught:
        vqgan.load(tmp_path / "vq-f4", *build())
    assert str(tmp_path) in str(caught.value)


def test_another_network_is_refused(home):
    with pytest.raises(ContractError, match=r"VQModel.*not the autoencoder"):
        vqgan.load(home / "vq-f4", *build(entries=17))
    encoder, decoder = vqgan.Encoder(widths=(32, 32), blocks=1), vqgan.Decoder(widths=(32, 32), blocks=1, entries=16)
    with pytest.raises(ContractError, match="not the autoencoder"):
        vqgan.load(home / "vq-f4", encoder, decoder)


def test_the_asset_is_named_with_where_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv(assets.VARIABLE, str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(assets.AssetMissing, match=r"vq-f4 missing: copy https://.* with its folders vqvae"):
        assets.find("vq-f4")
    (tmp_path / "vq-f4" / "vqvae").mkdir(parents=True)
    assert assets.find("vq-f4") == tmp_path / "vq-f4"
