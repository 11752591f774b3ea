"""The task: which of several corpora a text of a language model comes from.

A probe begins with the weights of its language model, and with centroids of its states.
"""

from pathlib import Path

import torch
from torch import nn

from neuro.io.run_folder import RunError
from neuro.training import Plan
from tasks.attribution import config as configs
from tasks.attribution.answers import require_learned
from tasks.attribution.config import AttributionConfig
from tasks.attribution.deployment import (
    chip_part,
    count_host_macs,
    count_ticks,
    decode,
    describe,
    explain_only_torch,
    measure,
    stimuli,
)
from tasks.attribution.documents import load
from tasks.attribution.evaluate import METRICS, evaluate
from tasks.attribution.model import (
    BATCH,
    AttributionModel,
    Probe,
    SourceModel,
    build,
    make_lm,
    read_states,
    require_attribution,
)
from tasks.attribution.training import (
    LOSS,
    batches,
    count_steps,
    loss,
    make_dummy_batch,
    make_lm_plan,
    make_lm_training,
    validate,
)
from tasks.runs.configuration import make_plan
from tasks.runs.find import open_folder
from tasks.runs.names import CONFIGURATIONS, SUMMARIES
from tasks.runs.task import Deployment, EarlierTraining, Evaluation, Task, Training
from tasks.runs.trained_run import load_trained_model

FIELDS_OF_LM = (  # fields that a probe shares with the run of its language model
    *("stack", "width", "hidden", "heads", "linear", "bits", "ticks", "threshold"),
    *("learns_threshold", "eps", "limit"),
    *("source", "data", "names", "tokenizer", "vocabulary", "order", "delta", "gamma"),
    *("tokens", "protected", "free"),
    *("shares", "seed_of_data", "documents", "lm_epochs"),
)
FIELDS_OF_TEXT = (  # further fields that decide which files of real text are in which part
    *("unseen", "matched", "held_out", "train", "val", "test", "composed", "outside"),
)


def list_earlier(config: AttributionConfig, model: nn.Module) -> list[EarlierTraining]:
    """Return the training of the language model that a probe reads, if there is no run of it.

    Its end raises a RunError if the language model has not learned its corpora.
    """
    if not config.reads_trained_lm or config.lm:
        return []

    def finish(lm: SourceModel) -> None:
        require_learned(config, lm)
        put_lm(config, require_attribution(model), lm)

    lm = make_lm(config, config.seed_of_lm)
    return [make_lm_training(config, load(config, "lm_train"), lm, finish=finish)]


def begin(config: AttributionConfig, model: nn.Module) -> None:
    """Put the language model of another run, or for "random_lm" a new one, into a fresh model.

    Raises:
        RunError: the language model has not learned its corpora, or was trained on others.
    """
    if config.arm == "random_lm":
        lm = make_lm(config, config.seed_of_lm)
    elif config.lm:
        lm = find_lm(config)
        require_learned(config, lm)
    else:
        return
    put_lm(config, require_attribution(model), lm)


def put_lm(config: AttributionConfig, model: AttributionModel, lm: SourceModel) -> None:
    """Put a language model behind a model's probe; arm "uniqueness" also gets centroids."""
    model.lm.load_state_dict(lm.state_dict())
    if isinstance(model.probe, Probe) and model.probe.is_unique:
        put_centroids(config, model.lm, model.probe)


def find_lm(config: AttributionConfig) -> SourceModel:
    """Return the language model of the run ``lm``, which a probe reads.

    Raises:
        RunError: ``lm`` is not a run of a language model with these fields.
    """
    run = open_folder(Path(config.lm))
    if not isinstance(run.config, AttributionConfig) or not run.config.is_lm:
        raise RunError(
            f'{config.lm}: a run of {run.task}, and lm takes one of arm "lm"; neuro train '
            "attribution --set arm=lm makes one"
        )
    fields = FIELDS_OF_LM + (FIELDS_OF_TEXT if config.source != "authors" else ())
    differ = [f for f in fields if getattr(run.config, f) != getattr(config, f)]
    if differ:
        told = ", ".join(
            f"{name} ({getattr(run.config, name)!r} there, {getattr(config, name)!r} here)"
            for name in differ
        )
        raise RunError(f"{config.lm}: its language model differs in {told}; set them alike")
    return require_attribution(load_trained_model(run)).lm


@torch.no_grad()
def put_centroids(config: AttributionConfig, lm: SourceModel, probe: Probe) -> None:
    """Put each layer's mean state over the probe's training documents into the probe."""
    tokens = load(config, "train").tokens
    total = torch.zeros_like(probe.centroid)
    for some in torch.split(tokens.to(total.device), BATCH, 1):
        total += probe.normalise(read_states(lm, some)).sum((1, 2))
    probe.centroid.copy_(total / tokens.numel())


def choose_plan(config: AttributionConfig) -> Plan:
    """Return the training plan of an arm; a probe keeps the weights of its best validation.

    Raises:
        ValueError: the configuration is wrong; lists every problem.
    """
    return make_lm_plan(config) if config.is_lm else make_plan(config)


TASK = Task(
    summary=SUMMARIES["attribution"],
    about=lambda config: (
        "A probe sees the inner states of a language model that reads a text, and answers "
        "which share of the text comes from which corpus. The n-gram and naive Bayes beside it "
        f"read the text alone. The probe sends {'' if config.is_spiking else 'no '}spikes, the "
        f"language model {'does' if config.linear == 'spiking' else 'does not'}."
    ),
    configs={name: getattr(configs, name) for name in CONFIGURATIONS["attribution"]},
    training=Training(
        build=build,
        earlier=list_earlier,
        begin=begin,
        plan=choose_plan,
        steps=count_steps,
        batches=batches,
        batch_axis=(1, 0),
        dummy_batch=make_dummy_batch,
        loss=loss,
        validation=LOSS,
        validate=validate,
        seed_changes="the initial weights; the documents and their order follow from "
        "seed_of_data, the language model behind a probe from seed_of_lm",
    ),
    deployment=Deployment(
        part=chip_part,
        stimuli=stimuli,
        host=count_host_macs,
        ann_passes=count_ticks,
        only_torch=explain_only_torch,
    ),
    evaluation=Evaluation(
        metrics=METRICS,
        evaluate=evaluate,
        decode=decode,
        measure=measure,
        describe=describe,
        reading="Captions: true corpus → the largest membrane of the read-out, as the mean of "
        "all tokens.",
    ),
)
