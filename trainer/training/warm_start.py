"""Members that start from the weights of a model folder."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.model import load_model
from trainer.ensemble.batchnorm_folding import Norm
from trainer.ensemble.graph import EnsembleGraph, open_graph
from trainer.ensemble.members import make_member
from trainer.errors import BadModel
from trainer.evaluation.run.patients import unseen_patients
from trainer.recipe.recipe import Recipe


@dataclass(frozen=True)
class WarmStart:
    """Weights that a run starts from."""

    title: str
    """Name and version of the model."""
    members: tuple[nn.Module | None, ...]
    """Where each member of the recipe starts, in their order; None: from nothing."""
    unseen: frozenset[str]
    """Patients whom the model has never learnt from."""

    def held_out_of(self, patients: Iterable[str]) -> tuple[str, ...]:
        """Return those of `patients` who stay unseen."""
        return tuple(sorted(self.unseen & set(patients)))

    def with_remark(self, recipe: Recipe) -> Recipe:
        """Return the recipe with a remark that names the model its members started from."""
        went = f"Its members went on from those of {self.title}"
        if recipe.staying:
            went += f"; {', '.join(recipe.staying)} stayed as there"
        said = f"{recipe.remarks} {went}."
        return recipe.model_copy(update={"remarks": said.strip()})


def start_from(folder: Path, recipe: Recipe) -> WarmStart:
    """Return the members of a model folder for a run to start from.

    Each member of the recipe takes the first like network of the model that none before it has
    taken. One with a box, where the model has none for it, starts from any like network, or from
    nothing.

    Raises:
        BadModel: the folder lacks a network that the recipe names, or its weights; or members are
            to stay as they are that see other pixels there.
    """
    model = load_model(folder)
    graph = open_graph(model)
    title = f"{model.name} {model.version}"
    if recipe.staying:
        _require_same_pixels(title, graph, recipe)
    free = [*zip(graph.members, graph.boxes, strict=True)]
    starts: list[nn.Module | None] = []
    for member in recipe.members:
        # By shapes, not names: recipes may call the same network differently.
        wanted = _shapes(make_member(recipe, member))
        like = [each for each in free if _shapes(each[0]) == wanted]
        own = [each for each in like if (each[1] is None) == (member.box is None)]
        if own:
            starts.append(own[0][0])
            free = [each for each in free if each is not own[0]]
        elif member.box and member.cycles:
            starts.append(next((m for m in graph.members if _shapes(m) == wanted), None))
        else:
            raise BadModel(
                f"{model.folder} holds {', '.join(model.manifest.members)} of its own recipe, "
                f"which are not the networks of recipe {recipe.name!r}: name a model that was "
                "trained by it, or change members, targets and windows to the model's"
            )
    return WarmStart(title, tuple(starts), unseen_patients(model))


def _require_same_pixels(title: str, graph: EnsembleGraph, recipe: Recipe) -> None:
    theirs, ours = graph.working.model_dump(), recipe.working.model_dump()
    if apart := [key for key in ours if theirs[key] != ours[key]]:
        said = ", ".join(f"working.{key} {theirs[key]} != {ours[key]}" for key in apart)
        raise BadModel(
            f"members of {title} cannot stay as they are in recipe {recipe.name!r}, which shows "
            f"other pixels ({said}): change the recipe with --set, or name another model"
        )


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: weights.shape for name, weights in network.state_dict().items()}


def calibrate_batch_norms(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give batch norms the statistics of what they see, and leave every answer as it is.

    A model folder keeps norms as mere biases, because their scale lies in the convolutions. In
    training a norm divides by what it measures; scale and bias are set to give that back.

    Args:
        network: whose norms are changed.
        batches: channels (n, C, rows, columns) as it will see them in training.
    """
    training = network.training
    # eval: in training mode the norms would update what is being replaced.
    with _moments(network.eval()) as moments, torch.inference_mode():
        for seen in batches:
            network(seen)
    with torch.no_grad():
        for norm, moment in moments.items():
            _set_statistics(norm, *moment.mean_and_variance())
    network.train(training)


@dataclass
class _Moments:
    """Sums over all that a norm has seen, per channel."""

    count: int = 0
    sum: Tensor | float = 0.0
    squares: Tensor | float = 0.0

    def add(self, seen: Tensor) -> None:
        """Take in (n, C, …)."""
        # double: a variance by sums of squares loses its digits in float32.
        channels = seen.double().movedim(1, 0).flatten(1)
        self.count += channels.shape[1]
        self.sum = self.sum + channels.sum(dim=1)
        self.squares = self.squares + channels.square().sum(dim=1)

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        """Return both, per channel."""
        mean = torch.as_tensor(self.sum / self.count)
        return mean, (torch.as_tensor(self.squares / self.count) - mean.square()).clamp(min=0)


@contextmanager
def _moments(network: nn.Module) -> Iterator[dict[Norm, _Moments]]:
    """Collect what each norm is given while the context lasts."""
    norms = [part for part in network.modules() if isinstance(part, Norm)]
    moments = {norm: _Moments() for norm in norms}
    hooks = [
        norm.register_forward_pre_hook(lambda at, given: moments[at].add(given[0]))
        for norm in norms
    ]
    try:
        yield moments
    finally:
        for hook in hooks:
            hook.remove()


def _set_statistics(norm: Norm, mean: Tensor, variance: Tensor) -> None:
    """Set running statistics, and scale and bias such that the norm answers as before."""
    assert norm.running_mean is not None and norm.running_var is not None  # noqa: PT018
    slope = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = norm.bias.double() + slope * (mean - norm.running_mean.double())
    norm.weight.copy_(slope * (variance + norm.eps).sqrt())
    norm.bias.copy_(bias)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
