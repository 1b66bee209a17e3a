"""Which of a model's files to take on which kind of device."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from export.artifacts import Exported

#: A file that loses no more of the main metric than this is worth recommending.
ACCEPTABLE_DROP = 0.005
#: Forms whose kernels are slow on CPUs, or compute in float32 after unpacking: small, but not what a phone wants.
SLOW = ("int16x8", "int4_weights", "int8_weights")
#: Kind of device to how people call it.
DEVICES = {"phone_cpu": "phones' CPUs", "phone_gpu": "phones' GPUs", "npu": "NPUs"}


def recommended(artifacts: Sequence[Exported], drops: Mapping[str, float], unfit: Sequence[str] = ()) -> dict[str, str]:
    """Return, by kind of device, the name of the file to take: of those that lose little, the smallest download.

    It depends on nothing that differs from run to run, as a measured latency does.

    Args:
        artifacts: all there are.
        drops: name to what the file loses of the main metric: a difference, or a share where the metric is relative.
        unfit: names of those that must not ship.
    """
    good = [one for one in artifacts if one.target == "litert" and one.is_tflite and one.name not in unfit
            and drops.get(one.name, 1.0) <= ACCEPTABLE_DROP]
    candidates = {"phone_cpu": [one for one in good if one.encoding not in SLOW],
                  "phone_gpu": [one for one in good if one.coverage is not None and one.coverage.share == 1],
                  "npu": [one for one in good if one.integer and one.encoding not in SLOW]}
    return {device: min(fit, key=lambda one: (one.zipped, one.name)).name for device, fit in candidates.items() if fit}
