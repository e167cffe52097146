"""Heads as validated values: what makes class scores of a sequence."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from edgelnn.models.fields import Probability, Specification, Units

__all__ = [
    "AnyHead",
    "CfCHead",
    "DenseHead",
    "Head",
    "HeadSpec",
    "LTCHead",
    "LiquidHead",
    "NCPShape",
    "Readout",
    "RecurrentHead",
    "ReservoirHead",
    "SequenceHead",
]

Readout = Literal["last", "mean", "joined"]
OutputKind = Literal["auto", "softmax", "sigmoid"]
Over = Literal["time", "batch"]
Together = Annotated[int, Field(ge=1, le=1_000_000)]


class AnyHead(Specification):
    """What every head has.

    Attributes:
        readout: Class scores from the last step, the mean over steps, or a linear layer over all steps joined.
        output: ``softmax`` over the classes or ``sigmoid`` per output (one output where the task is binary);
            ``auto``: sigmoid for multi-label tasks, softmax for the others.
    """

    readout: Readout = "last"
    output: OutputKind = "auto"


class Head(AnyHead):
    """What every head has that learns by gradients.

    Attributes:
        batch_norm: Normalize each feature of the sequence, over steps and images, before everything else.
        dropout: Before the head's layers while training.
        readout_dropout: Before the linear layer to the class scores; left out: the same as `dropout`.
    """

    batch_norm: bool = False
    dropout: Probability = 0.0
    readout_dropout: Probability | None = None


class DenseHead(Head):
    """Linear layers with ReLU between, applied to every step; `widths` are the hidden ones.

    Attributes:
        mean_of: What the read-out ``mean`` takes the mean over steps of: the class ``scores``, or what the last
            ``hidden`` layer gives to its ReLU.
    """

    kind: Literal["dense"] = "dense"
    widths: list[Units] = Field(default_factory=list)
    mean_of: Literal["scores", "hidden"] = "scores"


class SequenceHead(Head):
    """What heads with a trained recurrence share.

    Attributes:
        bidirectional: Read in both directions, outputs joined.
    """

    bidirectional: bool = False


class NCPShape(Specification):
    """A neural circuit policy in all its numbers: sensory → inter → command → motor neurons.

    Attributes:
        inter, command, motor: How many neurons of each kind; the motor neurons are the outputs.
        sensory_fanout: Inter neurons that each sensory neuron acts on.
        inter_fanout: Command neurons that each inter neuron acts on.
        recurrent_command_synapses: Synapses drawn between command neurons; one drawn twice counts once.
        motor_fanin: Command neurons that act on each motor neuron.
    """

    inter: Units
    command: Units
    motor: Units
    sensory_fanout: Units
    inter_fanout: Units
    recurrent_command_synapses: Annotated[int, Field(ge=0, le=65536)]
    motor_fanin: Units

    @property
    def units(self) -> int:
        """All neurons but the sensory ones."""
        return self.inter + self.command + self.motor


class LiquidHead(SequenceHead):
    """What CfC and LTC heads share.

    Attributes:
        units: Neurons of the layer, or a list with one number per stacked layer.
        outputs: Output (motor) neurons per layer. Left out: the number of class scores in the last layer where the
            read-out is ``last`` or ``mean`` in one direction, and half the units elsewhere. Where the last layer's
            outputs are not the class scores, a linear layer follows.
        wiring: ``auto`` (NCP with units and outputs), ``ncp`` (the numbers of `ncp`), ``full`` (FullyConnected),
            ``random`` (Random: any neuron may act on any other).
        ncp: The numbers of the ``ncp`` wiring, or a list with those of each stacked layer; units and outputs follow.
        activation: Between stacked layers.
        sparsity: Share of the possible synapses that the ``auto`` and ``random`` wirings leave out.
        wiring_seed: Seed of the wiring; left out: ncps's own default, 22222 for ``auto`` and ``ncp``, 1111 for
            ``full`` and ``random``.
    """

    units: Units | list[Units] = 32
    outputs: Units | list[Units] | None = None
    ncp: NCPShape | list[NCPShape] | None = None
    activation: Literal["none", "relu", "tanh"] = "none"
    sparsity: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.5
    wiring_seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _sizes_follow_from_ncp(cls, values: Any) -> Any:
        """Fill in units and outputs where the neurons are given one kind at a time."""
        if not isinstance(values, dict) or values.get("ncp") is None:
            return values
        shapes = values["ncp"] if isinstance(values["ncp"], list) else [values["ncp"]]
        tables = [shape.model_dump() if isinstance(shape, NCPShape) else shape for shape in shapes]
        kinds = ("inter", "command", "motor")
        if not tables or not all(isinstance(t, dict) and all(type(t.get(k)) is int for k in kinds) for t in tables):
            return values  # what is wrong there is said of its field
        units, outputs = [sum(t[kind] for kind in kinds) for t in tables], [t["motor"] for t in tables]
        listed = isinstance(values["ncp"], list)
        sizes = {"units": units, "outputs": outputs} if listed else {"units": units[0], "outputs": outputs[0]}
        return {**sizes, **{name: value for name, value in values.items() if value is not None}}


class CfCHead(LiquidHead):
    """Closed-form continuous-time cells (Hasani et al., 2022).

    ``wiring = "none"`` is ncps's dense CfC with a backbone. A ``random`` wiring leaves out sensory synapses alone:
    ncps's CfC joins all neurons of a layer with each other.
    """

    kind: Literal["cfc"] = "cfc"
    wiring: Literal["auto", "ncp", "full", "random", "none"] = "auto"
    mode: Literal["default", "pure", "no_gate"] = "default"
    backbone_units: Units = 128
    backbone_layers: Annotated[int, Field(ge=1, le=8)] = 1
    backbone_dropout: Probability = 0.0


class LTCHead(LiquidHead):
    """Liquid time-constant cells (Hasani et al., 2021)."""

    kind: Literal["ltc"] = "ltc"
    wiring: Literal["auto", "ncp", "full", "random"] = "auto"
    ode_unfolds: Annotated[int, Field(ge=1, le=32)] = 6


class RecurrentHead(SequenceHead):
    """LSTM, GRU or plain RNN (tanh), over time, with a linear layer to the class scores.

    Attributes:
        units: Of every layer, or a list with one number per stacked layer.
        layers: How many layers of `units`, where that is one number.
        readout_activation: Of what the last layer says at every step, before it is read out.
        linear: Whether a linear layer makes the class scores; without one the last layer's units are the scores.
        over: What the recurrence runs over. ``time``: the steps of each image. ``batch`` repeats a mistake of published
            code: it runs over the images that happen to be together, step by step alone, so that an answer depends on
            the other images. Such a model is for measuring what the mistake does, and cannot be exported.
        together: With ``batch``, and only there: how many images are together when the model answers.
    """

    kind: Literal["lstm", "gru", "rnn"]
    units: Units | list[Units] = 32
    layers: Annotated[int, Field(ge=1, le=8)] = 1
    readout_activation: Literal["none", "relu", "tanh"] = "none"
    linear: bool = True
    over: Over = "time"
    together: Together | None = None


class ReservoirHead(AnyHead):
    """Leaky echo-state units with fixed random weights (Jaeger et al., 2007); only the read-out is fitted.

    The read-out is a ridge regression in closed form, its strength the largest of `strengths` whose squared error on
    the validation split is within one standard error of the least, of those that float32 computes well enough.

    Attributes:
        units: Of the reservoir.
        spectral_radius: Largest magnitude of an eigenvalue of the recurrent weights.
        input_scaling: Standard deviation of the input weights.
        leak: By how much a step moves the state to its new value; 1: at once.
        sparsity: Share of the recurrent weights that are zero; model files hold the zeros too.
        reservoir_seed: Of the fixed weights; left out: they follow from the seed of the training.
        strengths: Of the ridge, each a share of the mean variance of what is read.
        over: As in `RecurrentHead`; ``batch`` lets the state run on from image to image.
        together: As in `RecurrentHead`.
    """

    kind: Literal["reservoir"] = "reservoir"
    units: Annotated[int, Field(ge=1, le=2048)] = 1000
    spectral_radius: Annotated[float, Field(gt=0.0, le=10.0)] = 0.9
    input_scaling: Annotated[float, Field(gt=0.0, le=100.0)] = 0.2
    leak: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    sparsity: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    reservoir_seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    strengths: Annotated[list[Annotated[float, Field(gt=0.0)]], Field(min_length=1)] = Field(
        default_factory=lambda: [float(f"{digit}e{power}") for power in range(-6, 2) for digit in (1, 2, 5)]
    )
    over: Over = "time"
    together: Together | None = None


HeadSpec = Annotated[DenseHead | CfCHead | LTCHead | RecurrentHead | ReservoirHead, Field(discriminator="kind")]
