"""Segments volumes by a device that answers at once, with whatever engine is on the path.

It must run with the engine as it was before, so it imports nothing of the tests.
"""

import hashlib
import json
import sys
import time
from pathlib import Path

import numpy as np

from engine.device import Answer
from engine.segmentation import segment as job
from engine.volume import Geometry, Volume

SPACING_MM = 1.4, 0.78, 0.78
STAGES = {
    "vote": ("majority_vote", "vote"),
    "clean-up, with the volume that it drops": ("clean", "_dropped_ml", "clean_packed"),
}
"""Functions of `segment`, of either engine."""
WHOLE = "whole job without the network"


class Known:
    """A device that finds its answer by the number that is each slice's first pixel."""

    name, batch = "known", 32

    def __init__(self, labels, converts):
        self._labels, self._converts = labels, converts
        self._agreement = np.ones((len(labels), 2, 2), np.float32)
        self.own_s = 0.0

    def run(self, hu, spacing_mm):
        begun = time.thread_time()
        if self._converts and hu.dtype == np.int16:
            from engine.hounsfield import to_float16

            to_float16(hu)
            begun = time.thread_time()  # the host's work, not the device's
        which = hu[:, 0, 0].astype(int)
        answer = Answer(self._labels[which], self._agreement[which])
        self.own_s += time.thread_time() - begun
        return answer


def measured(file, converts):
    """Return milliseconds of the processor by stage, and a digest of the labels."""
    content = np.load(file)
    hu, labels = content["hu"], content["labels"]
    hu[:, 0, 0] = np.arange(len(hu))
    geometry = Geometry(hu.shape, np.diag([*SPACING_MM, 1.0]), "1.2.3")
    volume, device = Volume(hu, geometry), Known(labels, converts)
    seconds = dict.fromkeys(STAGES, 0.0)
    for stage, names in STAGES.items():
        for name in names:
            if hasattr(job, name):
                setattr(job, name, timed(getattr(job, name), stage, seconds))
    begun = time.process_time()
    made = job.segment(volume, device)
    whole = time.process_time() - begun - device.own_s
    rest = whole - sum(seconds.values())
    found = {"gather, clip, convert, store": rest, **seconds, WHOLE: whole}
    digest = hashlib.sha256(made.label_map.labels.tobytes()).hexdigest()
    return {**{stage: 1000 * each for stage, each in found.items()}, "labels": digest}


def timed(function, stage, seconds):
    """Return the function, adding its time to that of a stage."""

    def call(*arguments):
        begun = time.thread_time()
        answer = function(*arguments)
        seconds[stage] += time.thread_time() - begun
        return answer

    return call


def main():
    """Print the times of all files as JSON."""
    where, *files = sys.argv[1:]
    found = {}
    for file in files:
        before = vars(job).copy()
        measured(file, where == "host")  # finds caches filled and pages there
        vars(job).update(before)
        found[Path(file).stem] = measured(file, where == "host")
        vars(job).update(before)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
