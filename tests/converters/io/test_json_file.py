"""JSON files: one object, unique keys, bounds, and a position in each message."""

from __future__ import annotations

import json

import pytest
from ggufx.converters.errors import InputError
from ggufx.converters.io.json_file import MAX_DEPTH, JsonStyle, read_json


@pytest.fixture
def file(tmp_path):
    def write(content: bytes | str):
        path = tmp_path / "config.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path
    return write


def test_reads_an_object(file):
    assert read_json(file('{"a": [1, 2.5, null, true], "é": {"b": "漢"}}')) \
        == {"a": [1, 2.5, None, True], "é": {"b": "漢"}}


def test_infinity_only_where_asked_for(file):
    path = file('{"time_step_limit": [0.0, Infinity]}')
    assert read_json(path, non_finite=True) == {"time_step_limit": [0.0, float("inf")]}
    with pytest.raises(InputError, match="Infinity is not a JSON number"):
        read_json(path)


def test_depth_limit_is_exact(file):
    assert read_json(file('{"a":' * MAX_DEPTH + "1" + "}" * MAX_DEPTH))
    with pytest.raises(InputError, match="nested deeper than 64"):
        read_json(file('{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1)))


@pytest.mark.parametrize(("content", "message"), [
    ("", "is empty"), (" ", "byte 1, line 1 column 2: not JSON"), ("<!doctype html>", "a server's answer"),
    ('{"a": 1', "byte 7, line 1 column 8: not JSON"),
    ('{\n"é": 1,\n"b" 2}', "byte 15, line 3 column 5: not JSON"),
    ("{} {}", "byte 3, line 1 column 4: not JSON"),
    ("{'a': 1}", "not JSON"),
    ("[1]", r"byte 0: .*expected an object, found list"),
    ("null", r"expected an object, found NoneType"),
    ('"a"', r"expected an object, found str"),
    ('{"a": 1, "b": 2, "a": 3}', "the key 'a' occurs twice"),
    ('{"x": {"\\u001b": 1, "\\u001b": 3}}', r"the key '\\x1b' occurs twice"),
    ('{"a": NaN}', "NaN is not a JSON number"),
    (b'\xef\xbb\xbf{"a": 1}', "byte 0.*BOM"),
    ('{"a": 1}'.encode("utf-16"), "byte 0: not UTF-8"),
    (b'{"a": "\xff"}', "byte 7: not UTF-8"),
    ('{"a":' * 100_000, "nested deeper"),
    ("[" * 100_000, "nested deeper"),
    ('{"a": ' + "9" * 10_000 + "}", "byte 0: .*digits"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-LFS pointer"),
])
def test_refused_with_position(file, content, message):
    with pytest.raises(InputError, match=message) as caught:
        read_json(file(content))
    assert caught.value.file.endswith("config.json")


def test_size_is_bounded_before_reading(file):
    path = file('{"a": 1}')
    with path.open("r+b") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(InputError, match=r"too large .*expected at most 67108864 bytes, found 1099511627776"):
        read_json(path)
    assert read_json(file('{"a": 1}'), max_bytes=8) == {"a": 1}
    with pytest.raises(InputError, match="too large"):
        read_json(file('{"a": 1}'), max_bytes=7)


def test_absent_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_json(tmp_path / "config.json")


DOCUMENT = {"a": [1, -2.5, 1e-5, 1.5e-7, 0.0, True, None], "\u00e9\n\U0001f600": {"x": {}, "y": [], "z": [["p", "q"], []]},
            "\x1f\x7f": "\"\\/", "last": ""}
STYLES = [{}, {"indent": 4}, {"newline": True}, {"indent": 0}, {"indent": 0, "spaces": False}, {"ascii": True}]


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_a_style_is_seen_and_made_again(style):
    raw = JsonStyle(**style).encode(DOCUMENT)
    assert json.loads(raw) == DOCUMENT
    assert JsonStyle.of(raw).changes == style
    assert JsonStyle.of(raw).encode(json.loads(raw)) == raw


@pytest.mark.parametrize("form", [{"indent": 2}, {"indent": 4}, {"separators": (",", ":")}, {}], ids=str)
@pytest.mark.parametrize("ascii_", [True, False])
def test_texts_of_python_are_made_again(form, ascii_):
    data = {name: value for name, value in DOCUMENT.items() if name != "a"}  # numbers are those of serde_json
    raw = json.dumps(data, ensure_ascii=ascii_, **form).encode()
    assert JsonStyle.of(raw).encode(data) == raw


def test_texts_of_the_tokenizers_library_are_made_again():
    """Numbers, too: a Unigram model writes its scores as serde_json does."""
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.models import Unigram
    scores = [0.0, -1.0, -12.34375, -1e-5, -1.25e-5, -1e-4, -1e-7, -1.5e-10, -123456789012345680.0, -1e16, -1e15, 1e300, -0.1]
    tokenizer = Tokenizer(Unigram([(f"\u2581{i}", score) for i, score in enumerate(scores)], unk_id=0, byte_fallback=True))
    tokenizer.add_special_tokens([AddedToken("<\u00e9\x01\u2028>", lstrip=True)])
    for pretty in (True, False):
        raw = tokenizer.to_str(pretty=pretty).encode()
        assert JsonStyle.of(raw).encode(json.loads(raw)) == raw


def test_half_of_a_surrogate_pair_is_written_in_ascii():
    assert JsonStyle().encode({"a": "\ud800"}) == b'{\n  "a": "\\ud800"\n}'
