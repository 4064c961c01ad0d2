"""What `--device` means."""

import pytest
from ggufx.converters.errors import UsageError
from ggufx.converters.run.engines import choice


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x"])
def test_what_is_no_device_is_refused_wherever_gpus_are_named(device: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(choice, "gpus", lambda: ["one"])
    with pytest.raises(UsageError, match="is not a device"):
        choice.choose(device, (), None)
    with pytest.raises(UsageError, match="is not a device"):
        choice.named_gpus(device)
