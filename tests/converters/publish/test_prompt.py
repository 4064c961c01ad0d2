"""Chat templates are strangers' programs: rendered in a process that may take little, and reach nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ggufx.converters.errors import UnsupportedError
from ggufx.converters.publish import prompt
from ggufx.converters.publish.prompt import prompt_format

CHATML = ("{{ bos_token }}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
          "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")


def test_a_template_is_shown_with_both_texts_in_their_places():
    assert prompt_format(CHATML, {"bos_token": "<s>"}) == (
        "<s><|im_start|>system\n{system_prompt}<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n")


def test_a_template_without_a_system_prompt_is_shown_without():
    text = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}[{{ messages[0].content }}]"
    assert prompt_format(text, {}) == "[{prompt}]"


def test_what_transformers_offers_is_there():
    text = "{% generation %}{{ messages[-1] | tojson }}{% endgeneration %}{{ strftime_now('%Y') }}{% break %}"
    text = "{% for m in messages %}" + text + "{% endfor %}"
    assert prompt_format(text, {}) == '{"role": "user", "content": "{prompt}"}{date}'


@pytest.mark.parametrize(("template", "reason"), [
    ("{{ 'a' * 10**10 }}", "too much memory"),
    ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "calls itself without end"),
    ("{% for a in range(99999) %}aaaaaaaa{% endfor %}", "more than 65536 characters"),
    ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ("{{ cycler.__init__.__globals__.os.system('touch reached') }}", "unsafe"),
    ("{{ messages.append(1) }}", "unsafe"),
    ("{% include '/etc/hostname' %}", "loader"),
    ("nothing of it", "does not hold the question"),
    ("{% broken", "TemplateSyntaxError"),
])
def test_a_template_that_cannot_be_shown_says_why(template: str, reason: str):
    with pytest.raises(UnsupportedError, match=reason):
        prompt_format(template, {})


def test_a_template_without_an_end_is_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prompt, "CPU_SECONDS", 1)
    with pytest.raises(UnsupportedError, match="too much time or memory"):
        prompt_format("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", {})


def test_the_process_imports_nothing_of_ours():
    path = Path(prompt.__file__).with_name("sandbox.py")
    code = f"import runpy, sys, io, json\nsys.stdin = io.StringIO({json.dumps(json.dumps({'template': 'x', 'attempts': [{}], 'wanted': 'x', 'seconds': 9, 'bytes': 1 << 30}))})\nrunpy.run_path({str(path)!r}, run_name='__main__')\nassert not [m for m in sys.modules if m.startswith('ggufx')]"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"text": "x"}
