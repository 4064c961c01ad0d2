"""HY 4: what its indexers choose by is in F32, which a rounding would change."""

from zoo.files import stored

import ggufx


def test_indexers_of_a_file_of_others_come_back_in_f32(zoo, tmp_path):
    ggufx.hf_to_gguf(zoo("hy4"), tmp_path / "plain.gguf", plain=True)
    ggufx.gguf_to_hf(tmp_path / "plain.gguf", tmp_path / "back")
    source, back = stored(zoo("hy4")), stored(tmp_path / "back")
    names = [name for name in source if name.endswith(("indexer.weights_proj.weight", "k_norm.weight", "k_norm.bias"))]
    assert len(names) == 6
    assert {name: source[name] for name in names} == {name: back[name] for name in names}
