"""Kimi K3: GGUF holds the product of a norm and a projection; a file of others gives back factors of the same product."""

from zoo import peers
from zoo.files import stored

from ggufx import gguf_to_hf, hf_to_gguf


def test_a_file_of_others_comes_back_as_a_model_that_makes_it(zoo, tmp_path):
    first, second = tmp_path / "first.gguf", tmp_path / "second.gguf"
    hf_to_gguf(zoo("kimi-k3"), first, outtype="f32", plain=True)
    gguf_to_hf(first, tmp_path / "back")
    hf_to_gguf(tmp_path / "back", second, outtype="f32", plain=True)
    made, again = (peers.read_peer_gguf(file).tensors for file in (first, second))
    decays = {name for name in made if name.endswith("ssm_a")}  # back from their logarithms to within a rounding
    assert decays
    assert {n: t for n, t in made.items() if n not in decays} == {n: t for n, t in again.items() if n not in decays}
    norms = [name for name in stored(tmp_path / "back") if name.endswith("_res_norm.weight")]
    assert len(norms) == 9
