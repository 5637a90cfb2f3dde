"""Plans that nobody built, for stores that do not look inside."""

from datetime import UTC, datetime
from hashlib import sha256

from engine.plans.key import Flavour, Options, PlanKey, Precision
from engine.plans.plan import Check, PlanManifest


def make_key(**changes):
    key = {
        "architecture": "sm89",
        "flavour": Flavour.RTX,
        "version": "1.7.1.116",
        "precision": Precision.FLOAT32,
        "model": "a" * 64,
        "options": Options(batch=2),
    }
    return PlanKey(**(key | changes))


def make_manifest(content, key=None):
    return PlanManifest(
        key=key or make_key(),
        model="toy 0.1",
        sha256=sha256(content).hexdigest(),
        size=len(content),
        seconds=1.5,
        built=datetime.now(UTC),
        hepar="0.1.0",
    )


def make_check(passed=True):
    return Check(
        passed=passed,
        device="tests",
        batches=(1, 2),
        differing_pixels=0.0,
        dice={"liver": 1.0, "tumour": 1.0},
        agreement={"liver": 0.0, "tumour": 0.0},
        faults=() if passed else ("batch 1: liver Dice 0.5",),
        when=datetime.now(UTC),
    )
